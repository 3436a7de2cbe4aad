"""HttpServer: an ASGI application served inside a program that has its own event loop and its own signals."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_GRACE_SECONDS = 0.3
_HEAD_SECONDS = 10.0
_HEAD_BYTES = 64 * 1024
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose request heads end: within 10 seconds, and within 64 KiB.

    uvicorn's own waits for ever and keeps all that comes, from clients that have not said yet who they are.
    """

    _head: asyncio.TimerHandle | None = None
    _size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first head is awaited."""
        super().connection_made(transport)
        self._head = self.loop.call_later(_HEAD_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited."""
        super().connection_lost(exc)
        self._end_head()

    def data_received(self, data: bytes) -> None:
        """A head that is too long is answered 431 (RFC 6585 section 5), and the connection closed."""
        super().data_received(data)
        if self._head is None:
            self._size = 0
            ours = self in self.connections  # not upgraded to another protocol
            if (
                ours
                and self.timeout_keep_alive_task is None
                and self.cycle is not None
                and self.cycle.response_complete
            ):
                # Bytes between requests that begin none: uvicorn forgot its timer over them.
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )
            return
        self._size += len(data)
        if self._size > _HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """The time of a head that follows another request starts with its first byte."""
        super().on_message_begin()
        if self._head is None:
            self._head = self.loop.call_later(_HEAD_SECONDS, self.transport.abort)

    def on_headers_complete(self) -> None:
        """The head was in time."""
        self._end_head()
        super().on_headers_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """What a client would rather speak is between it and the application, and nothing to warn of."""

    def _end_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


class HttpServer(uvicorn.Server):
    """uvicorn as a part of a program: signals are the program's, starting and stopping are awaited."""

    def __init__(self, application: Any, **options: Any) -> None:
        """``options`` are uvicorn's own; heads are bounded; no access log, no lifespan, no WebSockets unless asked."""
        defaults = {"http": BoundedProtocol, "ws": "none", "lifespan": "off", "access_log": False, "log_config": None}
        config = uvicorn.Config(application, **{**defaults, "server_header": False, **options})
        super().__init__(config)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def start(self, listener: socket.socket, group: asyncio.TaskGroup) -> asyncio.Task[None]:
        """Connections on ``listener`` are accepted; the returned task of ``group`` serves them.

        Raises what kept the server from starting; files that ``options`` name are read before anything is started.
        """
        self.config.load()
        serving = group.create_task(self.serve([listener]))
        while not self.started and not serving.done():  # noqa: ASYNC110 - uvicorn has a flag, and no event
            await asyncio.sleep(0)
        if serving.done():
            serving.result()
        return serving

    async def stop(self, serving: asyncio.Task[None]) -> None:
        """No connection is open; requests had 0.3 s to end by themselves."""
        self.should_exit = True
        await asyncio.wait({serving}, timeout=_GRACE_SECONDS)
        if not serving.done():
            self.force_exit = True
            for task in tuple(self.server_state.tasks):
                task.cancel()
            for connection in tuple(self.server_state.connections):
                # A TLS connection whose client does not read would never have been closed politely.
                connection.transport.abort()
            await asyncio.wait({serving}, timeout=_GRACE_SECONDS)
        serving.cancel()
