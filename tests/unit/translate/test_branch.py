"""What a table with all that it delegates to comes to: how far, what it says of mistakes, and what an edit costs."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.support.objects import (
    BASE,
    CLIENT,
    NO_KEY_SETS,
    SETTINGS,
    forward,
    key_of,
    object_set,
    read_objects,
    route_table,
    translate_objects,
)

from meshpass.api.objectset import ObjectKey
from meshpass.ir import DirectResponse, Route
from meshpass.memo import Memo
from meshpass.translate import Translation, translate
from meshpass.translate.routecontext import MAX_MATCHES

HOST = "www.example.com"
Manifest = dict[str, Any]


def delegating(*names: str, **route: Any) -> Manifest:
    return {"delegate": {"routeTables": [{"name": name} for name in names]}, **route}


def run(*tables: Manifest) -> Translation:
    return translate_objects(object_set(BASE, *tables))


def routes(translation: Translation) -> list[Route]:
    (configuration,) = translation.proxies[CLIENT].routes
    return [route for host in configuration.virtual_hosts if host.name == HOST for route in host.routes]


def status_of(route: Route) -> int:
    assert isinstance(route.action, DirectResponse)
    return route.action.status


def paths_of(translation: Translation, name: str) -> list[str]:
    key = ObjectKey("RouteTable", "cluster1", "httpbin", name)
    return [finding.path for finding in translation.report.objects[key].findings]


@pytest.mark.timeout(60)
def test_ways_that_double_at_every_table_come_to_an_end() -> None:
    """Thirty tables with two routes to the next: more ways than there is memory for. Some route of them says so."""
    tables = [route_table("t0", hosts=[HOST], http=[delegating("t1")] * 2)]
    tables += [route_table(f"t{number}", http=[delegating(f"t{number + 1}")] * 2) for number in range(1, 30)]
    translation = run(*tables, route_table("t30", http=[forward()]))
    assert {status_of(route) for route in routes(translation)} == {500}
    said = [path for number in range(30) for path in paths_of(translation, f"t{number}")]
    assert "spec.http[0].delegate.routeTables" in said


@pytest.mark.timeout(60)
def test_tables_that_all_delegate_to_each_other_come_to_an_end() -> None:
    """Every way through a dozen tables would be half a milliard ways."""
    names = [f"t{number}" for number in range(12)]
    tables = [route_table(one, http=[delegating(other) for other in names if other != one]) for one in names]
    translation = run(route_table("root", hosts=[HOST], http=[delegating("t0")]), *tables)
    assert {status_of(route) for route in routes(translation)} == {500}


def test_many_children_of_many_routes_are_no_trouble() -> None:
    """Width is not depth: 300 routes to three tables each."""
    tables = [route_table(f"t{number}", http=[forward()]) for number in range(900)]
    own = [delegating(*(f"t{3 * number + place}" for place in range(3))) for number in range(300)]
    assert len(routes(run(route_table("root", hosts=[HOST], http=own), *tables))) == 900


def test_too_many_combinations_of_matchers_answer_500() -> None:
    """They are counted before they are made."""
    matchers = [{"uri": {"prefix": f"/{number}"}} for number in range(150)]
    assert len(matchers) ** 2 > MAX_MATCHES
    child = route_table("child", http=[{**forward(), "matchers": matchers}])
    translation = run(route_table("root", hosts=[HOST], http=[delegating("child", matchers=matchers)]), child)
    assert {status_of(route) for route in routes(translation)} == {500}
    assert "spec.http[0].matchers" in paths_of(translation, "child")


def test_a_matcher_that_cannot_be_built_makes_its_delegating_route_500() -> None:
    """What it would have let through is not known."""
    child = route_table("child", http=[forward()])
    wrong = [{"uri": {"regex": "["}}, {"uri": {"prefix": "/a"}}]
    translation = run(route_table("root", hosts=[HOST], http=[delegating("child", matchers=wrong)]), child)
    (only,) = routes(translation)
    assert (status_of(only), only.match.path.value) == (500, "/a")


def test_a_child_that_cannot_be_read_answers_500_and_its_siblings_work() -> None:
    """Its routes are closed under the conditions that are known; a label or a condition may be what is missing."""
    child = route_table("child", http=[{**forward(), "nonsense": 1}])
    sibling = route_table("sibling", http=[forward()])
    translation = run(route_table("root", hosts=[HOST], http=[delegating("child", "sibling")]), child, sibling)
    first, second = routes(translation)
    assert status_of(first) == 500
    assert not isinstance(second.action, DirectResponse)


def test_workload_selectors_below_a_table_for_gateways_alone_do_no_harm() -> None:
    """There are no sidecars to choose among: the child's routes are served at the gateway."""
    child = route_table("child", http=[forward()], workloadSelectors=[{"selector": {"labels": {"app": "x"}}}])
    translation = run(
        route_table("root", hosts=[HOST], virtualGateways=[{"name": "g"}], http=[delegating("child")]), child
    )
    assert "spec.workloadSelectors" not in paths_of(translation, "child")


def test_an_edit_of_a_child_touches_no_table_that_does_not_delegate() -> None:
    """What does not hang together with the edited table keeps its identity."""
    memo = Memo()
    tables = [
        route_table("root", hosts=[HOST], http=[delegating("child")]),
        route_table("child", http=[forward()]),
        route_table("plain", hosts=["plain.example.com"], http=[forward()]),
    ]
    objects = object_set(BASE, *tables)
    before = translate(objects, NO_KEY_SETS, SETTINGS, memo)
    edited = objects.with_changes(read_objects(route_table("child", http=[forward(), forward()])))
    after = translate(edited, NO_KEY_SETS, SETTINGS, memo)
    hosts = [{host.name: host for host in one.proxies[CLIENT].routes[0].virtual_hosts} for one in (before, after)]
    changed = [name for name, host in hosts[0].items() if hosts[1][name] is not host]
    assert changed == [HOST]


def test_many_routes_that_delegate_cost_no_more_than_their_number() -> None:
    """2,000 delegating routes of one table take seconds at worst, not minutes."""
    table = route_table("root", hosts=[HOST], http=[delegating("child")] * 2000)
    start = time.perf_counter()
    translation = run(table, route_table("child", http=[forward()]))
    assert time.perf_counter() - start < 20
    assert len(routes(translation)) == 2000
    assert translation.report.objects[key_of(table)].findings == ()
