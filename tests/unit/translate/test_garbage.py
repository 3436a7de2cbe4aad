"""Garbage in objects: what was dropped from an object must not open what the object was meant to protect."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pytest
from tests.support.objects import (
    BASE,
    CLIENT,
    build_snapshots,
    forward,
    jwt_policy,
    object_set,
    route_table,
    translate_objects,
)
from tests.support.reading import OPEN, Reading, Verdict

from meshpass.translate.keys import KeyTextError, read_key_set

SELECTING = jwt_policy(applyToRoutes=[{"route": {"labels": {"route": "httpbin"}}}], config={"providers": {}})


def verdict(*manifests: dict[str, Any], host: str = "www.example.com") -> Verdict:
    snapshot = build_snapshots(translate_objects(object_set(BASE, *manifests)))[CLIENT]
    reading = Reading(snapshot)
    routes = [
        route
        for one in reading.route_configurations["outbound"].virtual_hosts
        if host in one.domains
        for route in one.routes
    ]
    if not routes:
        return "404"
    (route,) = routes
    if route.direct_response.status == 500:
        return "500"
    return reading.verdict(route)


TABLE = route_table(hosts=["www.example.com"], http=[forward(route="httpbin")])


def test_the_table_is_protected_as_written() -> None:
    """The ground for what follows."""
    assert verdict(TABLE, SELECTING) != OPEN


@pytest.mark.parametrize(
    "applies",
    [
        pytest.param([{"route": {"labels": {"route": 5}}}], id="label-no-text"),
        pytest.param([{"routes": {"labels": {"route": "other"}}}], id="unknown-field"),
        pytest.param([{"route": {}, "withDestinations": {}}], id="both-of-one"),
        pytest.param("all", id="no-list"),
        pytest.param(["x"], id="no-object"),
        pytest.param({"route": {}}, id="object-for-list"),
    ],
)
def test_a_selector_with_garbage_protects_more_not_less(applies: Any) -> None:
    """What is left of it selects at least what could be meant."""
    assert verdict(TABLE, jwt_policy(applyToRoutes=applies, config={"providers": {}})) != OPEN


@pytest.mark.parametrize("applies", ["all", ["x"], {"route": {}}])
def test_also_when_it_has_destinations(applies: Any) -> None:
    """Destinations are no reason to take unreadable selectors of routes for none."""
    policy = jwt_policy(
        applyToRoutes=applies, applyToDestinations=[{"selector": {"name": "other"}}], config={"providers": {}}
    )
    assert verdict(TABLE, policy) != OPEN


@pytest.mark.parametrize(
    "route",
    [
        pytest.param({**forward(), "label": {"route": "httpbin"}}, id="unknown-field"),
        pytest.param({**forward(), "labels": ["route"]}, id="labels-no-map"),
        pytest.param({**forward(), "matchers": [{"headers": [{"nam": "x-internal"}]}]}, id="matcher-dropped"),
        pytest.param({**forward(), "matchers": [{"uri": {"prefix": "/a", "exact": "/b"}}]}, id="path-dropped"),
    ],
)
def test_a_route_of_which_parts_were_dropped_is_not_served(route: dict[str, Any]) -> None:
    """A label that is gone takes the route out of its policy; a condition that is gone takes in more requests."""
    assert verdict(route_table(hosts=["www.example.com"], http=[route]), SELECTING) != OPEN


def read_hostile_pem() -> None:
    try:
        read_key_set("-----BEGIN A-----\n" * 20_000)
    except KeyTextError:
        return


def test_no_key_text_holds_up_the_control_plane() -> None:
    """360 kB that begin many blocks and end none are refused within seconds."""
    process = multiprocessing.get_context("spawn").Process(target=read_hostile_pem)
    process.start()
    process.join(5)
    is_done = process.exitcode == 0
    process.kill()
    process.join()
    assert is_done
