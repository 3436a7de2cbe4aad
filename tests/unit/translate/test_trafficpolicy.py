"""Traffic policies over kinds and workspaces: which hold where, what stays the same object, and the reports."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.objects import (
    BASE,
    CLIENT,
    forward,
    jwt_policy,
    object_set,
    read_objects,
    route_table,
    translate_objects,
)

from meshpass.api.objectset import ObjectKey
from meshpass.ir import HeaderChanges, HeaderValue, RouteOptions
from meshpass.memo import Memo
from meshpass.translate import Translation
from meshpass.translate.trafficpolicy import TRAFFIC_POLICIES

GROUPS = {
    "CORSPolicy": "security",
    "RetryTimeoutPolicy": "resilience",
    "FaultInjectionPolicy": "resilience",
    "HeaderManipulationPolicy": "trafficcontrol",
}
SOUND: dict[str, dict[str, Any]] = {
    "CORSPolicy": {"allowOrigins": [{"exact": "https://shop.example"}]},
    "RetryTimeoutPolicy": {"requestTimeout": "1s"},
    "FaultInjectionPolicy": {"abort": {"httpStatus": 500}},
    "HeaderManipulationPolicy": {"removeRequestHeaders": ["x"]},
}
FIELDS = {
    "CORSPolicy": "cors",
    "RetryTimeoutPolicy": "timeout_milliseconds",
    "FaultInjectionPolicy": "abort",
    "HeaderManipulationPolicy": "headers",
}
ELSEWHERE = """
apiVersion: v1
kind: Namespace
metadata: {name: elsewhere}
---
apiVersion: admin.gloo.solo.io/v2
kind: Workspace
metadata:
  name: elsewhere
  namespace: gloo-mesh
  creationTimestamp: "2023-01-01T00:00:00Z"
  annotations: {golden.meshpass.dev/cluster: mgmt}
spec: {workloadClusters: [{name: "*", namespaces: [{name: elsewhere}]}]}
"""


def traffic(kind: str, name: str = "policy", created: str = "", **spec: Any) -> dict[str, Any]:
    """A policy of this kind, on every route of its workspace unless the spec says otherwise."""
    metadata: dict[str, Any] = {"name": name, "namespace": spec.pop("namespace", "httpbin")}
    if created:
        metadata["creationTimestamp"] = created
    spec = {"config": SOUND[kind]} | spec
    return {"apiVersion": f"{GROUPS[kind]}.policy.gloo.solo.io/v2", "kind": kind, "metadata": metadata, "spec": spec}


def on(**labels: str) -> list[dict[str, Any]]:
    return [{"route": {"labels": labels}}]


def two_routes() -> dict[str, Any]:
    api = {**forward(route="api"), "name": "api", "matchers": [{"uri": {"prefix": "/api"}}]}
    return route_table(hosts=["www.example.com"], http=[api, forward(route="rest")])


def options(translation: Translation) -> dict[str, RouteOptions]:
    """Name of a route of the table → its options."""
    (routes,) = translation.proxies[CLIENT].routes
    found = {route.name.partition(".")[0]: route for host in routes.virtual_hosts for route in host.routes}
    return {
        name: routes.options[route.selection_class]
        for name, route in found.items()
        if route.selection_class in routes.options
    }


def count(translation: Translation, kind: str, name: str = "policy", namespace: str = "httpbin") -> object:
    report = translation.report.objects[ObjectKey(kind, "cluster1", namespace, name)]
    return report.counts["numSelectedRoutes"]


def test_the_kinds() -> None:
    """Each has its group and its part of the options."""
    assert [kind.__name__ for kind in TRAFFIC_POLICIES] == list(GROUPS)


@pytest.mark.parametrize("kind", GROUPS)
def test_without_selectors_every_route_is_selected(kind: str) -> None:
    """And every kind fills its own part alone."""
    found = translate_objects(object_set(BASE, two_routes(), traffic(kind)))

    assert set(options(found)) == {"api", "httpbin"}
    for one in options(found).values():
        filled = {name for name in RouteOptions.__dataclass_fields__ if getattr(one, name) is not None}
        assert filled == {FIELDS[kind]}
    assert count(found, kind) == 2


def test_each_kind_has_its_own_oldest() -> None:
    """The oldest of one kind has nothing to do with another kind's, nor with a JWTPolicy."""
    found = translate_objects(
        object_set(
            BASE,
            two_routes(),
            jwt_policy(created="2020-01-01T00:00:00Z"),
            traffic("RetryTimeoutPolicy", "old", "2024-01-01T00:00:00Z", applyToRoutes=on(route="api")),
            traffic("RetryTimeoutPolicy", "new", "2024-01-02T00:00:00Z", config={"requestTimeout": "9s"}),
            traffic("FaultInjectionPolicy", "newest", "2024-01-03T00:00:00Z"),
        )
    )

    assert {name: one.timeout_milliseconds for name, one in options(found).items()} == {"api": 1000, "httpbin": 9000}
    assert all(one.abort is not None for one in options(found).values())
    assert [count(found, "RetryTimeoutPolicy", name) for name in ("old", "new")] == [1, 1]


def test_a_broken_policy_denies_what_it_wins_and_no_more() -> None:
    """Sound policies of other kinds do nothing there; a younger sound one of its kind does not take its place."""
    found = translate_objects(
        object_set(
            BASE,
            two_routes(),
            traffic("RetryTimeoutPolicy", "broken", "2024-01-01T00:00:00Z", applyToRoutes=on(route="api"), config={}),
            traffic("RetryTimeoutPolicy", "sound", "2024-01-02T00:00:00Z"),
            traffic("CORSPolicy"),
        )
    )

    assert set(options(found)) == {"httpbin"}
    proxy = found.proxies[CLIENT]
    (routes,) = proxy.routes
    (api,) = [r for host in routes.virtual_hosts for r in host.routes if r.name.startswith("api")]
    assert proxy.policies.denied == {api.selection_class}


@pytest.mark.parametrize("problem", [{"applyToRoutes": "all"}, {"applyToRoutes": [{"routes": {}}]}])
@pytest.mark.parametrize("kind", GROUPS)
def test_selectors_that_cannot_be_read_are_every_route(kind: str, problem: dict[str, Any]) -> None:
    """Which is then denied: nobody knows which routes were meant."""
    found = translate_objects(object_set(BASE, two_routes(), traffic(kind, **problem)))

    assert options(found) == {}
    assert len(found.proxies[CLIENT].policies.denied) == 2


def test_single_destinations_select_no_route() -> None:
    """They are not every route."""
    manifest = traffic("HeaderManipulationPolicy", applyToRouteDestinations=[{}])

    assert options(translate_objects(object_set(BASE, two_routes(), manifest))) == {}


def test_a_policy_holds_in_its_own_workspace() -> None:
    """However old it is and whatever it selects."""
    found = translate_objects(
        object_set(
            BASE,
            ELSEWHERE,
            two_routes(),
            traffic("HeaderManipulationPolicy", "theirs", "2020-01-01T00:00:00Z", namespace="elsewhere"),
        )
    )

    assert options(found) == {}
    assert count(found, "HeaderManipulationPolicy", "theirs", "elsewhere") == 0


def test_what_did_not_change_stays_the_same_object() -> None:
    """An edit of something else builds no options anew; an edit of one policy builds those of its routes."""
    memo = Memo()
    objects = object_set(
        BASE,
        two_routes(),
        traffic("CORSPolicy", applyToRoutes=on(route="api")),
        traffic("HeaderManipulationPolicy", applyToRoutes=on(route="rest")),
    )
    before = options(translate_objects(objects, memo))
    changed = traffic(
        "HeaderManipulationPolicy", applyToRoutes=on(route="rest"), config={"appendRequestHeaders": {"y": "1"}}
    )
    other = object_set(BASE, two_routes(), traffic("CORSPolicy", applyToRoutes=on(route="api")), changed)

    again = options(translate_objects(objects.with_changes(read_objects(jwt_policy())), memo))
    after = options(translate_objects(objects.with_changes(read_objects(changed)), memo))

    assert all(again[name] is before[name] for name in before)
    assert after["api"] is before["api"]
    assert after["httpbin"].headers == HeaderChanges(add_to_request=(HeaderValue(name="y", value="1"),))
    assert options(translate_objects(other)) == after
