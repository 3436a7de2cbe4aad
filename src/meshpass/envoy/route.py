"""RouteConfiguration, VirtualHost, Route → Envoy's messages of the same names."""

from __future__ import annotations

from typing import assert_never

from envoy.config.core.v3 import base_pb2 as core
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.route.v3 import route_components_pb2 as route_v3
from envoy.config.route.v3.route_pb2 import RouteConfiguration as RouteConfigurationMessage
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from meshpass.envoy.filters import SAVED_PATH, Side
from meshpass.envoy.resource import build_resource
from meshpass.envoy.selection_class import set_selection_class
from meshpass.envoy.snapshot import Resource
from meshpass.ir import (
    DirectResponse,
    Forward,
    HeaderMatch,
    PathExact,
    PathPrefix,
    PathRegex,
    QueryMatch,
    Route,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from meshpass.memo import Memo

MAX_DIRECT_RESPONSE_BYTES = 4 * 2**20
"""What the API allows, under 1 MiB of characters, is at most this many bytes."""


def build_route_configuration(routes: RouteConfiguration, memo: Memo) -> Resource:
    """The resource of a route configuration; virtual hosts that did not change are not built again."""
    message = RouteConfigurationMessage(
        name=routes.name,
        request_headers_to_remove=[SAVED_PATH],
        max_direct_response_body_size_bytes=UInt32Value(value=MAX_DIRECT_RESPONSE_BYTES),
        virtual_hosts=[memo(_build_virtual_host, host) for host in routes.virtual_hosts],
    )
    sources = frozenset(source for host in routes.virtual_hosts for source in host.sources)
    return build_resource(routes.name, message, sources)


def _build_virtual_host(host: VirtualHost) -> route_v3.VirtualHost:
    return route_v3.VirtualHost(
        name=host.name, domains=host.domains, routes=[_build_route(route) for route in host.routes]
    )


def _build_route(route: Route) -> route_v3.Route:
    message = route_v3.Route(name=route.name, match=_build_match(route.match))
    set_selection_class(message, Side.OUTBOUND, route.selection_class)
    match route.action:
        case Forward():
            message.route.CopyFrom(_build_forward(route.action))
        case DirectResponse():
            message.direct_response.CopyFrom(_build_direct_response(route.action))
        case _:  # pragma: no cover
            assert_never(route.action)
    return message


def _build_forward(action: Forward) -> route_v3.RouteAction:
    # No timeout of the proxy's own: Envoy's default of 15 s would cut long answers that the application means to give.
    message = route_v3.RouteAction(timeout=Duration())
    match action.backends:
        case (only,):
            message.cluster = only.backend
        case several:
            message.weighted_clusters.clusters.extend(
                route_v3.WeightedCluster.ClusterWeight(name=share.backend, weight=UInt32Value(value=share.weight))
                for share in several
            )
    return message


def _build_direct_response(action: DirectResponse) -> route_v3.DirectResponseAction:
    message = route_v3.DirectResponseAction(status=action.status)
    if action.names_host:
        text = action.body.replace("%", "%%") + "%REQ(:AUTHORITY)%"
        message.body_format.CopyFrom(SubstitutionFormatString(text_format_source=core.DataSource(inline_string=text)))
    elif action.body:
        message.body.inline_string = action.body
    return message


def _build_match(match: RouteMatch) -> route_v3.RouteMatch:
    message = route_v3.RouteMatch(
        headers=[_build_header(header) for header in match.headers],
        query_parameters=[_build_query(parameter) for parameter in match.query_parameters],
    )
    if match.method is not None:
        message.headers.append(_build_header(HeaderMatch(name=":method", value=match.method)))
    match match.path:
        case PathPrefix(value, ignore_case):
            message.prefix = value
            _set_case(message, ignore=ignore_case)
        case PathExact(value, ignore_case):
            message.path = value
            _set_case(message, ignore=ignore_case)
        case PathRegex(value):
            message.safe_regex.regex = value
        case _:  # pragma: no cover
            assert_never(match.path)
    return message


def _set_case(message: route_v3.RouteMatch, *, ignore: bool) -> None:
    if ignore:
        message.case_sensitive.CopyFrom(BoolValue(value=False))


def _build_header(header: HeaderMatch) -> route_v3.HeaderMatcher:
    message = route_v3.HeaderMatcher(name=header.name, invert_match=header.invert)
    if header.value is None:
        message.present_match = True
    else:
        message.string_match.CopyFrom(_build_string(header.value, regex=header.regex))
    return message


def _build_query(parameter: QueryMatch) -> route_v3.QueryParameterMatcher:
    message = route_v3.QueryParameterMatcher(name=parameter.name)
    if parameter.value is None:
        message.present_match = True
    else:
        message.string_match.CopyFrom(_build_string(parameter.value, regex=parameter.regex))
    return message


def _build_string(value: str, *, regex: bool) -> StringMatcher:
    return StringMatcher(safe_regex=RegexMatcher(regex=value)) if regex else StringMatcher(exact=value)
