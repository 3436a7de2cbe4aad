"""Routes as Envoy reads them: matches, actions, options; and route configurations put together from bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from envoy.config.route.v3.route_pb2 import RouteConfiguration as RouteConfigurationMessage
from envoy.extensions.filters.http.cors.v3.cors_pb2 import CorsPolicy
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from envoy.service.discovery.v3.discovery_pb2 import Resource as DiscoveryResource
from google.protobuf.json_format import MessageToDict
from tests.support.reading import read_any

from meshpass.envoy import route_match
from meshpass.envoy.route import build_route_configuration
from meshpass.envoy.snapshot import Resource
from meshpass.ir import (
    Abort,
    Cors,
    Delay,
    DirectResponse,
    Forward,
    HeaderChanges,
    HeaderMatch,
    HeaderValue,
    ObjectRef,
    OriginKind,
    OriginMatch,
    PathExact,
    PathPrefix,
    PathRegex,
    PrefixRewrite,
    Redirect,
    RegexRewrite,
    Retries,
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    RouteOptions,
    VirtualHost,
    WeightedBackend,
)
from meshpass.memo import Memo

WEB = Forward(backends=(WeightedBackend(backend="web", weight=100),))


def route(action: RouteAction = WEB, match: RouteMatch | None = None, selection_class: str = "c") -> Route:
    return Route(name="r", match=match or RouteMatch(), action=action, selection_class=selection_class)


def configuration(*routes: Route, options: Mapping[str, RouteOptions] | None = None, **host: Any) -> RouteConfiguration:
    one = VirtualHost(name="h", domains=("h.example.com",), routes=routes, **host)
    return RouteConfiguration(name="outbound", virtual_hosts=(one,), options=MappingProxyType(dict(options or {})))


def read(resource: Resource) -> Any:
    wire = DiscoveryResource.FromString(resource.wire)
    assert (wire.name, wire.version) == (resource.name, resource.version)
    return read_any(wire.resource, RouteConfigurationMessage)


def build(action: RouteAction = WEB, match: RouteMatch | None = None, options: RouteOptions | None = None) -> Any:
    """The one route of a route configuration, as a message."""
    told = configuration(route(action, match), options={"c": options} if options else None)
    (host,) = read(build_route_configuration(told, Memo())).virtual_hosts
    (built,) = host.routes
    return built


def as_json(message: Any) -> Any:
    return MessageToDict(message)


# Matches


def test_further_conditions_are_on_the_path_without_its_query() -> None:
    """By a header of the proxy's own, since a route has one condition on the path."""
    also = (PathPrefix("/A", ignore_case=True), PathExact("/x"), PathRegex(".*z"))
    match = as_json(build(match=RouteMatch(path=PathRegex("/.*"), also=also)).match)
    assert match["safeRegex"] == {"regex": "/.*"}
    assert match["headers"] == [
        {"name": "x-meshpass-bare-path", "stringMatch": {"prefix": "/A", "ignoreCase": True}},
        {"name": "x-meshpass-bare-path", "stringMatch": {"exact": "/x"}},
        {"name": "x-meshpass-bare-path", "stringMatch": {"safeRegex": {"regex": ".*z"}}},
    ]


def test_connect_is_matched_by_its_own_matcher() -> None:
    """And the tunnel ends here; other routes match no CONNECT and end none."""
    built = as_json(build(match=RouteMatch(connect=True)))
    assert built["match"] == {"connectMatcher": {}}
    assert built["route"]["upgradeConfigs"] == [{"upgradeType": "CONNECT", "connectConfig": {}}]
    assert "metadata" in built
    assert "upgradeConfigs" not in as_json(build())["route"]


def test_headers_and_method_are_matched() -> None:
    """Present, equal, by expression, inverted."""
    headers = (
        HeaderMatch(name="a"),
        HeaderMatch(name="b", value="1", invert=True),
        HeaderMatch(name="c", value=".", regex=True),
    )
    match = as_json(build(match=RouteMatch(headers=headers, method="PUT")).match)
    assert match["headers"] == [
        {"name": "a", "presentMatch": True},
        {"name": "b", "stringMatch": {"exact": "1"}, "invertMatch": True, "treatMissingHeaderAsEmpty": True},
        {"name": "c", "stringMatch": {"safeRegex": {"regex": "."}}},
        {"name": ":method", "stringMatch": {"exact": "PUT"}},
    ]


# Actions


def test_one_backend_is_a_cluster_and_several_are_weighted() -> None:
    """Each with the Host that its requests get."""
    one = Forward(backends=(WeightedBackend(backend="a", weight=100, host_rewrite="a.internal"),))
    assert as_json(build(one).route) == {"cluster": "a", "hostRewriteLiteral": "a.internal", "timeout": "0s"}
    two = Forward(backends=(*one.backends, WeightedBackend(backend="b", weight=0)))
    assert as_json(build(two).route)["weightedClusters"]["clusters"] == [
        {"name": "a", "weight": 100, "hostRewriteLiteral": "a.internal"},
        {"name": "b", "weight": 0},
    ]


@pytest.mark.parametrize(
    ("rewrite", "expected"),
    [
        (PrefixRewrite("/b"), {"prefixRewrite": "/b"}),
        (RegexRewrite("a(.)", r"\1"), {"regexRewrite": {"pattern": {"regex": "a(.)"}, "substitution": r"\1"}}),
    ],
)
def test_a_path_is_rewritten(rewrite: PrefixRewrite | RegexRewrite, expected: dict[str, Any]) -> None:
    """The part that the match named, or what an expression finds."""
    built = as_json(build(Forward(backends=WEB.backends, path_rewrite=rewrite)).route)
    assert built == {"cluster": "web", "timeout": "0s", **expected}


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Redirect(status=301), {}),
        (Redirect(status=302, host="h"), {"responseCode": "FOUND", "hostRedirect": "h"}),
        (Redirect(status=303, path="/p"), {"responseCode": "SEE_OTHER", "pathRedirect": "/p"}),
        (Redirect(status=307), {"responseCode": "TEMPORARY_REDIRECT"}),
        (Redirect(status=308), {"responseCode": "PERMANENT_REDIRECT"}),
    ],
)
def test_a_redirect_says_what_changes(action: Redirect, expected: dict[str, Any]) -> None:
    """And keeps what is not named."""
    assert as_json(build(action).redirect) == expected


def test_a_host_that_redirects_to_https_has_no_other_route() -> None:
    """And the one that it has carries no class: nobody is asked for a token."""
    (host,) = read(build_route_configuration(configuration(route(), redirect_to_https=True), Memo())).virtual_hosts
    assert [as_json(one) for one in host.routes] == [{"match": {"prefix": "/"}, "redirect": {"httpsRedirect": True}}]


# Options


def test_retries_and_timeouts() -> None:
    """The proxy's own conditions where there are none; statuses sorted, each once."""
    told = RouteOptions(timeout_milliseconds=2500, retries=Retries(attempts=1))
    built = as_json(build(options=told).route)
    assert built["timeout"] == "2.500s"
    assert built["retryPolicy"]["numRetries"] == 1
    assert built["retryPolicy"]["retriableStatusCodes"] == [503]
    assert "retriable-status-codes" in built["retryPolicy"]["retryOn"]
    named = Retries(attempts=3, per_try_timeout_milliseconds=10, retry_on="reset", status_codes=(504, 502, 502))
    assert as_json(build(options=RouteOptions(retries=named)).route)["retryPolicy"] == {
        "retryOn": "reset",
        "numRetries": 3,
        "perTryTimeout": "0.010s",
        "retriableStatusCodes": [502, 504],
    }


def test_retries_elsewhere_leave_places_that_have_failed() -> None:
    """And count what another proxy says that its application has not seen."""
    sent = Forward(
        backends=(WeightedBackend(backend="b", weight=100),),
        retries=Retries(attempts=2, retry_on="connect-failure", elsewhere=True),
    )
    built = as_json(build(sent).route)["retryPolicy"]
    assert (built["retryOn"], built["numRetries"]) == ("connect-failure,retriable-headers", 2)
    assert built["retriableHeaders"] == [{"name": "x-meshpass-unreached", "presentMatch": True}]
    assert built["retryPriority"]["name"] == "envoy.retry_priorities.previous_priorities"
    assert [one["name"] for one in built["retryHostPredicate"]] == ["envoy.retry_host_predicates.previous_hosts"]


def test_retries_of_a_policy_take_the_place_of_the_routes_own() -> None:
    """Also where the policy says that there are none."""
    sent = Forward(
        backends=(WeightedBackend(backend="b", weight=100),), retries=Retries(attempts=2, retry_on="connect-failure")
    )
    policy = RouteOptions(retries=Retries(attempts=7, retry_on="reset"))
    assert as_json(build(sent, options=policy).route)["retryPolicy"] == {"retryOn": "reset", "numRetries": 7}
    assert "retryPolicy" not in as_json(build(sent, options=RouteOptions(retries=Retries(attempts=0))).route)


def test_faults_are_for_a_share_of_requests() -> None:
    """To a millionth; a class without faults says nothing of them."""
    faults = RouteOptions(delay=Delay(percent=0.5, milliseconds=1500), abort=Abort(percent=100, status=418))
    fault = read_any(build(options=faults).typed_per_filter_config["envoy.filters.http.fault"], HTTPFault)
    assert as_json(fault.delay) == {"fixedDelay": "1.500s", "percentage": {"numerator": 5000, "denominator": "MILLION"}}
    assert (fault.abort.http_status, fault.abort.percentage.numerator) == (418, 1_000_000)
    plain = build(options=RouteOptions(delay=Delay(percent=1, milliseconds=1)))
    assert not read_any(plain.typed_per_filter_config["envoy.filters.http.fault"], HTTPFault).HasField("abort")
    assert not [name for name in build().typed_per_filter_config if not name.startswith("meshpass.")]


def test_a_cors_policy_answers_every_preflight_itself() -> None:
    """With lists joined, and origins in each of their forms."""
    cors = Cors(
        allow_origins=(
            OriginMatch(OriginKind.EXACT, "a", ignore_case=True),
            OriginMatch(OriginKind.PREFIX, "b"),
            OriginMatch(OriginKind.REGEX, "c.*"),
        ),
        allow_methods=("GET", "PUT"),
        max_age_seconds=0,
    )
    built = build(options=RouteOptions(cors=cors)).typed_per_filter_config["envoy.filters.http.cors"]
    assert as_json(read_any(built, CorsPolicy)) == {
        "allowOriginStringMatch": [
            {"exact": "a", "ignoreCase": True},
            {"prefix": "b"},
            {"safeRegex": {"regex": "c.*"}},
        ],
        "allowMethods": "GET,PUT",
        "maxAge": "0",
        "allowCredentials": False,
        "forwardNotMatchingPreflights": False,
    }


def test_header_changes_are_literal() -> None:
    """A per cent sign is doubled; ``append`` keeps what is there."""
    changes = HeaderChanges(
        add_to_request=(HeaderValue(name="a", value="%REQ(x)%"), HeaderValue(name="b", value="", append=False)),
        remove_from_request=("c",),
        add_to_response=(HeaderValue(name="d", value="e"),),
        remove_from_response=("f",),
    )
    built = as_json(build(DirectResponse(status=200, body=""), options=RouteOptions(headers=changes)))
    assert built["requestHeadersToAdd"] == [
        {"header": {"key": "a", "value": "%%REQ(x)%%"}, "keepEmptyValue": True},
        {"header": {"key": "b"}, "appendAction": "OVERWRITE_IF_EXISTS_OR_ADD", "keepEmptyValue": True},
    ]
    assert (built["requestHeadersToRemove"], built["responseHeadersToRemove"]) == (["c"], ["f"])
    assert built["responseHeadersToAdd"] == [{"header": {"key": "d", "value": "e"}, "keepEmptyValue": True}]


# The whole


def hosts(number: int) -> tuple[VirtualHost, ...]:
    return tuple(
        VirtualHost(
            name=f"h{index}",
            domains=(f"h{index}.example.com",),
            routes=(route(selection_class=f"c{index % 3}"), route(match=RouteMatch(connect=True))),
            sources=frozenset({ObjectRef("RouteTable", "c", "n", str(index))}),
        )
        for index in range(number)
    )


def test_parts_make_a_whole_message() -> None:
    """All hosts in their order with all routes, the head once, and every source."""
    told = RouteConfiguration(name="outbound", virtual_hosts=hosts(5), ignore_port=True)
    resource = build_route_configuration(told, Memo())
    message = read(resource)
    assert (message.name, message.ignore_port_in_host_matching) == ("outbound", True)
    assert list(message.request_headers_to_remove) == ["x-meshpass-path", "x-meshpass-bare-path"]
    assert [host.name for host in message.virtual_hosts] == [f"h{index}" for index in range(5)]
    assert {len(host.routes) for host in message.virtual_hosts} == {2}
    assert {source.name for source in resource.sources} == {str(index) for index in range(5)}
    assert len({one.version for one in map(fresh, (told, replace(told, ignore_port=False)))}) == 2


def fresh(told: RouteConfiguration) -> Resource:
    return build_route_configuration(told, Memo())


def test_equal_content_has_equal_bytes_and_version_and_nothing_else_has() -> None:
    """Whatever was built before with the same memo; a host, its place, its options each count."""
    memo = Memo()
    first = RouteConfiguration(name="outbound", virtual_hosts=hosts(4))
    options = MappingProxyType({"c1": RouteOptions(timeout_milliseconds=1)})
    changed = (
        replace(first, virtual_hosts=first.virtual_hosts[::-1]),
        replace(first, virtual_hosts=first.virtual_hosts[:3]),
        replace(first, options=options),
        replace(first, options=MappingProxyType({"c1": RouteOptions(timeout_milliseconds=2)})),
    )
    built = [build_route_configuration(one, memo) for one in (first, *changed)]
    assert len({one.version for one in built}) == len(built)
    for told, resource in zip((first, *changed), built, strict=True):
        assert fresh(told) == resource
    unmatched = replace(first, options=MappingProxyType({"nobody's": RouteOptions(timeout_milliseconds=1)}))
    assert build_route_configuration(unmatched, memo).version == built[0].version


def test_only_what_changed_is_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One route of one host; or the hosts with a class whose options changed."""
    memo, count = Memo(), [0]
    build_match = route_match.build_match

    def counting(match: RouteMatch) -> Any:
        count[0] += 1
        return build_match(match)

    monkeypatch.setattr("meshpass.envoy.route.build_match", counting)

    def built(told: RouteConfiguration) -> int:
        count[0] = 0
        build_route_configuration(told, memo)
        return count[0]

    first = RouteConfiguration(name="outbound", virtual_hosts=hosts(6))
    assert built(first) == 12
    host = first.virtual_hosts[2]
    edited = replace(host, routes=(route(DirectResponse(status=200, body="")), *host.routes[1:]))
    assert built(replace(first, virtual_hosts=(*first.virtual_hosts[:2], edited, *first.virtual_hosts[3:]))) == 1
    assert built(replace(first, options=MappingProxyType({"c1": RouteOptions(timeout_milliseconds=1)}))) == 2
