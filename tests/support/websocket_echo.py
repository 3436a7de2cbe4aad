"""WebSocketEcho: a WebSocket server that sends back what it gets, and closes as it is told to.

async with run_websocket_echo() as server:
    async with open_websocket(place, "ws://www.example.com/ws", headers) as client:
        await client.send("hello")

``close 4001 reason`` makes the server close; ``target`` and ``header <name>`` are answered with what the server saw.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

PROTOCOL = Subprotocol("echo.tests")
MAX_BYTES = 2**24
CLOSE_SECONDS = 0.2
"""So long one side waits for the other to close the connection, once both have said so; Envoy takes a second for it."""
Place = tuple[str, int]


class WebSocketEcho:
    """Use through ``run_websocket_echo``."""

    def __init__(self) -> None:
        self.port = 0
        self.targets: list[str] = []
        """Path and query of every handshake, in order."""
        self.open: set[ServerConnection] = set()
        """The connections that are open."""

    async def serve(self, connection: ServerConnection) -> None:
        """One connection, until either side ends it."""
        request = connection.request
        assert request is not None
        self.targets.append(request.path)
        self.open.add(connection)
        try:
            async for message in connection:
                await self._answer(connection, message)
        except ConnectionClosed:
            pass
        finally:
            self.open.discard(connection)

    async def _answer(self, connection: ServerConnection, message: str | bytes) -> None:
        request = connection.request
        assert request is not None
        match message.split(" ", 2) if isinstance(message, str) else ["binary"]:
            case ["close", code, reason]:
                await connection.close(int(code), reason)
            case ["target"]:
                await connection.send(request.path)
            case ["header", name]:
                await connection.send(",".join(request.headers.get_all(name)))
            case _:
                await connection.send(message)


@asynccontextmanager
async def run_websocket_echo() -> AsyncIterator[WebSocketEcho]:
    """Inside, it listens on a port of 127.0.0.1. It sends no pings of its own."""
    echo = WebSocketEcho()
    async with serve(
        echo.serve,
        "127.0.0.1",
        0,
        subprotocols=[PROTOCOL],
        ping_interval=None,
        max_size=MAX_BYTES,
        close_timeout=CLOSE_SECONDS,
    ) as server:
        echo.port = next(iter(server.sockets)).getsockname()[1]
        yield echo


def open_websocket(
    place: Place,
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    context: ssl.SSLContext | None = None,
    compression: str | None = "deflate",
) -> connect:
    """A connection to the URL by the proxy at ``place``, as a context manager; InvalidStatus where it is refused.

    ``wss:`` takes the context. The first line names the path alone, and Host the host, as without a proxy.
    """
    secured: dict[str, Any] = {"ssl": context} if context else {}
    return connect(
        url,
        host=place[0],
        port=place[1],
        additional_headers=headers,
        subprotocols=[PROTOCOL],
        compression=compression,
        ping_interval=None,
        proxy=None,
        max_size=MAX_BYTES,
        close_timeout=CLOSE_SECONDS,
        **secured,
    )
