"""Listeners → Envoy's Listener with an HTTP connection manager."""

from __future__ import annotations

from typing import assert_never

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLogFilter, ExtensionFilter
from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation as Mutation
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener as ListenerMessage
from envoy.config.route.v3 import route_components_pb2 as route_v3
from envoy.config.route.v3.route_pb2 import RouteConfiguration as RouteConfigurationMessage
from envoy.extensions.access_loggers.filters.cel.v3.cel_pb2 import ExpressionFilter
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    LocalReplyConfig,
    Rds,
    ResponseMapper,
)
from envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2 import (
    HeaderMutation as EarlyHeaderMutation,
)
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue

from meshpass.envoy.access_log import build_access_log
from meshpass.envoy.address import build_address
from meshpass.envoy.backend import ads_config_source
from meshpass.envoy.filters import SAVED_PATH, Side, build_http_filters
from meshpass.envoy.resource import build_resource, pack
from meshpass.envoy.selection_class import set_selection_class
from meshpass.envoy.snapshot import Resource
from meshpass.ir import InboundListener, Listener, OutboundListener

REALM = "%REQ(:SCHEME)%://%REQ(:AUTHORITY)%%PATH(NQ:PATH):256%"
"""The request's URL without its query: Envoy's own realm would echo a token that came as a query parameter."""


def build_listener(listener: Listener) -> Resource:
    """The resource of one listener."""
    match listener:
        case OutboundListener():
            manager = _build_outbound(listener)
        case InboundListener():
            manager = _build_inbound(listener)
        case _:  # pragma: no cover
            assert_never(listener)
    network_filter = Filter(name="envoy.filters.network.http_connection_manager", typed_config=pack(manager))
    message = ListenerMessage(
        name=listener.name,
        address=build_address(listener.address, listener.port),
        filter_chains=[FilterChain(filters=[network_filter])],
    )
    return build_resource(listener.name, message)


def _build_outbound(listener: OutboundListener) -> HttpConnectionManager:
    manager = _connection_manager(listener.name, Side.OUTBOUND)
    manager.rds.CopyFrom(Rds(config_source=ads_config_source(), route_config_name=listener.route_configuration))
    return manager


def _build_inbound(listener: InboundListener) -> HttpConnectionManager:
    manager = _connection_manager(listener.name, Side.INBOUND)
    everything = route_v3.Route(
        match=route_v3.RouteMatch(prefix="/"),
        route=route_v3.RouteAction(cluster=listener.backend, timeout=Duration()),
    )
    set_selection_class(everything, Side.INBOUND, listener.selection_class)
    manager.route_config.CopyFrom(
        RouteConfigurationMessage(
            name=listener.name,
            request_headers_to_remove=[SAVED_PATH],
            virtual_hosts=[route_v3.VirtualHost(name="application", domains=["*"], routes=[everything])],
        )
    )
    return manager


def _connection_manager(name: str, side: Side) -> HttpConnectionManager:
    return HttpConnectionManager(
        stat_prefix=name,
        # A path is brought to its one form before routes are matched: neither `/a/../b` nor `//b` passes by a route for
        # `/b`.
        normalize_path=BoolValue(value=True),
        merge_slashes=True,
        skip_xff_append=True,
        local_reply_config=_local_replies(),
        access_log=[build_access_log(side)],
        early_header_mutation_extensions=[_save_path()],
        http_filters=build_http_filters(side),
    )


def _save_path() -> TypedExtensionConfig:
    """What the client sent is kept before any filter sees it; a client's own header of this name is overwritten."""
    saved = HeaderValueOption(
        header=HeaderValue(key=SAVED_PATH, value="%REQ(:PATH)%"),
        append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
    return TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=pack(EarlyHeaderMutation(mutations=[Mutation(append=saved)])),
    )


def _local_replies() -> LocalReplyConfig:
    """Refusals name the URL without its query, and never list the requirements that the filter knows."""
    challenge = f'Bearer realm="{REALM}"'
    return LocalReplyConfig(
        mappers=[
            _unknown_class(),
            _challenge("response.code_details == 'jwt_authn_access_denied{Jwt_is_missing}'", challenge),
            _challenge(
                "response.code_details.startsWith('jwt_authn_access_denied')",
                f'{challenge}, error="invalid_token"',
            ),
        ]
    )


def _challenge(expression: str, value: str) -> ResponseMapper:
    # RFC 6750 §3.1: a request without a token is answered without an error code. Envoy sends the header with a wrong
    # audience (403) too, and then as well with the query in it.
    header = HeaderValueOption(
        header=HeaderValue(key="www-authenticate", value=value),
        append_action=HeaderValueOption.OVERWRITE_IF_EXISTS,
    )
    return ResponseMapper(filter=_when(expression), headers_to_add=[header])


def _unknown_class() -> ResponseMapper:
    mapper = ResponseMapper(
        filter=_when("response.code_details.startsWith('jwt_authn_access_denied{Wrong_requirement_name')")
    )
    mapper.body.inline_string = "RBAC: access denied"
    return mapper


def _when(expression: str) -> AccessLogFilter:
    return AccessLogFilter(
        extension_filter=ExtensionFilter(
            name="envoy.access_loggers.extension_filters.cel",
            typed_config=pack(ExpressionFilter(expression=expression)),
        )
    )
