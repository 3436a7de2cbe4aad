"""What is read from every API server."""

from __future__ import annotations

from meshpass.api.core import EndpointSlice, Namespace, Pod, Secret, Service, ServiceAccount
from meshpass.api.kind import Kind
from meshpass.api.kinds import KINDS, kind_of_type
from meshpass.api.metadata import ApiObject

CORE_TYPES: tuple[type[ApiObject], ...] = (Namespace, Service, EndpointSlice, Pod, ServiceAccount, Secret)

WATCHED: tuple[Kind, ...] = (*(kind_of_type(kind) for kind in CORE_TYPES), *KINDS)
"""Our kinds, and of Kubernetes' own only what translation looks at."""
