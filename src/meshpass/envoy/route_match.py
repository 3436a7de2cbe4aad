"""RouteMatch → Envoy's RouteMatch."""

from __future__ import annotations

from typing import assert_never

from envoy.config.route.v3 import route_components_pb2 as route_v3
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.wrappers_pb2 import BoolValue

from meshpass.envoy.filters import BARE_PATH
from meshpass.ir import HeaderMatch, PathExact, PathMatch, PathPrefix, PathRegex, QueryMatch, RouteMatch


def build_match(match: RouteMatch) -> route_v3.RouteMatch:
    """The conditions of a route. Of Envoy's matchers only ``connect_matcher`` takes CONNECT requests, and it takes no others."""
    if match.connect:
        return route_v3.RouteMatch(connect_matcher=route_v3.RouteMatch.ConnectMatcher())
    message = route_v3.RouteMatch(
        headers=[_build_header(header) for header in match.headers],
        query_parameters=[_build_query(parameter) for parameter in match.query_parameters],
    )
    if match.method is not None:
        message.headers.append(_build_header(HeaderMatch(name=":method", value=match.method)))
    message.headers.extend(_build_further_path(path) for path in match.also)
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


def _build_further_path(path: PathMatch) -> route_v3.HeaderMatcher:
    """A condition on the path as one on a header, of which a route may have several."""
    match path:
        case PathPrefix(value, ignore_case):
            matcher = StringMatcher(prefix=value, ignore_case=ignore_case)
        case PathExact(value, ignore_case):
            matcher = StringMatcher(exact=value, ignore_case=ignore_case)
        case PathRegex(value):
            matcher = _build_string(value, regex=True)
        case _:  # pragma: no cover
            assert_never(path)
    return route_v3.HeaderMatcher(name=BARE_PATH, string_match=matcher)


def _build_header(header: HeaderMatch) -> route_v3.HeaderMatcher:
    message = route_v3.HeaderMatcher(name=header.name, invert_match=header.invert)
    if header.value is None:
        message.present_match = True
    else:
        message.string_match.CopyFrom(_build_string(header.value, regex=header.regex))
        # To Envoy a header that is not there meets no condition on its value, not even an inverted one: a route that
        # refuses whatever has not the right value would be passed by leaving the header out.
        message.treat_missing_header_as_empty = header.invert
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
