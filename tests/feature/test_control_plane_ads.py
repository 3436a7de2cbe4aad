"""Objects in, responses out: store, reconciler, cache and the real ADS server in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication, PerRouteConfig
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from envoy.service.discovery.v3 import discovery_pb2
from tests.feature.control_plane import ControlPlane, documents
from tests.support import public_keys as pem
from tests.support.ads_client import AdsClient
from tests.support.objects import BASE, CLIENT, forward, jwt_policy, route_table

from meshpass.envoy.snapshot import CLUSTER, ENDPOINTS, EXTENSION_CONFIG, LISTENER, ROUTES, Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.xds.server import AdsServer

TABLE = route_table(hosts=["www.example.com"], http=[forward(route="httpbin")])
POLICY = jwt_policy(
    config={"providers": {"dev": {"issuer": "https://dev.example.com", "local": {"inline": pem.P_256}}}}
)
BROKEN = jwt_policy(config={"providers": {"dev": {"local": {"inline": "garbage"}}}})


class Proxy:
    """An obedient client: it asks for what an Envoy asks for, acknowledges everything, and remembers it in order."""

    def __init__(self, client: AdsClient) -> None:
        self._client = client
        self.log: list[discovery_pb2.DeltaDiscoveryResponse] = []
        self.has: dict[str, dict[str, Any]] = {}
        self.on_response: Callable[[], None] = lambda: None

    async def start(self, target: Snapshot) -> None:
        """Ask for everything that the target has, in the order in which an Envoy does, and take it."""
        for type_url in (CLUSTER, ENDPOINTS, LISTENER, EXTENSION_CONFIG, ROUTES):
            names = ("*",) if type_url in {CLUSTER, LISTENER} else tuple(target.of(type_url))
            await self._client.subscribe(type_url, *names)
            await self.take()

    async def take(self) -> None:
        """One more response."""
        response = await self._client.receive(timeout=60)
        self.log.append(response)
        known = self.has.setdefault(response.type_url, {})
        known.update({one.name: one.resource for one in response.resources})
        for name in response.removed_resources:
            known.pop(name, None)
        self.on_response()
        await self._client.acknowledge(response)
        if response.type_url == CLUSTER and len(self.log) > 1 and response.resources:
            await self._client.subscribe(ENDPOINTS, *(one.name for one in response.resources))

    async def take_all(self) -> NoReturn:
        """Every response that comes."""
        while True:
            await self.take()

    async def follow(self, plane: ControlPlane) -> list[tuple[str, tuple[str, ...]]]:
        """Returns when the node is in sync with all that was applied: what came until then, as (type, names)."""
        begin = len(self.log)
        await plane.settle()
        async with asyncio.timeout(5):
            while not plane.cache.state(CLIENT).in_sync:
                await plane.cache.wait_changed(plane.cache.revision)
        return [(one.type_url.rpartition(".")[2], tuple(r.name for r in one.resources)) for one in self.log[begin:]]

    def message(self, type_url: str, name: str, message: Any) -> Any:
        """A resource that the proxy has."""
        found = message()
        assert self.has[type_url][name].Unpack(found)
        return found

    def filters(self, message: Any) -> dict[str, Any]:
        """The filters of one type."""
        configs = {
            name: self.message(EXTENSION_CONFIG, name, TypedExtensionConfig).typed_config
            for name in self.has[EXTENSION_CONFIG]
        }
        found = {}
        for name, packed in configs.items():
            unpacked = message()
            if packed.Unpack(unpacked):
                found[name] = unpacked
        return found

    def route(self, host: str) -> Any:
        """The one route of a host."""
        (route,) = (
            route
            for one in self.message(ROUTES, "outbound", RouteConfiguration).virtual_hosts
            if host in one.domains
            for route in one.routes
        )
        return route


def requirement(proxy: Proxy, route: Any) -> set[str]:
    """The providers that a route's class requires, over all JWT filters."""
    needed = set()
    filters = proxy.filters(JwtAuthentication)
    for name, packed in route.typed_per_filter_config.items():
        config = PerRouteConfig()
        if packed.Unpack(config):
            needed.add(filters[name].requirement_map[config.requirement_name].provider_name)
    return needed - {""}


def is_denied(proxy: Proxy, route: Any) -> bool:
    selection_class = route.metadata.filter_metadata["meshpass"]["class"]
    return any(
        selection_class in str(rules.rules)
        for rules in proxy.filters(RBAC).values()
        if "denied" in rules.rules.policies
    )


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    plane = ControlPlane()
    plane.apply(*documents(BASE), TABLE)
    async with plane.running():
        await plane.settle()
        yield plane


@pytest.fixture
async def proxy(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Proxy]:
    def plan(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
        return plan_transition(current, target, plane.memo)

    path = tmp_path / "run" / "ads.sock"
    async with AdsServer(plane.cache, plan, listen=path), AdsClient(f"unix:{path}", CLIENT) as client:
        proxy = Proxy(client)
        target = plane.cache.state(CLIENT).target
        assert target is not None
        await proxy.start(target)
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(proxy.take_all())
            await proxy.follow(plane)
            yield proxy
            reader.cancel()


def types(responses: list[tuple[str, tuple[str, ...]]]) -> list[str]:
    return [name for name, _ in responses]


async def test_a_policy_arrives_by_extension_configs_alone(plane: ControlPlane, proxy: Proxy) -> None:
    """After the policy the route's class requires its provider; neither route nor listener was sent."""
    route = proxy.route("www.example.com")
    assert requirement(proxy, route) == set()
    plane.apply(POLICY)
    responses = await proxy.follow(plane)

    assert set(types(responses)) == {"TypedExtensionConfig"}
    assert proxy.route("www.example.com") == route
    (name,) = requirement(proxy, route)
    (config,) = (one for one in proxy.filters(JwtAuthentication).values() if name in one.providers)
    assert config.providers[name].issuer == "https://dev.example.com"


async def test_an_unbuildable_policy_denies(plane: ControlPlane, proxy: Proxy) -> None:
    """The class of its route is in the denied ones, and in no other."""
    plane.apply(BROKEN)
    await proxy.follow(plane)

    assert is_denied(proxy, proxy.route("www.example.com"))
    assert not is_denied(proxy, proxy.route("httpbin:8000"))


async def test_mending_a_policy_requires_before_it_stops_denying(plane: ControlPlane, proxy: Proxy) -> None:
    """At every moment on the wire the route is denied or has its requirement."""
    plane.apply(BROKEN)
    await proxy.follow(plane)
    seen = watch(proxy)
    plane.apply(POLICY)
    await proxy.follow(plane)

    assert all(denied or needed for denied, needed in seen)
    assert seen[-1] == (False, 1)


async def test_breaking_a_policy_denies_before_it_stops_requiring(plane: ControlPlane, proxy: Proxy) -> None:
    """The other way round too."""
    plane.apply(POLICY)
    await proxy.follow(plane)
    seen = watch(proxy)
    plane.apply(BROKEN)
    await proxy.follow(plane)

    assert all(denied or needed for denied, needed in seen)
    assert seen[-1] == (True, 0)


def watch(proxy: Proxy) -> list[tuple[bool, int]]:
    """From now on, after each response: whether the route is denied, and how many providers it requires."""
    seen: list[tuple[bool, int]] = []

    def note() -> None:
        route = proxy.route("www.example.com")
        seen.append((is_denied(proxy, route), len(requirement(proxy, route))))

    proxy.on_response = note
    return seen


async def test_a_new_table_is_made_before_it_is_used(plane: ControlPlane, proxy: Proxy) -> None:
    """The requirement of a new route's class is there before the route is, its backend before both."""
    service: Mapping[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "new", "namespace": "httpbin"},
        "spec": {"ports": [{"port": 9000}]},
    }
    plane.apply(POLICY, service, route_table("second", hosts=["new.example.com"], http=[forward("new", 9000, a="b")]))
    responses = types(await proxy.follow(plane))

    assert responses.index("Cluster") < responses.index("RouteConfiguration")
    assert responses.index("TypedExtensionConfig") < responses.index("RouteConfiguration")
    assert requirement(proxy, proxy.route("new.example.com"))


async def test_a_table_that_goes_is_broken_after_it_is_unused(plane: ControlPlane, proxy: Proxy) -> None:
    """The route goes first, then what it referred to."""
    plane.apply(POLICY)
    await proxy.follow(plane)
    plane.delete(TABLE)
    responses = types(await proxy.follow(plane))

    assert responses.index("RouteConfiguration") < responses.index("TypedExtensionConfig")
    assert not [one for one in proxy.filters(JwtAuthentication).values() if one.providers]


async def test_deleting_the_policy_opens_the_route(plane: ControlPlane, proxy: Proxy) -> None:
    """As if it had never been."""
    before = {name: bytes(one.value) for name, one in proxy.has[EXTENSION_CONFIG].items()}
    plane.apply(POLICY)
    await proxy.follow(plane)
    plane.delete(POLICY)
    await proxy.follow(plane)

    assert requirement(proxy, proxy.route("www.example.com")) == set()
    assert {name: bytes(one.value) for name, one in proxy.has[EXTENSION_CONFIG].items()} == before


async def test_an_endpoint_that_comes_sends_endpoints_alone(plane: ControlPlane, proxy: Proxy) -> None:
    """No route, policy or cluster is touched by where a Service's pods are."""
    (slice_,) = (raw for raw in documents(BASE) if raw["kind"] == "EndpointSlice")
    plane.apply({**slice_, "endpoints": [*slice_["endpoints"], {"addresses": ["127.0.1.9"]}]})
    responses = await proxy.follow(plane)

    assert responses == [("ClusterLoadAssignment", ("cluster1/httpbin/httpbin:8000",))]
