"""Who may speak to the management server, of what, and how much: everybody else is refused, and hurts nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.support.relay_world import MANAGEMENT, TRUST_DOMAIN, World, key_of, manifest, run_world

from meshpass.api.core import Service
from meshpass.api.objectset import ObjectKey
from meshpass.envoy.snapshot import Resource
from meshpass.identity.relay import RelayCredentials, ensure_agent_credentials
from meshpass.relay.link import MAX_MESSAGE_BYTES, RECEIVE, REPORT, SERVICE, SIGN
from meshpass.relay.message import read_request, read_response, write_request
from meshpass.relay.nodestate import encode_state
from meshpass.relay.resource import digest, make_resource
from meshpass.relay.tls import Pem
from meshpass.relay.typeurl import END, FACT, NODE_STATE, REVISION, TYPE_ORDER, object_type
from meshpass.xds.event import Send
from meshpass.xds.remote import RemoteState
from meshpass.xds.request import DeltaRequest
from meshpass.xds.wire import serialise_response

SERVICE_TYPE = object_type("Service")


def essence(name: str, kind: str = "Service") -> bytes:
    from meshpass.api.manifest import parse_object
    from meshpass.kube.essence import encode_essence

    raw = manifest(kind, name, "apps", spec={"ports": [{"port": 80}]} if kind == "Service" else {})
    return encode_essence(raw, parse_object(raw))


def send(type_url: str, *resources: Resource, removed: tuple[str, ...] = ()) -> bytes:
    return serialise_response(Send(type_url=type_url, nonce="7", resources=resources, removed=removed))


def end_of(*held: Resource) -> bytes:
    number = digest((one.type_url, one.name, one.version) for one in held)
    return send(REVISION, make_resource(REVISION, END, str(number).encode()))


@asynccontextmanager
async def dial(world: World, credentials: RelayCredentials | None) -> AsyncIterator[grpc.aio.Channel]:
    """A channel of somebody with these credentials, or with none but the authority's certificate."""
    if credentials is None:
        tls = grpc.ssl_channel_credentials(world.management.credentials.ca.read_bytes())
    else:
        tls = Pem.read(credentials).for_client()
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.secure_channel(f"127.0.0.1:{world.management.port}", tls, options=options) as channel:
        yield channel


async def status_of(channel: grpc.aio.Channel, method: str = RECEIVE) -> tuple[grpc.StatusCode, str]:
    """What becomes of a stream."""
    call = channel.stream_stream(f"/{SERVICE}/{method}")()
    async with asyncio.timeout(10):
        with suppress(grpc.aio.AioRpcError):
            while await call.read() is not grpc.aio.EOF:
                pass
        return await call.code(), await call.details()


async def unharmed(world: World) -> None:
    """Another agent hears of an edit."""
    world.management.feed.put(manifest("Service", "after", "apps", spec={"ports": [{"port": 80}]}))
    agent = world.agents["cluster1"]
    await agent.wait(lambda: ObjectKey("Service", MANAGEMENT, "apps", "after") in agent.store.objects.all(Service))


def credentials_of(world: World, tmp_path: Path, cluster: str, **changes: Any) -> RelayCredentials:
    directory = changes.pop("authority", world.management.directory)
    return ensure_agent_credentials(
        directory, tmp_path / "hostile", changes.pop("trust_domain", TRUST_DOMAIN), cluster, **changes
    )


async def test_without_a_certificate_there_is_no_connection(tmp_path: Path) -> None:
    """TLS itself refuses."""
    async with run_world(tmp_path, "cluster1") as world, dial(world, None) as channel:
        code, _ = await status_of(channel)
        assert code is grpc.StatusCode.UNAVAILABLE
        await unharmed(world)


async def test_a_certificate_of_another_authority_is_worth_nothing(tmp_path: Path) -> None:
    """Even with the right name in it."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        hostile = credentials_of(world, tmp_path, "cluster2", authority=tmp_path / "other-authority")
        hostile.ca.write_bytes(world.management.credentials.ca.read_bytes())
        async with dial(world, hostile) as channel:
            code, _ = await status_of(channel)
        assert code is grpc.StatusCode.UNAVAILABLE
        await unharmed(world)


async def test_an_expired_certificate_is_worth_nothing(tmp_path: Path) -> None:
    """The one of an agent that was away for too long."""
    async with run_world(tmp_path, "cluster1") as world:
        long_ago = datetime.now(UTC) - timedelta(days=2000)
        hostile = credentials_of(world, tmp_path, "cluster1", clock=lambda: long_ago)
        async with dial(world, hostile) as channel:
            code, _ = await status_of(channel)
        assert code is grpc.StatusCode.UNAVAILABLE
        await unharmed(world)


@pytest.mark.parametrize(
    ("cluster", "trust_domain", "expected", "words"),
    [
        pytest.param(
            "stranger", TRUST_DOMAIN, grpc.StatusCode.PERMISSION_DENIED, "stranger is not registered", id="unregistered"
        ),
        pytest.param(
            MANAGEMENT, TRUST_DOMAIN, grpc.StatusCode.PERMISSION_DENIED, "mgmt is not registered", id="as-management"
        ),
        pytest.param(
            "cluster1", "other.example.com", grpc.StatusCode.UNAUTHENTICATED, "no agent|not that of", id="other-mesh"
        ),
    ],
)
@pytest.mark.parametrize("method", [RECEIVE, REPORT])
async def test_who_is_not_registered_is_refused(  # noqa: PLR0917
    tmp_path: Path, cluster: str, trust_domain: str, expected: grpc.StatusCode, words: str, method: str
) -> None:
    """Also whoever calls itself the management cluster: what counts from there alone is read from there alone."""
    async with run_world(tmp_path, "cluster1") as world:
        hostile = credentials_of(world, tmp_path, cluster, trust_domain=trust_domain)
        async with dial(world, hostile) as channel:
            code, details = await status_of(channel, method)
            sign = channel.unary_unary(f"/{SERVICE}/{SIGN}")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await sign(b'{"purpose":"intermediate","csr":"x"}', timeout=5)
        assert code is expected
        assert refused.value.code() is expected
        assert any(part in details for part in words.split("|"))
        assert world.management.signed == []
        views = {view["cluster"]: view for view in world.management.server.view()}
        assert (cluster in views) == (expected is grpc.StatusCode.PERMISSION_DENIED or cluster == "cluster1")
        await unharmed(world)


class Impostor:
    """A registered agent that says what it likes; it takes the place of the cluster's own."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.call = channel.stream_stream(f"/{SERVICE}/{REPORT}")()

    async def start(self) -> None:
        """Until the server has asked for everything."""
        async with asyncio.timeout(10):
            for _ in TYPE_ORDER:
                await self.call.read()

    async def tell(self, *messages: bytes) -> list[DeltaRequest]:
        """What is answered to each."""
        async with asyncio.timeout(10):
            for message in messages:
                await self.call.write(message)
            return [read_request(await self.call.read()) for _ in messages]


@asynccontextmanager
async def impostor(world: World, tmp_path: Path, cluster: str = "cluster2") -> AsyncIterator[Impostor]:
    world.management.register(cluster)
    await world.management.wait(lambda: cluster in {view["cluster"] for view in world.management.server.view()})
    async with dial(world, credentials_of(world, tmp_path, cluster)) as channel:
        hostile = Impostor(channel)
        await hostile.start()
        yield hostile


CLAIMS: list[tuple[str, Callable[[], Resource], str]] = [
    ("object", lambda: make_resource(SERVICE_TYPE, "cluster1/apps/x", essence("x")), "does not speak"),
    ("management", lambda: make_resource(SERVICE_TYPE, f"{MANAGEMENT}/apps/x", essence("x")), "does not speak"),
    ("label", lambda: make_resource(REVISION, "cluster1", b"ffffffffffff:9"), "does not speak"),
    (
        "state",
        lambda: make_resource(NODE_STATE, "sidecar~cluster1~apps~x", encode_state(RemoteState(in_sync=True))),
        "does not speak",
    ),
    ("not-a-node", lambda: make_resource(NODE_STATE, "x", encode_state(RemoteState(in_sync=True))), "does not speak"),
    ("other-name", lambda: make_resource(SERVICE_TYPE, "cluster2/apps/x", essence("y")), "is Service apps/y"),
    ("other-kind", lambda: make_resource(SERVICE_TYPE, "cluster2/apps/x", essence("x", "RouteTable")), "is RouteTable"),
    ("no-json", lambda: make_resource(SERVICE_TYPE, "cluster2/apps/x", b"\xff{"), "no JSON|no UTF-8"),
    ("no-object", lambda: make_resource(SERVICE_TYPE, "cluster2/apps/x", b"[]"), "no object"),
    ("no-kind", lambda: make_resource(SERVICE_TYPE, "cluster2/apps/x", b"{}"), "apiVersion: required"),
    ("no-place", lambda: make_resource(SERVICE_TYPE, "x", essence("x")), "no object's name"),
    ("bad-state", lambda: make_resource(NODE_STATE, "sidecar~cluster2~apps~x", b"{}"), "no state of a proxy"),
    ("bad-label", lambda: make_resource(REVISION, "cluster2", b"x" * 100), "no label"),
    ("big-fact", lambda: make_resource(FACT, "fact", b"x" * (1024 * 1024 + 1)), "more than"),
]


@pytest.mark.parametrize(("make", "words"), [pytest.param(make, words, id=name) for name, make, words in CLAIMS])
async def test_an_agent_speaks_for_its_own_cluster_and_makes_sense(
    tmp_path: Path, make: Callable[[], Resource], words: str
) -> None:
    """Whatever else it says is refused, and the rest of what it says counts."""
    async with run_world(tmp_path, "cluster1") as world:
        before = set(world.management.store.objects)
        async with impostor(world, tmp_path) as hostile:
            claim = make()
            good = make_resource(SERVICE_TYPE, "cluster2/apps/good", essence("good"))
            label = make_resource(REVISION, "cluster2", b"1:1")
            answers = await hostile.tell(
                send(claim.type_url, claim), send(SERVICE_TYPE, good), send(REVISION, label), end_of(good, label)
            )
            await world.management.wait(
                lambda: ObjectKey("Service", "cluster2", "apps", "good") in world.management.store.objects.all(Service)
            )
        errors = [answer.error or "" for answer in answers]
        assert any(part in errors[0] for part in words.split("|")), errors
        added = set(world.management.store.objects) - before
        assert {key for key in added if key.cluster != MANAGEMENT} == {ObjectKey("Service", "cluster2", "apps", "good")}
        assert not world.management.remote.states
        assert world.management.facts.received == {}
        assert world.management.store.revisions["cluster1"] != "ffffffffffff:9"
        await unharmed(world)


async def test_an_agent_cannot_take_away_what_is_not_its_own(tmp_path: Path) -> None:
    """A removal of what it never told is nothing."""
    async with run_world(tmp_path, "cluster1") as world:
        world.agents["cluster1"].feed.put(manifest("Service", "a", "apps", spec={"ports": [{"port": 80}]}))
        key = ObjectKey("Service", "cluster1", "apps", "a")
        await world.management.wait(lambda: key in world.management.store.objects.all(Service))
        async with impostor(world, tmp_path) as hostile:
            label = make_resource(REVISION, "cluster2", b"1:1")
            await hostile.tell(
                send(SERVICE_TYPE, removed=("cluster1/apps/a",)),
                send(REVISION, label, removed=("cluster1",)),
                end_of(label),
            )
            await world.management.wait(lambda: "cluster2" in world.management.store.revisions)
        assert key in world.management.store.objects.all(Service)
        assert "cluster1" in world.management.store.revisions
        await unharmed(world)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        pytest.param(b"\xff\xff garbage", grpc.StatusCode.INVALID_ARGUMENT, id="garbage"),
        pytest.param(send("type.googleapis.com/other"), grpc.StatusCode.INVALID_ARGUMENT, id="nobody-asked"),
        pytest.param(b"\0" * (MAX_MESSAGE_BYTES + 1), grpc.StatusCode.RESOURCE_EXHAUSTED, id="oversize"),
        pytest.param(
            send(FACT, make_resource(FACT, "x" * 2000, b"")), grpc.StatusCode.INVALID_ARGUMENT, id="long-name"
        ),
        pytest.param(end_of(make_resource(FACT, "x", b"y")), grpc.StatusCode.INVALID_ARGUMENT, id="wrong-digest"),
    ],
)
async def test_what_breaks_the_protocol_ends_the_stream(tmp_path: Path, message: bytes, code: grpc.StatusCode) -> None:
    """Of whoever did it, and of nobody else."""
    async with run_world(tmp_path, "cluster1") as world:
        async with impostor(world, tmp_path) as hostile:
            await hostile.call.write(message)
            async with asyncio.timeout(10):
                assert await hostile.call.code() is code
        await unharmed(world)


async def test_names_are_no_way_to_what_is_not_for_the_cluster(tmp_path: Path) -> None:
    """Everything that is for it, or the end of the stream: a Secret cannot be asked for by its name."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        secret = manifest("Secret", "private", "apps", data={"key": "c2VjcmV0"})
        world.management.feed.put(secret)
        await world.agents["cluster2"].kill()
        async with dial(world, credentials_of(world, tmp_path, "cluster2")) as channel:
            call = channel.stream_stream(f"/{SERVICE}/{RECEIVE}")()
            name = f"{MANAGEMENT}/apps/private"
            for type_url in TYPE_ORDER:
                await call.write(write_request(DeltaRequest(type_url=type_url, subscribe=("*",))))
            seen = []
            async with asyncio.timeout(10):
                while not any(one.name == END for one in (seen[-1].resources if seen else ())):
                    seen.append(read_response(await call.read()))
            assert not any(one.type_url == object_type("Secret") and one.resources for one in seen)
            await call.write(write_request(DeltaRequest(type_url=object_type("Secret"), subscribe=(name,))))
            async with asyncio.timeout(10):
                assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert key_of(MANAGEMENT, secret) not in world.agents["cluster1"].store.objects
        await unharmed(world)


async def test_a_peer_that_never_answers_costs_one_batch(tmp_path: Path) -> None:
    """What it is told is not piled up, and the others hear of every edit."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        await world.agents["cluster2"].kill()
        async with dial(world, credentials_of(world, tmp_path, "cluster2")) as channel:
            call = channel.stream_stream(f"/{SERVICE}/{RECEIVE}")()
            for type_url in TYPE_ORDER:
                await call.write(write_request(DeltaRequest(type_url=type_url, subscribe=("*",))))
            for count in range(50):
                world.management.feed.put(manifest("Service", "edited", "apps", spec={"ports": [{"port": 80 + count}]}))
                await asyncio.sleep(0.002)
            await unharmed(world)
            labels = set()
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    while True:
                        response = read_response(await call.read())
                        labels |= {one.body for one in response.resources if one.name == MANAGEMENT}
            assert len(labels) == 1


async def test_the_latest_connection_of_an_agent_counts(tmp_path: Path) -> None:
    """An agent whose old connection is cut without a word is let in at once, and the old one ends."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        async with dial(world, credentials_of(world, tmp_path, "cluster2")) as channel:
            streams = [channel.stream_stream(f"/{SERVICE}/{method}")() for method in (RECEIVE, REPORT)]
            for stream in streams:
                await stream.initial_metadata()
            agent = world.agents["cluster2"]
            await agent.wait(lambda: agent.agent.view()["error"] is not None or not agent.agent.connected)
        await agent.wait(lambda: agent.agent.connected)
        await unharmed(world)


async def test_garbage_on_the_socket_hurts_nobody(tmp_path: Path) -> None:
    """Bytes that are no TLS, or the beginning of some, end their own connection."""
    async with run_world(tmp_path, "cluster1") as world:
        for garbage in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\x00",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\0" * 100_000,
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", world.management.port)
            with suppress(ConnectionError):
                writer.write(garbage)
                await writer.drain()
            writer.close()
        await unharmed(world)


async def test_the_right_to_a_stream_ends_with_the_certificate(tmp_path: Path) -> None:
    """TLS looks at it when the connection begins; a connection may live longer than it."""
    async with run_world(tmp_path, "cluster1") as world:
        server = world.management.server
        server._clock = lambda: datetime.now(UTC).timestamp() + 366 * 24 * 3600
        async with dial(world, credentials_of(world, tmp_path, "cluster1")) as channel:
            code, details = await status_of(channel)
        assert (code, details) == (grpc.StatusCode.UNAUTHENTICATED, "the certificate has expired")
