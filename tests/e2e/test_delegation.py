"""Delegation in real Envoys: which tables, which requests, in which order, for whom, and under which policy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.envoy_mesh import CALLER, CLIENT, EnvoyMesh, run_envoy_mesh
from tests.support.jwt_objects import DENIED, HOST, LABEL, MISSING, bearer, policy
from tests.support.objects import forward, route_table
from tests.support.tokens import DEV, sign

from meshpass.translate import FeatureGates
from meshpass.translate.branch import MAX_DEPTH

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

Manifest = dict[str, Any]
PART = {"part": "yes"}
BY_LABEL = {"labels": PART}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EnvoyMesh]:
    async with run_envoy_mesh(CLIENT, CALLER) as running:
        yield running


def says(body: str, *matchers: Manifest, **route: Any) -> Manifest:
    """A route that answers with its body."""
    found: Manifest = {"directResponse": {"status": 200, "body": body}, **route}
    return {**found, "matchers": list(matchers)} if matchers else found


def root(*http: Manifest, **spec: Any) -> Manifest:
    return route_table("root", hosts=[HOST], http=list(http), **spec)


def delegating(*selectors: Manifest, matchers: tuple[Manifest, ...] = (), sort: str = "", **route: Any) -> Manifest:
    delegate: Manifest = {"routeTables": list(selectors)}
    if sort:
        delegate["sortMethod"] = sort
    return {"delegate": delegate, **route} | ({"matchers": list(matchers)} if matchers else {})


def path(prefix: str = "", exact: str = "", **more: Any) -> Manifest:
    return {"uri": {"exact": exact} if exact else {"prefix": prefix}, **more}


async def bodies(mesh: EnvoyMesh, *paths: str, node: str = CLIENT, method: str = "GET") -> list[str]:
    return [
        answer.text if answer.status == 200 else str(answer.status)
        for answer in [await mesh.request(HOST, one, node=node, method=method) for one in paths]
    ]


# Which tables


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ({"name": "a", "namespace": "httpbin"}, "a"),
        ({"name": "a", "namespace": "team"}, "500"),
        ({"name": "b"}, "b"),
        ({"labels": PART}, "a"),
        ({"labels": {"part": "yes", "of": "b"}}, "b"),
        ({"labels": {"part": "no"}}, "500"),
        ({"namespace": "team"}, "b"),
        ({"labels": PART, "namespace": "team"}, "b"),
        ({"cluster": "cluster2"}, "c"),
        ({"labels": PART, "cluster": "mgmt"}, "500"),
        ({"workspace": "mesh", "labels": PART}, "a"),
        ({"workspace": "elsewhere", "labels": PART}, "500"),
        ({}, "a"),
    ],
)
async def test_selectors_choose_tables(mesh: EnvoyMesh, selector: Manifest, found: str) -> None:
    """By name, labels, namespace, cluster and workspace, all of which have to hold; tables of other workspaces never."""
    tables = [
        route_table("a", created="2024-01-01T00:00:00Z", labels=PART, http=[says("a")]),
        route_table(
            "b", created="2024-01-02T00:00:00Z", namespace="team", labels={**PART, "of": "b"}, http=[says("b")]
        ),
        route_table("c", created="2024-01-03T00:00:00Z", cluster="cluster2", labels=PART, http=[says("c")]),
        route_table("d", created="2023-01-03T00:00:00Z", namespace="elsewhere", labels=PART, http=[says("d")]),
    ]
    async with mesh.having(root(delegating(selector)), *tables):
        assert await bodies(mesh, "/") == [found]


async def test_a_route_may_delegate_to_tables_of_several_selectors(mesh: EnvoyMesh) -> None:
    """In the order of the list; a table that several of them choose is there once."""
    tables = [
        route_table(name, labels=PART, http=[says(name, path(f"/{name}")), says(f"rest of {name}")]) for name in "ab"
    ]
    async with mesh.having(root(delegating({"name": "b"}, {"labels": PART})), *tables):
        assert await bodies(mesh, "/a", "/b", "/c") == ["rest of b", "b", "rest of b"]


# Which requests


async def test_matchers_of_both_have_to_hold_in_any_combination(mesh: EnvoyMesh) -> None:
    """Paths, headers, query and method add up over tables."""
    parent = delegating(
        BY_LABEL,
        matchers=(path("/a", headers=[{"name": "x-a"}]), path("/b", method="POST", queryParameters=[{"name": "q"}])),
    )
    child = route_table(
        "child",
        labels=PART,
        http=[says("one", path(exact="/a/x")), says("two", path("/b/y"), {"headers": [{"name": "x-b"}]})],
    )
    asked: list[tuple[str, str, dict[str, str], str]] = [
        ("GET", "/a/x", {"x-a": ""}, "one"),
        ("GET", "/a/x", {}, "rest"),
        ("GET", "/a/y", {"x-a": ""}, "rest"),
        ("GET", "/a/y", {"x-a": "", "x-b": ""}, "two"),
        ("POST", "/b/y/z?q=1", {}, "two"),
        ("POST", "/b/y/z", {}, "rest"),
        ("GET", "/b/y/z?q=1", {}, "rest"),
        ("POST", "/b?q", {"x-b": "1"}, "two"),
    ]
    async with mesh.having(root(parent, says("rest")), child):
        for method, target, headers, body in asked:
            answer = await mesh.request(HOST, target, method=method, headers=headers)
            assert answer.text == body, (method, target, headers)


async def test_expressions_of_parent_and_child_both_hold(mesh: EnvoyMesh) -> None:
    """Two conditions on one path, of which neither follows from the other."""
    parent = delegating(BY_LABEL, matchers=({"uri": {"regex": "/[a-z]+/.*"}},))
    child = route_table(
        "child",
        labels=PART,
        http=[
            says("regex", {"uri": {"regex": ".*/[0-9]+"}}),
            says("any case", {"uri": {"prefix": "/Abc", "ignoreCase": True}}),
        ],
    )
    async with mesh.having(root(parent, says("rest")), child):
        assert await bodies(mesh, "/x/1", "/1/1", "/x/y", "/abc/d", "/ABC/d", "/x/1?a=/b") == [
            *("regex", "rest", "rest", "any case", "rest", "regex")
        ]


async def test_what_is_rewritten_is_what_the_longer_prefix_matched(mesh: EnvoyMesh) -> None:
    """The prefix of parent and child together."""
    route = {**forward(), "matchers": [path("/api/v1")]}
    route["forwardTo"] = {**route["forwardTo"], "pathRewrite": "/anything"}
    table = route_table("child", labels=PART, http=[route])
    async with mesh.having(root(delegating(BY_LABEL, matchers=(path("/api"),))), table):
        answer = await mesh.request(HOST, "/api/v1/x?a=b")
        assert answer.json["url"] == f"http://{HOST}/anything/x?a=b"


async def test_matchers_that_exclude_each_other_make_the_parent_500(mesh: EnvoyMesh) -> None:
    """Decision 20: the parent's route, and no other, answers 500; the status of the table says which route it is."""
    table = route_table("child", labels=PART, http=[says("fits", path("/a/b")), says("never", path("/c"))])
    parent = root(delegating(BY_LABEL, matchers=(path("/a"),)), says("rest"))
    async with mesh.having(parent, table):
        assert await bodies(mesh, "/a/b", "/c") == ["500", "rest"]
        message = mesh.status(parent)["common"]["State"]["message"]
        assert "spec.http[0].delegate" in message
        assert "spec.http[1] of httpbin/child" in message


async def test_what_no_child_matches_goes_to_the_routes_after(mesh: EnvoyMesh) -> None:
    """A delegating route is not the end: the parent's next routes are asked."""
    table = route_table("child", labels=PART, http=[says("child", path("/a/b"))])
    async with mesh.having(root(delegating(BY_LABEL, matchers=(path("/a"),)), says("rest")), table):
        assert await bodies(mesh, "/a/b", "/a/c") == ["child", "rest"]


# How deep


def chain(length: int) -> list[Manifest]:
    """Tables of which each delegates to the next; the last answers."""
    between = [
        route_table(f"t{number}", http=[delegating({"name": f"t{number + 1}"}, matchers=(path("/a"),))])
        for number in range(1, length)
    ]
    return [root(delegating({"name": "t1"})), *between, route_table(f"t{length}", http=[says("end", path("/a/b"))])]


@pytest.mark.parametrize(("length", "answer"), [(1, "end"), (2, "end"), (12, "end"), (MAX_DEPTH, "500")])
async def test_tables_delegate_to_any_depth(mesh: EnvoyMesh, length: int, answer: str) -> None:
    """As deep as anybody wants; a chain without a sensible end is told, and answers 500."""
    async with mesh.having(*chain(length)):
        assert await bodies(mesh, "/a/b") == [answer]


async def test_a_circle_is_500_and_its_neighbours_work(mesh: EnvoyMesh) -> None:
    """Routes beside the one that closes the circle answer; the status names the circle."""
    first = route_table("first", http=[says("ok", path("/ok")), delegating({"name": "second"})])
    second = route_table("second", http=[says("fine", path("/fine")), delegating({"name": "first"})])
    async with mesh.having(root(delegating({"name": "first"})), first, second):
        assert await bodies(mesh, "/ok", "/fine", "/other") == ["ok", "fine", "500"]
        for table in (first, second):
            assert "circle" in mesh.status(table)["common"]["State"]["message"]


async def test_children_come_change_and_go(mesh: EnvoyMesh) -> None:
    """Each edit of any table of the tree is served."""
    async with mesh.having(root(delegating(BY_LABEL, matchers=(path("/a"),)), says("rest"))):
        assert await bodies(mesh, "/a") == ["500"]
        async with mesh.having(route_table("child", labels=PART, http=[says("one")])):
            assert await bodies(mesh, "/a") == ["one"]
            await mesh.apply(route_table("child", labels=PART, http=[says("two")]))
            assert await bodies(mesh, "/a") == ["two"]
        assert await bodies(mesh, "/a", "/") == ["500", "rest"]


# In which order


async def test_tables_go_by_weight_then_age(mesh: EnvoyMesh) -> None:
    """The heaviest first whatever their paths; of one weight the oldest."""
    tables = [
        route_table("a", created="2024-01-03T00:00:00Z", labels=PART, http=[says("a")]),
        route_table("b", created="2024-01-02T00:00:00Z", labels=PART, http=[says("b", path("/b"))]),
        route_table("c", created="2024-01-01T00:00:00Z", labels=PART, http=[says("c", path("/b/c"))], weight=-1),
        route_table("d", created="2024-01-04T00:00:00Z", labels=PART, http=[says("d", path("/b/d"))], weight=9),
    ]
    async with mesh.having(root(delegating(BY_LABEL)), *tables):
        assert await bodies(mesh, "/b/d", "/b/c", "/b", "/") == ["d", "b", "b", "a"]


async def test_routes_go_by_specificity(mesh: EnvoyMesh) -> None:
    """Exact, then expressions, then prefixes, over all tables; the longer before the shorter; then weight."""
    light = [says("/", path("/")), says("exact", path(exact="/a/b")), says("light", {"uri": {"regex": "/a/[b-c]+"}})]
    heavy = [says("/a", path("/a")), says("/a/b", path("/a/b")), says("heavy", {"uri": {"regex": "/a/.*z"}})]
    tables = [route_table("l", labels=PART, http=light), route_table("h", labels=PART, http=heavy, weight=5)]
    asked = ("/a/b", "/a/bb", "/a/bz", "/a/b/x", "/ax", "/x")
    async with mesh.having(root(delegating(BY_LABEL, sort="ROUTE_SPECIFICITY")), *tables):
        assert await bodies(mesh, *asked) == ["exact", "light", "heavy", "/a/b", "/a", "/"]
    async with mesh.having(root(delegating(BY_LABEL, sort="TABLE_WEIGHT")), *tables):
        assert await bodies(mesh, *asked) == ["/a", "/a", "/a", "/a", "/a", "/"]


# For whom


async def test_workloads_have_to_be_those_of_both(mesh: EnvoyMesh) -> None:
    """A child narrows whom its routes are for; another value of the same label is an error of the child's."""
    few = route_table(
        "few", labels=PART, http=[says("few")], workloadSelectors=[{"selector": {"labels": {"app": "caller"}}}]
    )
    async with mesh.having(root(delegating(BY_LABEL), says("rest")), few):
        assert await bodies(mesh, "/", node=CALLER) == ["few"]
        assert await bodies(mesh, "/", node=CLIENT) == ["rest"]
    only_clients = root(delegating(BY_LABEL), workloadSelectors=[{"selector": {"labels": {"app": "client"}}}])
    async with mesh.having(only_clients, few):
        assert await bodies(mesh, "/", node=CLIENT) == ["500"]
        assert await bodies(mesh, "/", node=CALLER) == ["502"]
        assert "spec.workloadSelectors" in mesh.status(few)["common"]["State"]["message"]


# Under which policy


async def test_a_policy_on_the_parent_route_covers_all_that_is_delegated(mesh: EnvoyMesh) -> None:
    """Through every level; the same child under another route without the label is open."""
    tables = [
        root(
            delegating({"name": "child"}, matchers=(path("/closed"),), labels=LABEL),
            delegating({"name": "child"}, matchers=(path("/open"),)),
        ),
        route_table("child", namespace="team", http=[delegating({"name": "grandchild"})]),
        route_table("grandchild", namespace="team", http=[says("end")]),
    ]
    async with mesh.having(*tables, policy()):
        answer = await mesh.request(HOST, "/closed")
        assert (answer.status, answer.text) == (401, MISSING)
        assert (await mesh.request(HOST, "/closed", headers=bearer(sign(DEV)))).text == "end"
        assert await bodies(mesh, "/open") == ["end"]


async def test_labels_of_the_root_are_inherited_and_of_a_child_table_are_not(mesh: EnvoyMesh) -> None:
    """Decision 19: root table, parent route and child route count; the delegated table's own do not."""
    child = route_table("child", labels={**PART, **LABEL}, http=[says("child")])
    async with mesh.having(root(delegating(BY_LABEL)), child, policy()):
        assert await bodies(mesh, "/") == ["child"]
    async with mesh.having(root(delegating(BY_LABEL), labels=LABEL), child, policy()):
        assert await bodies(mesh, "/") == ["401"]
    own = route_table("child", labels=PART, http=[says("closed", path("/closed"), labels=LABEL), says("open")])
    async with mesh.having(root(delegating(BY_LABEL)), own, policy()):
        assert await bodies(mesh, "/closed", "/open") == ["401", "open"]


async def test_a_child_route_may_say_otherwise_than_its_parent(mesh: EnvoyMesh) -> None:
    """Its value of a label takes the place of the parent's."""
    child = route_table(
        "child", labels=PART, http=[says("open", path("/open"), labels={"route": "free"}), says("closed")]
    )
    async with mesh.having(root(delegating(BY_LABEL, labels=LABEL)), child, policy()):
        assert await bodies(mesh, "/open", "/closed") == ["open", "401"]


async def test_denial_by_default_reaches_children(mesh: EnvoyMesh) -> None:
    """With the feature gate, the label on a parent denies what no policy holds on, and answers 403 for unknown paths."""
    required = {"gateway.gloo.solo.io/require_auth": "true"}
    child = route_table("child", labels=PART, http=[says("child", path("/a"))])
    gates = FeatureGates(GatewayDefaultDenyAllHTTPRequests=True)
    async with mesh.having(root(delegating(BY_LABEL), labels=required), child, gates=gates):
        for asked in ("/a", "/unknown"):
            answer = await mesh.request(HOST, asked)
            assert (answer.status, answer.text) == (403, DENIED)
