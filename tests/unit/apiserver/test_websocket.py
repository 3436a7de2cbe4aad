"""WebSockets of the server: quiet in logs, and not taken for idle connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from tests.support.apiserver import TOKEN

from meshpass.apiserver.server import _listen
from meshpass.apiserver.websocket import QuietWebSocket
from meshpass.httpserver import HttpServer

KEEP_ALIVE = 0.2
UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers requests, refuses the WebSocket ``/no``, and after a while says something on others."""
    if scope["type"] == "http" or scope["path"] == "/no":
        await JSONResponse({"no": 1}, 403)(scope, receive, send)
        return
    socket = WebSocket(scope, receive, send)
    await socket.accept()
    await asyncio.sleep(KEEP_ALIVE * 3)
    await socket.send_bytes(b"still here")
    await socket.close()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    listener = _listen("127.0.0.1", 0)
    server = HttpServer(application, ws=QuietWebSocket, ws_ping_interval=None, timeout_keep_alive=KEEP_ALIVE)
    async with asyncio.TaskGroup() as group:
        serving = await server.start(listener, group)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        try:
            async with asyncio.timeout(15):
                yield reader, writer
        finally:
            writer.close()
            await server.stop(serving)


async def test_a_connection_that_was_used_before_stays_open():
    """A WebSocket on it is no request that is awaited, however long it says nothing."""
    async with connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b'{"no":1}')
        writer.write(UPGRADE % b"/yes")
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        assert await reader.readuntil(b"still here")


async def test_no_log_has_the_url(caplog: pytest.LogCaptureFixture):
    """Nor complains of a refusal, which is an answer."""
    caplog.set_level(logging.DEBUG)
    for path, code, end in ((b"/yes", b" 101 ", b"still here"), (b"/no", b" 403 ", b'{"no":1}')):
        async with connected() as (reader, writer):
            writer.write(UPGRADE % (path + b"?command=" + TOKEN.encode()))
            assert code in await reader.readuntil(b"\r\n\r\n")
            await reader.readuntil(end)
    assert TOKEN not in caplog.text
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


async def test_another_protocol_is_the_applications_matter(caplog: pytest.LogCaptureFixture):
    """SPDY, say: what the application answers counts, and nobody is warned."""
    async with connected() as (reader, writer):
        writer.write(b"POST /no HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
        assert b" 403 " in await reader.readuntil(b"\r\n\r\n")
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize(
    ("change", "code"),
    [((b"/yes", b"/yes?" + b"x" * 9000), b" 414 "), ((b"\r\n\r\n", b"\r\n" + b"a: b\r\n" * 200 + b"\r\n"), b" 431 ")],
    ids=["long URL", "many headers"],
)
async def test_a_handshake_that_cannot_be_read_is_answered(change, code):
    """And the connection is closed: nobody waits for ever."""
    async with connected() as (reader, writer):
        writer.write((UPGRADE % b"/yes").replace(*change))
        assert code in await reader.read()
