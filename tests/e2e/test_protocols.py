"""WebSocket, HTTP/2, HTTP/1.1 and tunnels through sidecars and gateways; and what is open while policies and routes change."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
import pytest_asyncio
from tests.support.jwt_objects import (
    DENIED,
    HOST,
    LABEL,
    MALFORMED,
    MISSING,
    Manifest,
    bearer,
    policy,
    provider,
)
from tests.support.objects import forward, jwt_policy, route_table
from tests.support.protocol_world import (
    CLOSED,
    GOOD,
    GRPC,
    MEBIBYTE,
    OPEN,
    RAW,
    ROUTES,
    TOKEN,
    WEB,
    Place,
    World,
    failure,
    gateway,
    instead,
    matching,
    run_world,
    table,
    traffic,
    trusting,
)
from tests.support.tokens import public_jwks
from tests.support.websocket_echo import PROTOCOL
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with run_world() as running:
        yield running


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


async def test_a_destination_asks_for_the_token(world: World) -> None:
    """Of WebSockets from sidecars and gateways; one in the query is taken out there too."""
    config = {"providers": {"dev": provider()}}
    selector = {"selector": {"name": "speaker"}, "port": {"number": WEB}}
    holds = jwt_policy("destination", applyToDestinations=[selector], config=config)
    async with world.mesh.having(holds):
        for place in Place:
            with pytest.raises(InvalidStatus) as info:
                await world.websocket(place, "/open/ws")
            assert info.value.response.status_code == 401
            async with world.websocket(place, f"/open/ws?auth_token={TOKEN}&room=1") as socket:
                await socket.send("target")
                assert await socket.recv() == "/open/ws?room=1"


# HTTP/2


async def test_websockets_pass_in_http2(world: World) -> None:
    """As streams of one connection (RFC 8441), through a sidecar; the application speaks HTTP/1.1, and wants the key of that."""
    async with world.http2(Place.SIDECAR) as client:
        assert await client.speaks_extended_connect()
        more: dict[str, Any] = {"method": "CONNECT", "protocol": "websocket", "body": None}
        version = {
            "sec-websocket-version": "13",
            "sec-websocket-protocol": PROTOCOL,
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        streams = [
            client.start(HOST, path, headers=version | headers, **more)
            for path, headers in (("/open/ws", {}), ("/guarded/ws", GOOD), (f"/guarded/ws?auth_token={TOKEN}", {}))
        ]
        for stream in streams:
            assert (await client.until(stream, status=True)).status == 200
            client.send(stream, Frame(Opcode.TEXT, b"hello").serialize(mask=True))
            assert (await client.until(stream, size=7)).body == b"\x81\x05hello"
        refused = await client.until(client.start(HOST, "/guarded/ws", headers=version, **more))
        assert (refused.status, refused.text) == (401, MISSING)
        assert (client.resets, client.goaways) == (0, 0)


@pytest.mark.parametrize("place", [Place.EDGE, Place.EDGE_TLS])
async def test_browsers_are_offered_no_websockets_in_http2(world: World, place: Place) -> None:
    """They would send no key, which Envoy does not make and applications ask for; so they take HTTP/1.1."""
    async with world.http2(place) as client:
        assert not await client.speaks_extended_connect()


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
