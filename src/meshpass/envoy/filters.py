"""The HTTP filters, their names and their order: one place for all of it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from urllib.parse import quote

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.extensions.filters.common.set_filter_state.v3.value_pb2 import FilterStateValue
from envoy.extensions.filters.http.cors.v3.cors_pb2 import Cors
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.http.set_filter_state.v3.set_filter_state_pb2 import Config as SetFilterState
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from google.protobuf.message import Message

from meshpass.envoy.config_source import ads_config_source
from meshpass.envoy.resource import TYPE_URL_PREFIX, build_resource, pack
from meshpass.envoy.snapshot import Resource, content_version
from meshpass.ir import JwtProvider, ObjectRef, Phase


class Side(StrEnum):
    """Which of a proxy's listeners: where the workload calls from, or where it is called."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"


class Stage(StrEnum):
    """What a filter is for."""

    JWT = "jwt"
    AUTHORIZATION = "authorization"
    CLAIM_HEADERS = "claim-headers"
    FINISH = "finish"


_RBAC = "envoy.extensions.filters.http.rbac.v3.RBAC"
_HEADER_MUTATION = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"

STAGE_ORDER = (
    (Stage.JWT, ("envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",)),
    (Stage.AUTHORIZATION, (_RBAC,)),
    (Stage.CLAIM_HEADERS, (_HEADER_MUTATION,)),
    (Stage.FINISH, ("envoy.extensions.filters.http.lua.v3.Lua", _HEADER_MUTATION)),
)
"""Who the caller is, whether they may, what the application is told, what is tidied up. With the types that each may be."""

HTTP_FILTER_ORDER = tuple((phase, stage, types) for phase in Phase for stage, types in STAGE_ORDER)
"""All stages of a phase, then those of the next; between them, where others call a workload, ``ACCESS_FILTER``. Then the
router.

The chain is the same whatever policies there are: a change of it would be a change of the listener, which closes
connections. One policy holds on a route, so priorities within a phase order nothing among JWT policies.
"""

ACCESS_FILTER = "meshpass.inbound.access"
"""Who may call at all, by AccessPolicies: behind the first phase, whose verified tokens it looks at. Its ECDS resource has
the same name."""

ASKED_FILTER = "envoy.filters.http.set_filter_state"
"""Keeps what was asked for, for the access log."""
ASKED_HOST = "meshpass.host"
ASKED_PATH = "meshpass.path"
"""In a request's filter state: its authority, and its path without the query."""
CORS_FILTER = "envoy.filters.http.cors"
"""First of those that answer, so that a preflight, which carries no token, is answered on routes with a policy for it."""
FAULT_FILTER = "envoy.filters.http.fault"
"""Behind all authorization, so that who is refused learns nothing of faults."""

ROUTE_METADATA = "meshpass"
CLASS_KEY = "class"
"""Route metadata ``meshpass: {class: …}``: how filters other than the JWT filter know a route's selection class."""

JWT_METADATA = "envoy.filters.http.jwt_authn"
"""Where verified payloads are put; Envoy uses this namespace however the filter is named."""
PROVIDER_KEY = "provider:"
"""In that namespace, before the name of the provider that accepted a token: the token's header. See ``accepted_key``."""
STRIPPED_MARK = "?"
"""After that name, before the ``stripped_key`` of what the provider takes out of the query; no name has one."""
SAVED_PATH = "x-meshpass-path"
"""The request's path and query as the client sent them, for the filters."""
BARE_PATH = "x-meshpass-bare-path"
"""The path without its query, for routes with more than one condition on it."""
OWN_HEADERS = (SAVED_PATH, BARE_PATH)
"""Headers that do not leave the proxy."""
PAYLOAD_HEADER = "x-meshpass-payload-"
"""Before the name of a header: the payload on its way from the JWT filter, which takes its own headers from every request
that passes it, to the filter that writes it."""
FAILED_KEY = "failed:"
"""In that namespace, before the name of a provider that refused a token: why it did."""


def accepted_key(provider: JwtProvider) -> str:
    """Where the JWT filter puts the header of a token that the provider accepted."""
    key = PROVIDER_KEY + provider.name
    if provider.keep_token or not provider.query_parameters:
        return key
    return f"{key}{STRIPPED_MARK}{stripped_key(provider.query_parameters)}"


def stripped_key(parameters: tuple[str, ...]) -> str:
    """A hash of the query parameters that are taken out: whoever does so knows them by it, whichever provider asks."""
    return content_version("&".join(quote(name, safe="") for name in parameters).encode())


def filter_name(side: Side, phase: Phase, stage: Stage) -> str:
    """The name of a filter, which is also the name of its ECDS resource."""
    return f"meshpass.{side}.{phase}.{stage}"


def build_http_filters(side: Side) -> list[HttpFilter]:
    """All filters of one side in order.

    A policy edit touches no listener: what depends on policies is fetched by ECDS, and the filters that are always the
    same act only where a route asks for it.

    There is no default configuration: until the real one has come, the listener does not accept connections.
    """
    filters = [
        build_asked_filter(),
        HttpFilter(name=CORS_FILTER, typed_config=pack(Cors())),
    ]
    for name, types in _discovered_filters(side):
        http_filter = HttpFilter(name=name)
        http_filter.config_discovery.config_source.CopyFrom(ads_config_source())
        http_filter.config_discovery.type_urls.extend(TYPE_URL_PREFIX + message for message in types)
        filters.append(http_filter)
    filters.append(HttpFilter(name=FAULT_FILTER, typed_config=pack(HTTPFault())))
    # Envoy's own x-envoy-* headers say nothing that applications of the mesh are meant to read.
    filters.append(HttpFilter(name="router", typed_config=pack(Router(suppress_envoy_headers=True))))
    return filters


def _discovered_filters(side: Side) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Those that come by ECDS: name, and what type each may be."""
    for phase, stage, types in HTTP_FILTER_ORDER:
        if side is Side.INBOUND and (phase, stage) == (Phase.POST_AUTHZ, STAGE_ORDER[0][0]):
            yield ACCESS_FILTER, (_RBAC,)
        yield filter_name(side, phase, stage), types


def build_asked_filter() -> HttpFilter:
    """The filter without which the access log does not know what was asked for."""
    values = ((ASKED_HOST, "%REQ(:AUTHORITY):253%"), (ASKED_PATH, "%PATH(NQ:PATH):256%"))
    config = SetFilterState(
        on_request_headers=[
            FilterStateValue(
                object_key=key,
                factory_key="envoy.string",
                format_string=SubstitutionFormatString(text_format_source=DataSource(inline_string=text)),
            )
            for key, text in values
        ]
    )
    return HttpFilter(name=ASKED_FILTER, typed_config=pack(config))


def build_extension_config(name: str, message: Message, sources: frozenset[ObjectRef]) -> Resource:
    """The ECDS resource that configures the filter ``name``."""
    return build_resource(name, TypedExtensionConfig(name=name, typed_config=pack(message)), sources)
