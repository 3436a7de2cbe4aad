"""gRPC, WebSocket, HTTP/2 and HTTP/1.1 through sidecars and gateways, with and without tokens, while policies change.

Every request passes two Envoys: the sidecar of ``client`` or the gateway, then the sidecar of the application.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from tests.support.envoy_mesh import (
    CLIENT,
    GATEWAY,
    GATEWAY_PORTS,
    GUARDED,
    SETTLE_SECONDS,
    EnvoyMesh,
    build_endpoints,
    run_envoy_mesh,
    secret,
)
from tests.support.gateway_objects import HTTP, make_pair, virtual_gateway
from tests.support.grpc_echo import DETAILS, GrpcClient, GrpcEcho, run_grpc_echo
from tests.support.http2_client import Http2Client
from tests.support.jwt_objects import (
    DENIED,
    HOST,
    LABEL,
    MALFORMED,
    MISSING,
    WRONG_AUDIENCE,
    Manifest,
    bearer,
    policy,
    provider,
)
from tests.support.objects import forward, jwt_policy, route_table
from tests.support.tokens import DEV, LOGIN, public_jwks, sign
from tests.support.websocket_echo import PROTOCOL, WebSocketEcho, open_websocket, run_websocket_echo
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from meshpass.translate.sidecar import OUTBOUND_PORT

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

TOKEN = sign(DEV)
GOOD = bearer(TOKEN)
OPEN, CLOSED = "/tests.Open", "/tests.Guarded"
CERTIFICATE, PRIVATE_KEY = make_pair(HOST)
GRPC, WEB, RAW = 9000, 9001, 9002
KIBIBYTE, MEBIBYTE = 2**10, 2**20


class Place(StrEnum):
    """Where a client enters the mesh."""

    SIDECAR = "sidecar"
    EDGE = "gateway"
    EDGE_TLS = "gateway-with-tls"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The mesh with its servers."""

    mesh: EnvoyMesh
    grpc: GrpcEcho
    other: GrpcEcho
    web: WebSocketEcho

    def address(self, place: Place) -> tuple[str, int]:
        """Where to connect to."""
        match place:
            case Place.SIDECAR:
                return self.mesh.address(CLIENT), OUTBOUND_PORT
            case Place.EDGE:
                return self.mesh.address(GATEWAY), GATEWAY_PORTS[80]
            case Place.EDGE_TLS:
                return self.mesh.address(GATEWAY), GATEWAY_PORTS[443]

    def call(self, place: Place, authority: str = HOST) -> GrpcClient:
        """A gRPC channel."""
        return GrpcClient(self.address(place), authority, certificates=CERTIFICATE if place is Place.EDGE_TLS else "")

    def websocket(self, place: Place, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> Any:
        """A WebSocket."""
        context = trusting() if place is Place.EDGE_TLS else None
        scheme = "wss" if context else "ws"
        return open_websocket(self.address(place), f"{scheme}://{HOST}{path}", headers, context=context, **more)

    def http2(self, place: Place) -> Any:
        """An HTTP/2 connection."""
        if place is Place.EDGE_TLS:
            return Http2Client.open(self.address(place), trusting("h2", "http/1.1"), HOST)
        return Http2Client.open(self.address(place))


def trusting(*protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CERTIFICATE)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def pod(mesh: EnvoyMesh, ports: Mapping[int, int]) -> Manifest:
    """The pod ``guarded`` with more ports than it has by itself."""
    addresses = json.dumps({port: f"127.0.0.1:{real}" for port, real in ports.items()})
    annotations = {"meshpass.dev/proxy": "sidecar", "meshpass.dev/app-addresses": addresses}
    metadata = {"name": "guarded", "namespace": "httpbin", "labels": {"app": "guarded"}, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"podIP": mesh.address(GUARDED)}}


def service(name: str, ports: Mapping[str, int], **selector: str) -> Manifest:
    listed = [{"name": port, "port": number} for port, number in ports.items()]
    metadata = {"name": name, "namespace": "httpbin", "labels": {"app": name}}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": selector, "ports": listed},
    }


def endpoints(name: str, address: str, ports: Mapping[str, int]) -> Manifest:
    made = build_endpoints(name, address, 1)
    return made | {"ports": [{"name": port, "port": number} for port, number in ports.items()]}


SPEAKER = {"grpc-echo": GRPC, "http-web": WEB, "tcp-raw": RAW}


def matching(uri: Manifest, name: str, port: int, /, *, headers: Any = (), **labels: str) -> Manifest:
    """A route to a Service for this path."""
    to = forward(name, port, **labels)
    return to | {"name": next(iter(uri.values())), "matchers": [{"uri": uri, "headers": list(headers)}]}


ROUTES = (
    matching({"prefix": OPEN}, "speaker", GRPC),
    matching({"prefix": CLOSED}, "speaker", GRPC, **LABEL),
    matching({"prefix": "/open"}, "speaker", WEB),
    matching({"prefix": "/guarded"}, "speaker", WEB, **LABEL),
    matching({"prefix": "/anything"}, "httpbin", 8000),
    matching({"prefix": "/get"}, "httpbin", 8000, **LABEL),
    matching({"prefix": "/post"}, "httpbin", 8000, **LABEL),
    matching({"prefix": "/nowhere"}, "nobody", WEB),
    matching({"prefix": "/tests.Nowhere"}, "nobody", GRPC),
    matching({"prefix": "/tests.Empty"}, "empty", GRPC),
)
"""gRPC, WebSocket and other requests, open and protected; and some that nobody answers."""


def table(*http: Manifest, name: str = "table", **spec: Any) -> Manifest:
    """A table of HOST for sidecars and gateway."""
    spec = {"hosts": [HOST], "workloadSelectors": [{}], "virtualGateways": [{"name": "gateway"}]} | spec
    return route_table(name, http=list(http or ROUTES), **spec)


@asynccontextmanager
async def instead(world: World, *manifests: Manifest) -> AsyncIterator[None]:
    """Inside, these take the place of the table and the policy that are always there."""
    try:
        await world.mesh.apply(*manifests)
        yield
    finally:
        await world.mesh.apply(table(), policy())


def gateway(*more: Manifest) -> Manifest:
    tls = {"mode": "SIMPLE", "secretName": "certificate"}
    return virtual_gateway(HTTP, {"port": {"number": 443}, "http": {}, "tls": tls}, *more)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        mesh = await stack.enter_async_context(run_envoy_mesh(CLIENT, GUARDED, GATEWAY))
        one, other = [await stack.enter_async_context(run_grpc_echo(name)) for name in ("one", "other")]
        web = await stack.enter_async_context(run_websocket_echo())
        raw = await asyncio.start_server(talk_back, "127.0.0.1", 0)
        stack.callback(raw.close)
        ports = {GRPC: one.port, WEB: web.port, RAW: raw.sockets[0].getsockname()[1]}
        await mesh.apply(
            pod(mesh, ports),
            service("speaker", SPEAKER, app="guarded"),
            endpoints("speaker", mesh.address(GUARDED), SPEAKER),
            service("other", {"grpc": GRPC}),
            endpoints("other", "127.0.0.1", {"grpc": other.port}),
            service("empty", {"grpc": GRPC}),
            secret("certificate", {"tls.crt": CERTIFICATE, "tls.key": PRIVATE_KEY}),
            gateway(),
            table(),
            policy(),
        )
        world = World(mesh=mesh, grpc=one, other=other, web=web)
        for address in map(world.address, Place):
            await accepting(*address)
        for port in ports:
            await accepting(mesh.address(GUARDED), port)
        yield world


async def accepting(address: str, port: int) -> None:
    """Returns when somebody listens there."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection(address, port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


async def talk_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An application that speaks no HTTP: it speaks first, then repeats every line."""
    writer.write(b"hello\n")
    with suppress(ConnectionError):
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    writer.close()


async def failure(call: Awaitable[object]) -> tuple[str, str]:
    """Code and details of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as info:
        await call
    return info.value.code().name, info.value.details()


async def echoes(chat: Any, message: bytes = b"again") -> bool:
    """Whether a chat still goes both ways."""
    await chat.write(message)
    async with asyncio.timeout(10):
        return bool(await chat.read() == message)


# gRPC


@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize(("package", "metadata"), [(OPEN, {}), (CLOSED, GOOD)], ids=["open", "protected"])
async def test_calls_of_every_kind_pass(world: World, place: Place, package: str, metadata: dict[str, str]) -> None:
    """Unary, streams of one side and of both, which are not held back until they end; with trailers."""
    async with world.call(place) as client:
        call = client.call(f"{package}/Describe", b"hello", metadata)
        said = json.loads(await call)
        assert (said["server"], said["request"]) == ("one", "hello")
        assert dict(await call.trailing_metadata())["x-trailer"] == "after all"

        assert await client.count(f"{package}/Count", 50, KIBIBYTE, metadata) == [KIBIBYTE] * 50

        chat = client.chat(f"{package}/Chat", metadata)
        for number in range(50):
            assert await echoes(chat, f"message {number}".encode())
        await chat.done_writing()
        assert await chat.read() is grpc.aio.EOF
        assert await chat.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("place", Place)
async def test_refusals_are_grpc_statuses(world: World, place: Place) -> None:
    """401 is UNAUTHENTICATED and 403 PERMISSION_DENIED, with the words of the body; the application hears of nothing."""
    login = provider(issuer=LOGIN["iss"])
    restricted = policy(
        providers={"dev": provider(audiences=["us"]), "login": login},
        claims=[{"key": "org", "values": ["internal"]}],
    )
    metadata = {"none": {}, "garbage": bearer("a.b"), "audience": GOOD, "claims": bearer(sign(LOGIN))}
    async with instead(world, restricted), world.call(place) as client:
        world.grpc.calls.clear()
        found = {name: await failure(client.call(f"{CLOSED}/Describe", b"", pairs)) for name, pairs in metadata.items()}
        chat = client.chat(f"{CLOSED}/Chat")
        found["chat"] = await failure(chat.read())
        with pytest.raises(grpc.aio.AioRpcError) as info:
            await client.count(f"{CLOSED}/Count", 5, 5)

    assert found == {
        "none": ("UNAUTHENTICATED", MISSING),
        "garbage": ("UNAUTHENTICATED", MALFORMED),
        "audience": ("PERMISSION_DENIED", WRONG_AUDIENCE),
        "claims": ("PERMISSION_DENIED", DENIED),
        "chat": ("UNAUTHENTICATED", MISSING),
    }
    assert info.value.code() is grpc.StatusCode.UNAUTHENTICATED
    challenge = dict(info.value.trailing_metadata())["www-authenticate"]
    assert challenge.startswith(f'Bearer realm="http{"s" if place is Place.EDGE_TLS else ""}://{HOST}{CLOSED}/Count"')
    assert world.grpc.calls == []


@pytest.mark.parametrize("place", Place)
async def test_claims_are_metadata(world: World, place: Place) -> None:
    """The caller's own are replaced, and its token is gone; without the policy nothing is touched."""
    org = [{"claim": "org", "header": "X-Org"}]
    sent = {"x-org": "forged", "x-other": "kept"}
    async with instead(world, policy(providers={"dev": provider(claimsToHeaders=org)})), world.call(place) as client:
        said = (await client.describe(f"{CLOSED}/Describe", GOOD | sent))["metadata"]
        query = (await client.describe(f"{CLOSED}/Describe?auth_token={TOKEN}", sent))["metadata"]
    async with world.call(place) as client:
        untouched = (await client.describe(f"{OPEN}/Describe", GOOD | sent))["metadata"]

    for metadata in (said, query):
        assert (metadata["x-org"], metadata["x-other"]) == ("internal", "kept")
        assert TOKEN not in str(metadata)
    assert (untouched["x-org"], untouched["x-auth"]) == ("forged", f"Bearer {TOKEN}")


@pytest.mark.parametrize("place", Place)
async def test_what_the_application_says_of_an_error_comes_through(world: World, place: Place) -> None:
    """Code, details in any letters, and trailers, of bytes too; and a method that it does not have."""
    async with world.call(place) as client:
        call = client.call(f"{CLOSED}/Fail", b"", GOOD)
        assert await failure(call) == ("OUT_OF_RANGE", "täglich 100 %")
        trailers = dict(await call.trailing_metadata())
        assert (trailers[DETAILS], trailers["x-own"]) == (b"\x00\xff", "1")
        assert await failure(client.call(f"{CLOSED}/Unknown", b"", GOOD)) == ("UNIMPLEMENTED", "Method not found!")


@pytest.mark.parametrize("place", Place)
async def test_messages_may_be_large(world: World, place: Place) -> None:
    """Larger than any buffer on the way, in both directions, alone and in a stream."""
    async with world.call(place) as client:
        text = "x" * (5 * MEBIBYTE)
        assert (await client.describe(f"{CLOSED}/Describe", GOOD, text))["request"] == text
        assert sum(await client.count(f"{CLOSED}/Count", 20, MEBIBYTE, GOOD)) == 20 * MEBIBYTE
        chat = client.chat(f"{CLOSED}/Chat", GOOD)
        assert all([await echoes(chat, bytes(MEBIBYTE)) for _ in range(5)])


@pytest.mark.parametrize("place", Place)
async def test_deadlines_reach_the_application(world: World, place: Place) -> None:
    """It knows how much time is left, and that nobody waits any longer."""
    world.grpc.cancelled.clear()
    async with world.call(place) as client:
        code, _ = await failure(client.call(f"{CLOSED}/Wait", b"", GOOD, seconds=0.7))
        assert code == "DEADLINE_EXCEEDED"
        async with asyncio.timeout(5):
            await world.grpc.cancelled.wait()
        assert world.grpc.seconds_left is not None
        assert 0 < world.grpc.seconds_left < 1


@pytest.mark.parametrize("place", Place)
async def test_nobody_answers(world: World, place: Place) -> None:
    """No route, no destination, no endpoint, no host: gRPC's words for 404, 500 and 503."""
    async with world.call(place) as client:
        services = ("Strange", "Nowhere", "Empty")
        found = [await failure(client.call(f"/tests.{service}/Describe")) for service in services]
    assert [code for code, _ in found] == ["UNIMPLEMENTED", "UNKNOWN", "UNAVAILABLE"]


@pytest.mark.parametrize("place", Place)
async def test_a_call_takes_too_long(world: World, place: Place) -> None:
    """For the policy of its route: gRPC's word for 504, and the application knows that nobody waits."""
    world.grpc.cancelled.clear()
    async with world.mesh.having(traffic(requestTimeout="300ms")), world.call(place) as client:
        found = await failure(client.call(f"{CLOSED}/Wait", b"", GOOD))
        await asyncio.wait_for(world.grpc.cancelled.wait(), 5)
    assert found == ("UNAVAILABLE", "upstream request timeout")


@pytest.mark.parametrize("place", Place)
async def test_methods_and_metadata_choose_the_route(world: World, place: Place) -> None:
    """An exact path is one method; the protected method of a service asks for a token, its others do not."""
    described = {"exact": f"{OPEN}/Describe"}
    routes = (
        matching(described, "other", GRPC, headers=[{"name": "x-version", "value": "2"}]),
        matching(described, "speaker", GRPC, **LABEL),
        matching({"prefix": OPEN}, "other", GRPC),
    )
    async with instead(world, table(*routes)), world.call(place) as client:
        assert (await client.describe(f"{OPEN}/Describe", {"x-version": "2"}))["server"] == "other"
        assert (await client.describe(f"{OPEN}/Describe", GOOD))["server"] == "one"
        assert await failure(client.call(f"{OPEN}/Describe")) == ("UNAUTHENTICATED", MISSING)
        world.other.calls.clear()
        assert await client.count(f"{OPEN}/Count", 2, 2) == [2, 2]
        assert world.other.calls == [f"{OPEN}/Count"]


@pytest.mark.parametrize("place", Place)
async def test_calls_of_one_channel_are_shared_out(world: World, place: Place) -> None:
    """By weight, call by call: within 5 standard deviations of 300 of 400."""
    destinations = [
        {"ref": {"name": name}, "port": {"number": GRPC}, "weight": weight}
        for name, weight in (("speaker", 75), ("other", 25))
    ]
    shared = {"name": "shared", "forwardTo": {"destinations": destinations}}
    async with instead(world, table(shared)), world.call(place) as client:
        said = [await client.describe(f"{OPEN}/Describe") for _ in range(400)]
    assert abs(Counter(one["server"] for one in said)["one"] - 300) < 44


@pytest.mark.parametrize("place", Place)
async def test_calls_are_retried(world: World, place: Place) -> None:
    """After the code that was asked for, as often as that; never for somebody without a token."""
    retries = traffic(retries={"attempts": 2, "retryOn": "unavailable"})
    async with world.mesh.having(retries), world.call(place) as client:
        found = []
        for failures, metadata in ((2, GOOD), (3, GOOD), (1, {})):
            world.grpc.calls.clear()
            world.grpc.failures = failures
            call = client.call(f"{CLOSED}/Describe", b"", metadata)
            found.append(((await call.code()).name, len(world.grpc.calls)))
        world.grpc.failures = 0
    assert found == [("OK", 3), ("UNAVAILABLE", 3), ("UNAUTHENTICATED", 0)]


async def test_a_destination_asks_for_the_token(world: World) -> None:
    """Of calls from sidecars and gateways, and of those that have no proxy at all."""
    holds = jwt_policy(
        "destination",
        applyToDestinations=[{"selector": {"name": "speaker"}, "port": {"number": GRPC}}],
        config={"providers": {"dev": provider(claimsToHeaders=[{"claim": "org", "header": "x-org"}])}},
    )
    straight = (world.mesh.address(GUARDED), GRPC)
    async with world.mesh.having(holds), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(world.call(place)) for place in Place]
        clients.append(await stack.enter_async_context(GrpcClient(straight, "whatever")))
        for client in clients:
            assert await failure(client.call(f"{OPEN}/Describe")) == ("UNAUTHENTICATED", MISSING)
            metadata = (await client.describe(f"{OPEN}/Describe", GOOD))["metadata"]
            assert (metadata["x-org"], metadata.get("x-auth")) == ("internal", None)


async def test_sidecars_are_addressed_as_the_guide_says(world: World) -> None:
    """Names of a Service with the port; http_proxy alone does not do, for grpcio asks for a tunnel then."""
    place = world.address(Place.SIDECAR)
    for name in ("speaker", "speaker.httpbin", "speaker.httpbin.svc.cluster.local"):
        async with GrpcClient(place, f"{name}:{GRPC}") as client:
            assert (await client.describe(f"{OPEN}/Describe"))["server"] == "one"
    async with GrpcClient(place, "nobody.httpbin:9000") as client:
        assert (await failure(client.call(f"{OPEN}/Describe")))[0] == "UNAVAILABLE"
    proxy = f"http://{place[0]}:{place[1]}"
    async with GrpcClient(("speaker.httpbin", GRPC), "speaker.httpbin:9000", proxy=proxy) as client:
        assert (await failure(client.call(f"{OPEN}/Describe")))[0] == "UNAVAILABLE"


# WebSocket


@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize(("path", "headers"), [("/open/ws", {}), ("/guarded/ws", GOOD)], ids=["open", "protected"])
@pytest.mark.parametrize("compression", ["deflate", None])
async def test_websockets_pass(
    world: World, place: Place, path: str, headers: dict[str, str], compression: str | None
) -> None:
    """Both ways, text, bytes, pings and large messages, with the protocol that the two agree on."""
    async with world.websocket(place, path, headers, compression=compression) as socket:
        assert socket.subprotocol == PROTOCOL
        for message in ("hello", "täglich", b"\x00\xff", "x" * MEBIBYTE, bytes(MEBIBYTE)):
            await socket.send(message)
            assert await socket.recv() == message
        await asyncio.wait_for(await socket.ping(), 10)
        await socket.send("header x-auth")
        assert await socket.recv() == ""


@pytest.mark.parametrize("place", Place)
async def test_codes_tell_why_a_websocket_was_closed(world: World, place: Place) -> None:
    """To whichever side did not close it."""
    async with world.websocket(place, "/guarded/ws", GOOD) as socket:
        await socket.send("close 4001 enough of that")
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (4001, "enough of that")
    async with world.websocket(place, "/guarded/ws", GOOD) as socket:
        served = next(iter(world.web.open))
        await socket.close(4002, "no more")
    await asyncio.wait_for(served.wait_closed(), 5)
    assert (served.close_code, served.close_reason) == (4002, "no more")


@pytest.mark.parametrize("place", Place)
async def test_handshakes_are_refused(world: World, place: Place) -> None:
    """Like any request; the application hears of nothing."""
    world.web.targets.clear()
    found = []
    restricted = policy(claims=[{"key": "org", "values": ["external"]}])
    for path, headers, changes in (
        ("/guarded/ws", {}, policy()),
        ("/guarded/ws", bearer("a.b"), policy()),
        ("/guarded/ws", GOOD, restricted),
        ("/nowhere/ws", {}, policy()),
        ("/strange", {}, policy()),
    ):
        async with instead(world, changes):
            with pytest.raises(InvalidStatus) as info:
                await world.websocket(place, path, headers)
            response = info.value.response
            found.append((response.status_code, (response.body or b"").decode()))
    assert found == [
        (401, MISSING),
        (401, MALFORMED),
        (403, DENIED),
        (500, found[3][1]),
        (404, ""),
    ]
    assert world.web.targets == []


@pytest.mark.parametrize("place", Place)
async def test_a_token_in_the_query_does_not_reach_the_application(world: World, place: Place) -> None:
    """That is how browsers send one, which cannot set headers for a WebSocket; the rest of the query stays as it is."""
    world.web.targets.clear()
    async with world.websocket(place, f"/guarded/ws?room=a%26b&auth_token={TOKEN}&x=%20") as socket:
        await socket.send("target")
        assert await socket.recv() == "/guarded/ws?room=a%26b&x=%20"
    with pytest.raises(InvalidStatus) as info:
        await world.websocket(place, f"/guarded/ws?auth_token={TOKEN}x")
    response = info.value.response
    assert (response.status_code, TOKEN in f"{response.headers}{response.body!r}") == (401, False)
    assert world.web.targets == ["/guarded/ws?room=a%26b&x=%20"]


@pytest.mark.parametrize("place", Place)
async def test_a_time_limit_for_requests_does_not_end_a_websocket(world: World, place: Place) -> None:
    """Its handshake is the request, and that is answered."""
    async with (
        world.mesh.having(traffic(requestTimeout="500ms")),
        world.websocket(place, "/guarded/ws", GOOD) as socket,
    ):
        with suppress(TimeoutError):
            await asyncio.wait_for(socket.recv(), 1.2)
        await socket.send("still there")
        assert await socket.recv() == "still there"


# HTTP/2


@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize(
    "key",
    [
        pytest.param({"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}, id="with-key"),
        pytest.param({}, id="without-key", marks=pytest.mark.xfail(reason="Envoy makes no key for HTTP/1.1")),
    ],
)
async def test_websockets_pass_in_http2(world: World, place: Place, key: dict[str, str]) -> None:
    """As streams of one connection (RFC 8441), where nobody needs a key; the application speaks HTTP/1.1."""
    async with world.http2(place) as client:
        assert await client.speaks_extended_connect()
        more: dict[str, Any] = {"method": "CONNECT", "protocol": "websocket", "body": None}
        version = {"sec-websocket-version": "13", "sec-websocket-protocol": PROTOCOL} | key
        streams = [
            client.start(HOST, path, headers=version | headers, **more)
            for path, headers in (("/open/ws", {}), ("/guarded/ws", GOOD), (f"/guarded/ws?auth_token={TOKEN}", {}))
        ]
        for stream in streams:
            assert (await client.until(stream, status=True)).status == 200
            client.send(stream, Frame(Opcode.TEXT, b"hello").serialize(mask=True))
            assert (await client.until(stream, size=7)).body == b"\x81\x05hello"
        refused = await client.until(client.start(HOST, "/guarded/ws", headers=version, **more))
        beside = await client.request(HOST, "/anything")
        assert [name for name in json.loads(beside.text)["headers"] if name.lower().startswith("sec-")] == []
        assert (refused.status, refused.text) == (401, MISSING)
        assert (client.resets, client.goaways) == (0, 0)


@pytest.mark.parametrize("place", Place)
async def test_http2_requests_share_a_connection(world: World, place: Place) -> None:
    """Each has its own verdict, whichever order the answers come in."""
    async with world.http2(place) as client:
        asked = [(path, headers) for path in ("/get", "/anything") for headers in ({}, GOOD, bearer("a.b"))] * 15
        streams = [client.start(HOST, path, headers=headers) for path, headers in asked]
        answers = [await client.until(stream) for stream in streams]
        assert [one.status for one in answers] == [401, 200, 401, 200, 200, 200] * 15
        assert {one.text for one in answers[0::6]} == {MISSING}
        assert "X-Auth" not in json.loads(answers[1].text)["headers"]
        body = b"b" * 40_000
        for headers, status in ((GOOD, 200), ({}, 401)):
            answer = await client.request(HOST, "/post", method="POST", headers=headers, body=body)
            assert answer.status == status
        assert (client.resets, client.goaways, client.lost) == (0, 0, False)


async def test_a_client_chooses_by_alpn(world: World) -> None:
    """HTTP/2 if it can, HTTP/1.1 if that is all it has, and HTTP/1.1 too if it says nothing."""
    chosen = []
    for offered in (("h2", "http/1.1"), ("http/1.1", "h2"), ("http/1.1",), ()):
        place = world.address(Place.EDGE_TLS)
        _, writer = await asyncio.open_connection(*place, ssl=trusting(*offered), server_hostname=HOST)
        chosen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        writer.close()
    assert chosen == ["h2", "h2", "http/1.1", None]


# HTTP/1.1

SMUGGLED = b"GET /anything HTTP/1.1\r\nHost: www.example.com\r\n\r\n" * 10
"""A body that would be requests if it were taken for such."""


class Http1:
    """A connection on which a test writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def ask(self, path: str, headers: Mapping[str, str], body: bytes | None = None) -> None:
        """Write a request, whatever is still to be answered."""
        lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", f"Host: {HOST}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [] if body is None else [f"Content-Length: {len(body)}"]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + (body or b""))

    async def answer(self) -> tuple[int, str, bytes]:
        """The next answer: status, what is said of the connection, body."""
        async with asyncio.timeout(10):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()
            fields = dict(line.split(": ", 1) for line in lines[1:-1])
            body = await self.reader.readexactly(int(fields["content-length"]))
            return int(lines[0].split()[1]), fields.get("connection", ""), body


@asynccontextmanager
async def connected(world: World, place: Place) -> AsyncIterator[Http1]:
    context = trusting() if place is Place.EDGE_TLS else None
    name = HOST if context else None
    reader, writer = await asyncio.open_connection(*world.address(place), ssl=context, server_hostname=name)
    try:
        yield Http1(reader, writer)
    finally:
        writer.close()


@pytest.mark.parametrize("place", Place)
async def test_requests_that_are_sent_ahead_are_answered_in_order(world: World, place: Place) -> None:
    """Each with its own verdict (RFC 9112 §9.3.2).

    Only one answer of the proxy's own is among those that are sent ahead: Envoy ends a connection on which more than two
    answers wait to be written, and the rest would have to be sent again.
    """
    async with connected(world, place) as connection:
        for number in range(20):
            connection.ask(f"/anything/{number}", {})
            connection.ask(f"/post?n={number}", GOOD, SMUGGLED)
        connection.ask("/get", {})
        for number in range(20):
            for path in (f"/anything/{number}", f"/post?n={number}"):
                status, _, text = await connection.answer()
                assert (status, json.loads(text)["url"].endswith(path)) == (200, True)
        assert await connection.answer() == (401, "", MISSING.encode())


@pytest.mark.parametrize("place", Place)
async def test_connections_are_kept(world: World, place: Place) -> None:
    """Whatever is answered on them, by the application or by the proxy."""
    async with connected(world, place) as connection:
        for path, headers, body, expected in [
            ("/anything", {}, None, 200),
            ("/get", {}, None, 401),
            ("/get", bearer("a.b"), None, 401),
            ("/get", GOOD, None, 200),
            ("/strange", {}, None, 404),
            ("/nowhere", {}, None, 500),
            ("/post", GOOD, SMUGGLED, 200),
        ] * 5:
            connection.ask(path, headers, body)
            assert (await connection.answer())[0] == expected


@pytest.mark.parametrize("place", Place)
async def test_the_body_of_a_refused_request_is_no_request(world: World, place: Place) -> None:
    """It is not waited for: the connection ends behind the answer, which says so."""
    async with connected(world, place) as connection:
        connection.ask("/post", {}, SMUGGLED)
        connection.ask("/anything", {})
        assert await connection.answer() == (401, "close", MISSING.encode())
        with suppress(ConnectionResetError):  # there is something that nobody has read
            assert await connection.reader.read() == b""


# Changes of policies and routes


def traffic(**config: Any) -> Manifest:
    return {
        "apiVersion": "resilience.policy.gloo.solo.io/v2",
        "kind": "RetryTimeoutPolicy",
        "metadata": {"name": "traffic", "namespace": "httpbin"},
        "spec": {"applyToRoutes": [{"route": {"labels": LABEL}}], "config": config},
    }


Talk = Callable[[bytes], Awaitable[bytes]]
"""Says something to the other end of a stream, and returns what came back."""


async def chats(world: World, stack: AsyncExitStack) -> AsyncIterator[Talk]:
    """gRPC streams, through every entrance, open and protected."""
    for place in Place:
        client = await stack.enter_async_context(world.call(place))
        for package, metadata in ((OPEN, {}), (CLOSED, GOOD)):
            chat = client.chat(f"{package}/Chat", metadata)

            async def talk(message: bytes, chat: Any = chat) -> bytes:
                await chat.write(message)
                answer: bytes = await chat.read()
                return answer

            yield talk


async def websockets(world: World, stack: AsyncExitStack) -> AsyncIterator[Talk]:
    """WebSockets, likewise, in HTTP/1.1."""
    for place in Place:
        for path, headers in (("/open/ws", {}), ("/guarded/ws", GOOD)):
            socket = await stack.enter_async_context(world.websocket(place, path, headers))

            async def talk(message: bytes, socket: Any = socket) -> bytes:
                await socket.send(message)
                answer: bytes = await socket.recv()
                return answer

            yield talk


async def tunnels(world: World, stack: AsyncExitStack) -> AsyncIterator[Talk]:
    """CONNECT by the name of a Service, and by a table's route."""
    for host in (f"speaker.httpbin:{RAW}", "db.example.com:3306"):
        reader, writer = await asyncio.open_connection(*world.address(Place.SIDECAR))
        stack.callback(writer.close)
        writer.write(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        assert await reader.readline() == b"hello\n"

        async def talk(
            message: bytes, reader: asyncio.StreamReader = reader, writer: asyncio.StreamWriter = writer
        ) -> bytes:
            writer.write(message + b"\n")
            return (await reader.readline()).rstrip()

        yield talk


def database(*further: Manifest) -> Manifest:
    """A table whose connections are passed on."""
    to = {"destinations": [{"ref": {"name": "speaker"}, "port": {"number": RAW}}]}
    routes = [{"matchers": [{"port": 3306}], "forwardTo": to}]
    return route_table("database", hosts=["db.example.com"], workloadSelectors=[{}], tcp=routes, http=list(further))


def edits() -> Mapping[str, tuple[Manifest, ...]]:
    """What is applied while streams are open, one after the other; none of it would let the protected ones begin again."""
    refusing = policy(claims=[{"key": "org", "values": ["external"]}])
    elsewhere = forward("other", GRPC, **LABEL) | {"name": "elsewhere"}
    return {
        "a policy refuses the token": (refusing,),
        "a policy has other keys": (policy(providers={"dev": provider(jwks=public_jwks("other"))}),),
        "a policy is broken": (policy(providers={"dev": provider(jwks="nothing")}),),
        "a policy moves to the other phase": (
            policy(phase={"postAuthz": {"priority": 1}}, claims=[{"key": "org", "values": ["external"]}]),
        ),
        "a policy is for destinations": (
            jwt_policy("destination", applyToDestinations=[{}], config={"providers": {"dev": provider()}}),
        ),
        "a policy for retries": (refusing, traffic(retries={"attempts": 2}, requestTimeout="60s")),
        "a gateway has one more port": (gateway({"port": {"number": 31400}, "http": {}}),),
        "a table is added": (table(forward(), name="added", hosts=["added.example.com"]),),
        "a route is added to the host": (table(matching({"prefix": "/new"}, "httpbin", 8000), *ROUTES),),
        "a route is added to the other host": (database(forward()),),
        "the routes are gone": (table(elsewhere), database(forward())),
    }


async def test_streams_outlive_edits(world: World) -> None:
    """Of policies, tables and the very routes that they were begun on: none is reset, no connection is told to go.

    All are idle while something is edited, and go both ways afterwards.
    """
    message = 0
    async with AsyncExitStack() as stack:
        stack.push_async_callback(world.mesh.apply, table(), policy(), gateway())
        await world.mesh.apply(database())
        connections = [await stack.enter_async_context(world.http2(place)) for place in Place]
        talks = [talk for opened in (chats, websockets, tunnels) async for talk in opened(world, stack)]
        for name, manifests in edits().items():
            await world.mesh.apply(*manifests)
            for talk in talks:
                message += 1
                said = str(message).encode()
                assert await asyncio.wait_for(talk(said), 10) == said, name
            for connection in connections:
                await connection.request(HOST, "/get", headers=GOOD)
                assert (connection.goaways, connection.resets, connection.lost) == (0, 0, False), name
            async with world.call(Place.SIDECAR) as client:
                code, _ = await failure(client.call(f"{CLOSED}/Fail", b"", GOOD))
                assert code in {"UNAUTHENTICATED", "PERMISSION_DENIED"}, name
        await world.mesh.delete(database(), traffic(), table(forward(), name="added"), jwt_policy("destination"))
    assert len(talks) == 14


# Tunnels


async def test_tunnels_are_for_what_is_no_http(world: World) -> None:
    """To a port that speaks it, to an unknown one and at the edge they are refused."""

    async def ask(place: Place, host: str) -> bytes:
        reader, writer = await asyncio.open_connection(*world.address(place))
        writer.write(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        line = await reader.readline()
        writer.close()
        return line.split()[1]

    assert await ask(Place.SIDECAR, f"speaker.httpbin:{RAW}") == b"200"
    assert await ask(Place.SIDECAR, f"speaker.httpbin:{GRPC}") == b"404"
    assert await ask(Place.SIDECAR, f"{HOST}:80") == b"404"
    assert await ask(Place.SIDECAR, "nobody.httpbin:9002") in {b"404", b"502"}
    assert await ask(Place.EDGE, f"{HOST}:80") in {b"403", b"404"}


@pytest.mark.parametrize("host", [f"speaker.httpbin:{RAW}"])
async def test_tunnels_pass_in_http2(world: World, host: str) -> None:
    """As streams of one connection (RFC 9113 §8.5)."""
    async with world.http2(Place.SIDECAR) as client:
        streams = [client.start(host, None, method="CONNECT", body=None) for _ in range(5)]
        for stream in streams:
            assert (await client.until(stream, status=True)).status == 200
            assert (await client.until(stream, size=6)).text == "hello\n"
            client.send(stream, b"again\n")
            assert (await client.until(stream, size=12)).text == "hello\nagain\n"
