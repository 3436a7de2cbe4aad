"""Snapshot: everything that one Envoy is told, as named, versioned, already serialised resources. No IO."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from meshpass.ir import ObjectRef, Proxy

CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105
EXTENSION_CONFIG = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

TYPE_URL_ORDER = (SECRET, CLUSTER, ENDPOINTS, EXTENSION_CONFIG, LISTENER, ROUTES)
"""Make before break: what is referred to is sent before what refers to it. Secrets come first: that an identity is
accepted is known before the first endpoint that shows it."""


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Resource:
    """One xDS resource. ``wire`` is a serialised ``envoy.service.discovery.v3.Resource`` (name, version, Any)."""

    type_url: str
    name: str
    version: str
    """16 hex digits of a hash of the content: equal content, equal version, and the other way round."""
    wire: bytes = field(repr=False)
    """Never printed: it may hold a private key."""
    sources: frozenset[ObjectRef] = frozenset()
    """The API objects that this resource was made from; they are told when Envoy rejects it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What one node is told, and the IR that it was built from."""

    proxy: Proxy
    resources: Mapping[str, Mapping[str, Resource]] = field(default_factory=lambda: MappingProxyType({}))
    """Type URL → name → Resource."""

    @property
    def node(self) -> str:
        """The id of the Envoy that this Snapshot is for."""
        return self.proxy.node

    def of(self, type_url: str) -> Mapping[str, Resource]:
        """The resources of one type, by name; empty where there are none."""
        return self.resources.get(type_url, MappingProxyType({}))


def content_version(body: bytes) -> str:
    """The version of a resource with these deterministic bytes, or with parts whose hashes these are."""
    return hashlib.sha256(body).hexdigest()[:16]
