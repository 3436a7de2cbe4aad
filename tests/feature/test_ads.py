"""Delta ADS over a real unix socket: what a client is sent, when, and what the cache says of it."""

from __future__ import annotations

import asyncio
import logging
import stat
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import grpc
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2
from tests.support.ads_client import METHOD, AdsClient

from meshpass.envoy.snapshot import (
    CLUSTER,
    EXTENSION_CONFIG,
    LISTENER,
    ROUTES,
    TYPE_URL_ORDER,
    Resource,
    Snapshot,
    content_version,
)
from meshpass.errors import MeshpassError
from meshpass.ir import ObjectRef, Proxy
from meshpass.xds import server as ads_server
from meshpass.xds.cache import NodeState, SnapshotCache
from meshpass.xds.server import AdsServer

NODE = "sidecar~cluster1~httpbin~client"


def resource(type_url: str, name: str, body: str, *sources: ObjectRef) -> Resource:
    payload = any_pb2.Any(type_url=type_url, value=cluster_pb2.Cluster(name=body).SerializeToString())
    version = content_version(payload.SerializeToString())
    wire = discovery_pb2.Resource(name=name, version=version, resource=payload).SerializeToString()
    return Resource(type_url=type_url, name=name, version=version, wire=wire, sources=frozenset(sources))


def snapshot(*resources: Resource, node: str = NODE) -> Snapshot:
    by_type = {type_url: {r.name: r for r in resources if r.type_url == type_url} for type_url in TYPE_URL_ORDER}
    return Snapshot(proxy=Proxy(node=node), resources={t: of_type for t, of_type in by_type.items() if of_type})


def straight(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
    return (target,)


def mesh(policy: str = "p1", cluster: str = "c1") -> Snapshot:
    return snapshot(
        resource(CLUSTER, "app", cluster),
        resource(EXTENSION_CONFIG, "jwt", policy, ObjectRef("JWTPolicy", "mgmt", "httpbin", policy)),
        resource(LISTENER, "outbound", "l1"),
        resource(ROUTES, "table", "r1"),
    )


def versions(of: Snapshot) -> Mapping[str, Mapping[str, str]]:
    return {t: {name: r.version for name, r in by_name.items()} for t, by_name in of.resources.items()}


async def wait_state(cache: SnapshotCache, condition: Callable[[NodeState], bool], node: str = NODE) -> NodeState:
    async with asyncio.timeout(5):
        while not condition(state := cache.state(node)):
            await cache.wait_changed(cache.revision)
    return state


async def start(client: AdsClient) -> None:
    """What an Envoy does when it starts: clusters, then listeners, then what those refer to."""
    await client.subscribe(CLUSTER, "*")
    await client.accept(CLUSTER)
    await client.subscribe(LISTENER, "*")
    await client.accept(LISTENER)
    await client.subscribe(EXTENSION_CONFIG, "jwt")
    await client.accept(EXTENSION_CONFIG)
    await client.subscribe(ROUTES, "table")
    await client.accept(ROUTES)


@pytest.fixture
def cache() -> SnapshotCache:
    return SnapshotCache()


@pytest.fixture
async def path(cache: SnapshotCache, tmp_path: Path) -> AsyncIterator[Path]:
    path = tmp_path / "run" / "ads.sock"
    async with AdsServer(cache, straight, listen=path):
        yield path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_the_socket_belongs_to_its_owner_alone(path: Path) -> None:
    """The socket has mode 0600 and its directory 0700."""
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


async def test_a_directory_that_others_may_enter_is_refused(cache: SnapshotCache, tmp_path: Path) -> None:
    """No socket is made where others could reach it."""
    (tmp_path / "open").mkdir(mode=0o755)

    with pytest.raises(MeshpassError, match="others may enter"):
        await AdsServer(cache, straight, listen=tmp_path / "open" / "s").__aenter__()


async def test_an_address_off_loopback_is_refused(cache: SnapshotCache) -> None:
    """Without TLS nothing is served to other machines."""
    with pytest.raises(MeshpassError, match="not on loopback"):
        await AdsServer(cache, straight, listen="0.0.0.0:0").__aenter__()


async def test_tcp_on_loopback_serves_too(cache: SnapshotCache) -> None:
    """``host:0`` listens on a free port and serves the same stream."""
    cache.set(mesh())
    server = AdsServer(cache, straight, listen="127.0.0.1:0")
    async with server, AdsClient(f"127.0.0.1:{server.port}", NODE) as client:  # the port is known by then
        await start(client)


async def test_a_starting_client_gets_everything_and_is_in_sync(cache: SnapshotCache, path: Path) -> None:
    """After the last ACK, and not before, the node is in sync with its target."""
    target = mesh()
    cache.set(target)
    async with AdsClient(f"unix:{path}", NODE) as client:
        await client.subscribe(CLUSTER, "*")
        await client.accept(CLUSTER)
        await client.subscribe(LISTENER, "*")
        await client.accept(LISTENER)
        await client.subscribe(EXTENSION_CONFIG, "jwt")
        await client.accept(EXTENSION_CONFIG)
        await client.subscribe(ROUTES, "table")
        response = await client.receive()
        assert not cache.state(NODE).in_sync
        await client.acknowledge(response)
        await wait_state(cache, lambda state: state.in_sync)

        assert client.versions == versions(target)

    state = await wait_state(cache, lambda state: state.streams == 0)
    assert not state.in_sync


async def test_a_policy_edit_sends_one_resource(cache: SnapshotCache, path: Path) -> None:
    """A changed extension config is the only thing sent."""
    cache.set(mesh())
    async with AdsClient(f"unix:{path}", NODE) as client:
        await start(client)
        await wait_state(cache, lambda state: state.in_sync)
        cache.set(mesh("p2"))
        response = await client.accept(EXTENSION_CONFIG)
        await wait_state(cache, lambda state: state.in_sync)

        assert [r.name for r in response.resources] == ["jwt"]
        assert client.versions == versions(mesh("p2"))


async def test_a_resuming_client_is_sent_nothing(cache: SnapshotCache, path: Path) -> None:
    """A client that says what it has, and is right, is in sync without one byte of response."""
    target = mesh()
    cache.set(target)
    async with AdsClient(f"unix:{path}", NODE) as client:
        for type_url, of_type in versions(target).items():
            await client.subscribe(
                type_url, *(("*",) if type_url in {CLUSTER, LISTENER} else of_type), versions=of_type
            )
        await wait_state(cache, lambda state: state.in_sync)

        assert client.received_bytes == 0
        cache.set(mesh("p2"))
        response = await client.accept(EXTENSION_CONFIG)
        assert response.nonce == "1"


async def test_a_resuming_client_without_some_types_is_not_waited_for(
    cache: SnapshotCache, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no routes, so it never asks for them; it gets its target all the same, a little later."""
    monkeypatch.setattr(ads_server, "SETTLE_SECONDS", 0.05)
    before, target = versions(mesh()), mesh("p2")
    cache.set(target)
    async with AdsClient(f"unix:{path}", NODE) as client:
        await client.subscribe(CLUSTER, "*", versions=before[CLUSTER])
        await client.subscribe(EXTENSION_CONFIG, *before[EXTENSION_CONFIG], versions=before[EXTENSION_CONFIG])
        response = await client.accept(EXTENSION_CONFIG)
        assert response.nonce == "1"


async def test_two_streams_of_a_node_are_counted_apart(cache: SnapshotCache, path: Path) -> None:
    """The node is in sync only when both of its streams are."""
    cache.set(mesh())
    async with AdsClient(f"unix:{path}", NODE) as first, AdsClient(f"unix:{path}", NODE) as second:
        await start(first)
        await wait_state(cache, lambda state: state.in_sync)
        await second.subscribe(CLUSTER, "*")
        await wait_state(cache, lambda state: state.streams == 2 and not state.in_sync)
        await second.close()
        await wait_state(cache, lambda state: state.streams == 1 and state.in_sync)


async def test_a_rejection_is_told_and_logged_once(
    cache: SnapshotCache, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Client's words and the blamed object are in the state until a version comes that is accepted; one log record."""
    cache.set(mesh("p1"))
    with caplog.at_level(logging.WARNING, logger="meshpass.xds.cache"):
        async with AdsClient(f"unix:{path}", NODE) as client:
            await start(client)
            cache.set(mesh("p2"))
            await client.reject(await client.receive(), "bad jwks")
            state = await wait_state(cache, lambda state: bool(state.rejections))
            assert not state.in_sync
            (rejection,) = state.rejections
            assert (rejection.names, rejection.message) == (("jwt",), "bad jwks")
            assert rejection.sources == {ObjectRef("JWTPolicy", "mgmt", "httpbin", "p2")}
            await client.subscribe(EXTENSION_CONFIG, "jwt")
            await client.reject(await client.receive(), "bad jwks")
            cache.set(mesh("p3"))
            await client.accept(EXTENSION_CONFIG)
            await wait_state(cache, lambda state: state.in_sync and not state.rejections)

    assert [record.getMessage() for record in caplog.records] == ["resource rejected"]
    assert caplog.records[0].error == "bad jwks"


@pytest.mark.parametrize(
    ("message", "details"),
    [
        pytest.param(discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER), "no node id", id="no-node"),
        pytest.param(discovery_pb2.DeltaDiscoveryRequest(node={"id": NODE}), "no type_url", id="no-type"),
    ],
)
async def test_a_breach_closes_the_stream_with_a_clear_status(
    path: Path, message: discovery_pb2.DeltaDiscoveryRequest, details: str
) -> None:
    """INVALID_ARGUMENT, and why."""
    async with AdsClient(f"unix:{path}", "") as client:
        await client.call.write(message)

        assert await client.call.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert details in await client.call.details()


async def test_garbage_closes_the_stream_with_a_clear_status(path: Path) -> None:
    """Bytes that are no discovery request are the client's mistake, not ours."""
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        call = channel.stream_stream(METHOD)()
        await call.write(b"\xff\xff")

        assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "no DeltaDiscoveryRequest" in await call.details()


async def test_a_client_that_is_done_ends_the_stream(cache: SnapshotCache, path: Path) -> None:
    """Half-closing is a clean end: status OK, and the stream is forgotten."""
    async with AdsClient(f"unix:{path}", NODE) as client:
        await client.subscribe(CLUSTER)
        await wait_state(cache, lambda state: state.streams == 1)
        await client.call.done_writing()

        assert await client.call.code() == grpc.StatusCode.OK
    assert cache.state(NODE).streams == 0


async def test_a_path_too_long_for_a_socket_is_refused(cache: SnapshotCache, tmp_path: Path) -> None:
    """The operating system's limit is told before it is hit."""
    with pytest.raises(MeshpassError, match="too long"):
        await AdsServer(cache, straight, listen=tmp_path / ("d" * 100) / "ads.sock").__aenter__()


async def test_a_taken_port_is_named(cache: SnapshotCache) -> None:
    """A second server on the same port says which."""
    async with AdsServer(cache, straight, listen="127.0.0.1:0") as first:
        with pytest.raises(MeshpassError, match=f"cannot listen on 127.0.0.1:{first.port}"):
            await AdsServer(cache, straight, listen=f"127.0.0.1:{first.port}").__aenter__()


async def flood(client: AdsClient) -> None:
    """Ask without end for what was sent already, and read nothing."""
    while True:
        await client.subscribe(CLUSTER, *(f"c{number}" for number in range(10)), "p" * 1000)


async def test_a_client_that_does_not_read_holds_up_only_itself(cache: SnapshotCache, path: Path) -> None:
    """Requests of a client that reads no answers stay unread after a while; others are served meanwhile."""
    body = "x" * 100_000
    cache.set(snapshot(*(resource(CLUSTER, f"c{number}", body) for number in range(10)), resource(ROUTES, "r", "1")))
    async with AdsClient(f"unix:{path}", NODE) as greedy, AdsClient(f"unix:{path}", NODE) as modest:
        await greedy.subscribe(CLUSTER, "*")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(flood(greedy), timeout=1)
        await modest.subscribe(CLUSTER, "c1")
        await modest.accept(CLUSTER)


async def test_a_breach_closes_no_other_stream(cache: SnapshotCache, path: Path) -> None:
    """A neighbour of a stream that breaks the protocol goes on."""
    cache.set(mesh())
    async with AdsClient(f"unix:{path}", NODE) as good, AdsClient(f"unix:{path}", NODE) as bad:
        await start(good)
        await bad.subscribe(CLUSTER, "")
        assert await bad.call.code() == grpc.StatusCode.INVALID_ARGUMENT
        cache.set(mesh("p2"))
        await good.accept(EXTENSION_CONFIG)
        await wait_state(cache, lambda state: state.in_sync and state.streams == 1)


async def test_stopping_ends_streams_as_unavailable(cache: SnapshotCache, tmp_path: Path) -> None:
    """Clients are told to come again, soon after the stop."""
    path = tmp_path / "run" / "ads.sock"
    async with AdsServer(cache, straight, listen=path):
        client = AdsClient(f"unix:{path}", NODE)
        await client.subscribe(CLUSTER)
        await wait_state(cache, lambda state: state.streams == 1)

    assert await client.call.code() == grpc.StatusCode.UNAVAILABLE
    await client.close()
    assert cache.state(NODE).streams == 0


async def test_a_change_is_queued_in_under_a_millisecond(cache: SnapshotCache, path: Path) -> None:
    """``set`` returns within 1 ms (best of 20) for a client with 1,000 clusters: work grows with the change only."""
    many = [resource(CLUSTER, f"c{number}", "x") for number in range(1000)]
    spent = []
    cache.set(snapshot(*many, resource(EXTENSION_CONFIG, "jwt", "0")))
    async with AdsClient(f"unix:{path}", NODE) as client:
        await client.subscribe(CLUSTER, "*")
        await client.accept(CLUSTER)
        await client.subscribe(EXTENSION_CONFIG, "jwt")
        await client.accept(EXTENSION_CONFIG)
        for number in range(1, 21):
            edited = snapshot(*many, resource(EXTENSION_CONFIG, "jwt", str(number)))
            begin = time.perf_counter()
            cache.set(edited)
            spent.append(time.perf_counter() - begin)
            await client.accept(EXTENSION_CONFIG)

    assert min(spent) < 0.001
