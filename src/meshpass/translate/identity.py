"""Identities: who the workloads of a mesh are, and the certificates that prove it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple


class WorkloadCertificate(NamedTuple):
    """What a workload shows of itself, as PEM."""

    chain: str
    private_key: str

    def __repr__(self) -> str:
        return "WorkloadCertificate(***)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Identities:
    """What has been issued. The same object as long as nothing of it changed."""

    trust_domain: str = ""
    """Empty: workloads have no identities, and speak plain text to each other."""
    authorities: str = ""
    """The roots that are believed, as PEM."""
    certificates: Mapping[str, WorkloadCertificate] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """SPIFFE ID → certificate."""


NO_IDENTITIES = Identities()


def spiffe_id(trust_domain: str, namespace: str, service_account: str) -> str:
    """The SPIFFE ID of a workload; one without a service account runs as ``default``, as Kubernetes has it."""
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{service_account or 'default'}"


def control_plane_id(trust_domain: str) -> str:
    """The SPIFFE ID by which processes of the control plane call workloads: those that have key sets."""
    return spiffe_id(trust_domain, "gloo-mesh", "meshpass")
