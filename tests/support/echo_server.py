"""Applications that say back the first line and the headers of any request, on whatever path.

async with run_echoes("httpbin", "canary") as ports:
    ...  # the answer's x-upstream is the name, its JSON has "target", "method" and "headers"
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import httptools
from tests.support.http_client import UPSTREAM


class _Echo(asyncio.Protocol):
    """One connection; requests on it follow each other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: list[tuple[str, str]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._target, self._headers = b"", []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_message_complete(self) -> None:
        told = {
            "method": self._parser.get_method().decode(),
            "target": self._target.decode("latin-1"),
            "headers": self._headers,
        }
        body = json.dumps(told).encode()
        head = f"HTTP/1.1 200 OK\r\n{UPSTREAM}: {self._name}\r\ncontent-length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


@asynccontextmanager
async def run_echoes(*names: str) -> AsyncIterator[Mapping[str, int]]:
    """Inside, one listens for each name; the names with their ports."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        ports = {}
        for name in names:
            server = await loop.create_server(lambda name=name: _Echo(name), "127.0.0.1", 0)  # type: ignore[misc]
            stack.callback(server.close)
            ports[name] = int(server.sockets[0].getsockname()[1])
        yield ports
