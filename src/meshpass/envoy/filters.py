"""The HTTP filters of a sidecar's outbound side, their names and their order: one place for all of it."""

from __future__ import annotations

from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from google.protobuf.message import Message

from meshpass.envoy.backend import ads_config_source
from meshpass.envoy.resource import TYPE_URL_PREFIX, build_resource, pack
from meshpass.envoy.snapshot import Resource
from meshpass.ir import ObjectRef

JWT_FILTER = "meshpass.jwt"
AUTHORIZATION_FILTER = "meshpass.authorization"
CLAIM_HEADER_FILTER = "meshpass.claim-headers"

HTTP_FILTER_ORDER = (
    (JWT_FILTER, "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"),
    (AUTHORIZATION_FILTER, "envoy.extensions.filters.http.rbac.v3.RBAC"),
    (CLAIM_HEADER_FILTER, "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"),
)
"""Who the caller is, whether they may, what the application is told; then the router."""

ROUTE_METADATA = "meshpass"
CLASS_KEY = "class"
"""Route metadata ``meshpass: {class: …}``: how filters other than the JWT filter know a route's selection class."""

JWT_METADATA = "envoy.filters.http.jwt_authn"
"""Where verified payloads are put; Envoy uses this namespace however the filter is named."""


def build_http_filters() -> list[HttpFilter]:
    """All filters in order. Each but the router is fetched by ECDS, so that a policy edit touches no listener.

    There is no default configuration: until the real one has come, the listener does not accept connections.
    """
    filters = []
    for name, message in HTTP_FILTER_ORDER:
        http_filter = HttpFilter(name=name)
        http_filter.config_discovery.config_source.CopyFrom(ads_config_source())
        http_filter.config_discovery.type_urls.append(TYPE_URL_PREFIX + message)
        filters.append(http_filter)
    # Envoy's own x-envoy-* headers say nothing that applications of the mesh are meant to read.
    filters.append(HttpFilter(name="router", typed_config=pack(Router(suppress_envoy_headers=True))))
    return filters


def build_extension_config(name: str, message: Message, sources: frozenset[ObjectRef]) -> Resource:
    """The ECDS resource that configures the filter ``name``."""
    return build_resource(name, TypedExtensionConfig(name=name, typed_config=pack(message)), sources)
