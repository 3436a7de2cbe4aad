"""Routes in real Envoys: who uses a table, how requests are shared, what breaks and freezes, tunnels, hosts and ports."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.envoy_mesh import CALLER, CLIENT, GATEWAY, GATEWAY_PORTS, build_service
from tests.support.http_client import Answer, Request
from tests.support.jwt_objects import LABEL, MISSING, policy
from tests.support.objects import forward, key_of, read_objects, route_table
from tests.support.route_world import RouteWorld, run_route_world

from meshpass.envoy.build import build_snapshot
from meshpass.translate import translate
from meshpass.translate.freeze import FrozenTrees
from meshpass.translate.settings import TranslateSettings

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

Manifest = dict[str, Any]
HOST = "www.example.com"
BROKEN = {"name": "broken", "forwardTo": {"destinations": [{"ref": {"name": "nobody"}}]}}
HTTP_GATEWAY: Manifest = {
    "apiVersion": "networking.gloo.solo.io/v2",
    "kind": "VirtualGateway",
    "metadata": {"name": "gateway", "namespace": "httpbin"},
    "spec": {"listeners": [{"port": {"number": 80}, "http": {}}]},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[RouteWorld]:
    async with run_route_world(CLIENT, CALLER, GATEWAY) as running:
        yield running


def answering(status: int = 200, body: str = "") -> Manifest:
    return {"directResponse": {"status": status, "body": body}}


def sending(*shares: tuple[str, int | None]) -> Manifest:
    destinations: list[Manifest] = [
        {"ref": {"name": name}, "port": {"number": 8000}} | ({} if weight is None else {"weight": weight})
        for name, weight in shares
    ]
    return {"forwardTo": {"destinations": destinations}}


async def ask_gateway(world: RouteWorld, host: str = HOST, path: str = "/get") -> Answer:
    _, writer = await world.gateway_connection(80)
    writer.close()
    place = (world.mesh.address(GATEWAY), GATEWAY_PORTS[80])
    return await world.mesh.client.send(place, Request(url=f"http://{host}{path}", proxied=False))


# Binding (behaviour §5.2)

SELECTORS: dict[str, list[Manifest] | None] = {
    "unset": None,
    "empty": [],
    "everything": [{}],
    "labels": [{"selector": {"labels": {"app": "caller"}}}],
}


@pytest.mark.parametrize(
    ("gateways", "selectors", "users"),
    [
        (False, "unset", {CLIENT, CALLER}),
        (False, "empty", {CLIENT, CALLER}),
        (False, "everything", {CLIENT, CALLER}),
        (False, "labels", {CALLER}),
        (True, "unset", {GATEWAY}),
        (True, "empty", {GATEWAY}),
        (True, "everything", {CLIENT, CALLER, GATEWAY}),
        (True, "labels", {CALLER, GATEWAY}),
    ],
)
async def test_who_uses_a_table(world: RouteWorld, gateways: bool, selectors: str, users: set[str]) -> None:
    """Every row of the binding matrix."""
    spec: Manifest = {"hosts": [HOST], "http": [answering(200, "bound")]}
    if gateways:
        spec["virtualGateways"] = [{"name": "gateway"}]
    if SELECTORS[selectors] is not None:
        spec["workloadSelectors"] = SELECTORS[selectors]
    async with world.mesh.having(HTTP_GATEWAY, route_table(**spec)):
        found = {node for node in (CLIENT, CALLER) if (await world.mesh.request(HOST, node=node)).text == "bound"}
        if (await ask_gateway(world)).text == "bound":
            found.add(GATEWAY)
        assert found == users


async def test_selectors_of_workloads_add_up_and_need_all_labels(world: RouteWorld) -> None:
    """Any selector is enough; of one, every label is needed."""
    both = [{"selector": {"labels": {"app": "caller", "tier": "web"}}}, {"selector": {"labels": {"app": "client"}}}]
    async with world.mesh.having(route_table(hosts=[HOST], workloadSelectors=both, http=[answering()])):
        assert (await world.mesh.request(HOST, node=CLIENT)).status == 200
        assert (await world.mesh.request(HOST, node=CALLER)).status == 502


async def test_a_table_of_another_workspace_is_not_used(world: RouteWorld) -> None:
    """Sidecars use the tables of their own workspace."""
    async with world.mesh.having(route_table(namespace="elsewhere", hosts=[HOST], http=[answering()])):
        assert (await world.mesh.request(HOST)).status == 502


# Hosts and ports


async def test_services_answer_to_their_names_on_their_ports(world: RouteWorld) -> None:
    """Short to full, from its own namespace; on no other port, and never without one that is not 80."""
    names = (
        "httpbin",
        "httpbin.httpbin",
        "httpbin.httpbin.svc",
        "httpbin.httpbin.svc.cluster.local",
        "HTTPBIN.httpbin",
    )
    for name in names:
        assert (await world.mesh.request(f"{name}:8000")).upstream == "httpbin"
        for other in (name, f"{name}:8001"):
            answer = await world.mesh.request(other)
            assert (answer.status, answer.text) == (502, f"no route in the mesh for {other}")
    assert (await world.mesh.request("details.bookinfo:9080")).upstream == "details"
    assert (await world.mesh.request("details:9080")).status == 502


async def test_an_unknown_host_is_502_and_an_unknown_path_404(world: RouteWorld) -> None:
    """Decision 28: the host is told, the path is not."""
    routes = [{"matchers": [{"uri": {"exact": "/known"}}], **answering()}]
    async with world.mesh.having(route_table(hosts=[HOST], http=routes)):
        answer = await world.mesh.request("nobody.example.com")
        assert (answer.status, answer.text) == (502, "no route in the mesh for nobody.example.com")
        answer = await world.mesh.request(HOST, "/unknown")
        assert (answer.status, answer.text) == (404, "")


async def test_a_table_takes_the_place_of_a_service_and_leaves_when_it_goes(world: RouteWorld) -> None:
    """All names of the Service, from wherever they are asked for; afterwards the Service is as before."""
    async with world.mesh.having(route_table(hosts=["canary"], http=[answering(418)])):
        for name in ("canary", "canary.httpbin", "canary.httpbin.svc.cluster.local"):
            assert (await world.mesh.request(f"{name}:8000")).status == 418
    assert (await world.mesh.request("canary:8000")).upstream == "canary"


async def test_the_short_name_of_a_table_is_of_its_own_namespace(world: RouteWorld) -> None:
    """``httpbin`` in a table of namespace team is a host of its own: no such Service is there."""
    async with world.mesh.having(route_table(namespace="team", hosts=["httpbin"], http=[answering(418)])):
        assert (await world.mesh.request("httpbin:8000")).upstream == "httpbin"
        assert (await world.mesh.request("httpbin")).status == 418


async def test_tables_of_one_host_follow_each_other_by_age(world: RouteWorld) -> None:
    """The older is asked first; what it has no route for goes to the younger."""
    old = route_table(
        "b",
        created="2024-01-01T00:00:00Z",
        hosts=[HOST],
        http=[{"matchers": [{"uri": {"prefix": "/a"}}], **answering(201)}],
    )
    young = route_table("a", created="2024-02-01T00:00:00Z", hosts=[HOST], http=[answering(202)])
    async with world.mesh.having(old, young):
        assert [(await world.mesh.request(HOST, path)).status for path in ("/a", "/b")] == [201, 202]


# Weights


def bounds(requests: int, percent: int) -> tuple[float, float]:
    """Five standard deviations around what is expected: one run in two million is outside by chance."""
    mean, deviation = requests * percent / 100, math.sqrt(requests * percent * (100 - percent)) / 100
    return mean - 5 * deviation, mean + 5 * deviation


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([("httpbin", 90), ("canary", 10)], {"httpbin": 90, "canary": 10}),
        ([("httpbin", 70), ("canary", None)], {"httpbin": 70, "canary": 30}),
        ([("httpbin", 100), ("canary", 0)], {"httpbin": 100}),
        ([("httpbin", None), ("canary", None)], {"httpbin": 50, "canary": 50}),
    ],
)
async def test_requests_are_shared_by_weight(
    world: RouteWorld, shares: list[tuple[str, int | None]], expected: dict[str, int]
) -> None:
    """Of 2,000 requests each destination gets its share, and one without weight gets none."""
    async with world.mesh.having(route_table(hosts=[HOST], http=[sending(*shares)])):
        found = Counter([(await world.mesh.request(HOST)).upstream for _ in range(2000)])
    assert set(found) == set(expected)
    for name, percent in expected.items():
        low, high = bounds(2000, percent)
        assert low <= found[name] <= high, found


async def test_three_subsets_share_requests(world: RouteWorld) -> None:
    """60, 30 and 10 percent of 2,000."""
    wanted = {"v1": 60, "v2": 30, "v3": 10}
    destinations = [
        {"ref": {"name": "reviews", "namespace": "bookinfo"}, "subset": {"version": version}, "weight": weight}
        for version, weight in wanted.items()
    ]
    async with world.mesh.having(route_table(hosts=[HOST], http=[{"forwardTo": {"destinations": destinations}}])):
        found = Counter([(await world.mesh.request(HOST)).upstream for _ in range(2000)])
    for version, percent in wanted.items():
        low, high = bounds(2000, percent)
        assert low <= found[f"reviews-{version}"] <= high, found
    assert found.total() == 2000


# Failure modes


async def test_a_broken_route_answers_500_and_its_neighbours_follow_every_edit(world: RouteWorld) -> None:
    """ROUTE_REPLACEMENT: what is sound keeps being updated."""
    broken = {**BROKEN, "matchers": [{"uri": {"prefix": "/broken"}}]}
    for status in (201, 202):
        async with world.mesh.having(route_table(hosts=[HOST], http=[broken, answering(status)])):
            answer = await world.mesh.request(HOST, "/broken")
            assert (answer.status, answer.upstream) == (500, None)
            assert (await world.mesh.request(HOST, "/sound")).status == status


async def test_a_broken_route_is_verified_before_it_is_500(world: RouteWorld) -> None:
    """A policy on a route that cannot be built holds all the same."""
    async with world.mesh.having(route_table(hosts=[HOST], http=[{**BROKEN, "labels": LABEL}]), policy()):
        answer = await world.mesh.request(HOST)
        assert (answer.status, answer.text) == (401, MISSING)


async def test_a_destination_without_endpoints_is_503_until_it_has_some(world: RouteWorld) -> None:
    """No answer is made up, and no other destination gets the request."""
    async with world.mesh.having(build_service("later"), route_table(hosts=[HOST], http=[forward("later")])):
        assert (await world.mesh.request(HOST)).status == 503


class Frozen:
    """What the control plane does with frozen trees: each translation gets what the one before kept."""

    def __init__(self, world: RouteWorld) -> None:
        self.mesh = world.mesh
        self.kept: FrozenTrees = {}

    async def apply(self, *manifests: Manifest) -> None:
        self.mesh.objects = self.mesh.objects.with_changes(read_objects(*manifests))
        await self.publish()

    async def delete(self, *manifests: Manifest) -> None:
        self.mesh.objects = self.mesh.objects.with_changes({}, map(key_of, manifests))
        await self.publish()

    async def publish(self) -> None:
        settings = TranslateSettings(management_cluster="mgmt", gates=self.mesh.gates)
        translation = translate(self.mesh.objects, self.mesh.key_sets, settings, self.mesh.memo, self.kept)
        self.kept = translation.trees
        for node in self.mesh.nodes:
            self.mesh.cache.set(build_snapshot(translation.proxies[node], self.mesh.memo))
        await self.mesh.synced()


async def test_a_frozen_tree_serves_what_it_was(world: RouteWorld) -> None:
    """FREEZE_CONFIG: no route of the tree changes while one is broken; mended, all of them do."""
    root: Manifest = {"hosts": [HOST], "failureMode": "FREEZE_CONFIG"}
    delegate = [{"delegate": {"routeTables": [{"labels": {"part": "yes"}}]}}]
    sound = [{"matchers": [{"uri": {"prefix": "/a"}}], **answering(201)}, forward()]
    frozen = Frozen(world)
    tables = [route_table("root", **root, http=delegate), route_table("child", labels={"part": "yes"}, http=sound)]
    await frozen.apply(*tables)
    try:
        changed = [{"matchers": [{"uri": {"prefix": "/a"}}], **answering(202)}]
        await frozen.apply(route_table("child", labels={"part": "yes"}, http=[*changed, BROKEN]))
        assert (await world.mesh.request(HOST, "/a")).status == 201
        assert (await world.mesh.request(HOST, "/b")).upstream == "httpbin"
        await frozen.apply(route_table("child", labels={"part": "yes"}, http=changed))
        assert [(await world.mesh.request(HOST, path)).status for path in ("/a", "/b")] == [202, 404]
    finally:
        await frozen.delete(*tables)


async def test_a_frozen_route_to_a_deleted_service_is_503(world: RouteWorld) -> None:
    """It stays the route that it was, to nobody."""
    frozen, service = Frozen(world), build_service("passing")
    table = route_table(hosts=[HOST], failureMode="FREEZE_CONFIG", http=[forward("passing")])
    await frozen.apply(service, table)
    try:
        await frozen.delete(service)
        assert (await world.mesh.request(HOST)).status == 503
    finally:
        await frozen.delete(table)


# Tunnels


async def test_tcp_ports_of_services_are_reached_by_connect(world: RouteWorld) -> None:
    """What goes through the tunnel is passed on as it is; plain requests to the port are not for it, nor the reverse."""
    assert await world.tunnel("tcp-echo:9000", b"line\n") == (200, b"tcp-echo line\n")
    assert await world.tunnel("tcp-echo.httpbin.svc.cluster.local:9000", b"x\n", node=CALLER) == (200, b"tcp-echo x\n")
    assert (await world.mesh.request("tcp-echo:9000")).status == 404
    assert (await world.tunnel("httpbin:8000"))[0] == 404
    assert (await world.tunnel("nobody.example.com:443"))[0] == 502


async def test_tcp_routes_share_connections(world: RouteWorld) -> None:
    """By weight, for one port of the host; other ports have their own route or none."""
    to = {"destinations": [{"ref": {"name": name}, "weight": 50} for name in ("tcp-echo", "second-echo")]}
    tcp = [
        {"matchers": [{"port": 5000}], "forwardTo": to},
        {"matchers": [{"port": 5001}], "forwardTo": {"destinations": [{"ref": {"name": "second-echo"}}]}},
    ]
    async with world.mesh.having(route_table(hosts=[HOST], tcp=tcp)):
        found = Counter([(await world.tunnel(f"{HOST}:5000", b"x\n"))[1] for _ in range(60)])
        assert set(found) == {b"tcp-echo x\n", b"second-echo x\n"}
        assert await world.tunnel(f"{HOST}:5001", b"x\n") == (200, b"second-echo x\n")
        assert (await world.tunnel(f"{HOST}:5002"))[0] == 502


async def test_a_tcp_route_without_a_port_is_for_any(world: RouteWorld) -> None:
    """Of its host, after those that name a port."""
    tcp = [
        {"matchers": [{"port": 5000}], "forwardTo": {"destinations": [{"ref": {"name": "tcp-echo"}}]}},
        {"forwardTo": {"destinations": [{"ref": {"name": "second-echo"}}]}},
    ]
    async with world.mesh.having(route_table(hosts=[HOST], tcp=tcp)):
        assert (await world.tunnel(f"{HOST}:5000", b"x\n"))[1] == b"tcp-echo x\n"
        assert (await world.tunnel(f"{HOST}:12345", b"x\n"))[1] == b"second-echo x\n"


async def test_a_wrong_tcp_route_opens_no_tunnel(world: RouteWorld) -> None:
    """It is answered 500, and no other route takes its connections."""
    tcp = [{"forwardTo": {"destinations": [{"ref": {"name": "nobody"}}]}}]
    async with world.mesh.having(route_table(hosts=["tcp-echo"], tcp=tcp)):
        assert (await world.tunnel("tcp-echo:9000"))[0] == 500


async def test_a_table_leaves_what_it_says_nothing_of(world: RouteWorld) -> None:
    """HTTP routes on a Service's host do not close its TCP port, nor TCP routes its HTTP port."""
    async with world.mesh.having(route_table(hosts=["tcp-echo"], http=[answering(418)])):
        assert (await world.tunnel("tcp-echo:9000", b"x\n"))[1] == b"tcp-echo x\n"
    tcp = [{"matchers": [{"port": 9000}], "forwardTo": {"destinations": [{"ref": {"name": "tcp-echo"}}]}}]
    async with world.mesh.having(route_table(hosts=["httpbin"], tcp=tcp)):
        assert (await world.mesh.request("httpbin:8000")).upstream == "httpbin"


# Paths


@pytest.mark.parametrize(
    "path", ["//secret", "/./secret", "/a/../secret", "/%73ecret", "/a/..%2fsecret", "/a%2F..%2Fsecret"]
)
async def test_no_spelling_of_a_path_passes_by_its_route(world: RouteWorld, path: str) -> None:
    """A path in another form takes the same route, or none: what follows it does not see it."""
    routes = [
        {"matchers": [{"uri": {"prefix": "/secret"}}], **answering(403)},
        {"matchers": [{"uri": {"regex": "/.*"}}], **answering(200)},
    ]
    async with world.mesh.having(route_table(hosts=[HOST], http=routes)):
        answer = await world.mesh.request(HOST, path)
        assert answer.status in {403, 400, 307}, path


async def test_the_query_is_no_part_of_the_path(world: RouteWorld) -> None:
    """Neither exact paths, nor prefixes, nor expressions see it."""
    routes = [
        {"matchers": [{"uri": {"exact": "/exact"}}], **answering(201)},
        {"matchers": [{"uri": {"regex": "/re[a-z]*"}}], **answering(202)},
        {"matchers": [{"uri": {"prefix": "/q?"}}], **answering(203)},
    ]
    async with world.mesh.having(route_table(hosts=[HOST], http=routes)):
        found = [(await world.mesh.request(HOST, path)).status for path in ("/exact?a=b", "/regex?a=1", "/q?a=b")]
        assert found == [201, 202, 404]


async def test_any_condition_of_a_header_is_about_single_lines(world: RouteWorld) -> None:
    """A header that comes in two lines has two values, and either may be what a route asks for."""
    routes = [{"matchers": [{"headers": [{"name": "X-A", "value": "2"}]}], **answering(201)}, answering(202)]
    async with world.mesh.having(route_table(hosts=[HOST], http=routes)):
        assert (await world.mesh.request(HOST, headers=[("x-a", "1"), ("X-A", "2")])).status == 201
        assert (await world.mesh.request(HOST, headers=[("x-a", "1,2")])).status == 202
