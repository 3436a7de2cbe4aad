"""HttpServer: an ASGI application served inside a program that has its own event loop and its own signals."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

_GRACE_SECONDS = 0.3


class HttpServer(uvicorn.Server):
    """uvicorn as a part of a program: signals are the program's, starting and stopping are awaited."""

    def __init__(self, application: Any, **options: Any) -> None:
        """``options`` are uvicorn's own; no access log, no lifespan, no WebSockets unless asked."""
        defaults = {"http": "httptools", "ws": "none", "lifespan": "off", "access_log": False, "log_config": None}
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
            await asyncio.wait({serving}, timeout=_GRACE_SECONDS)
        serving.cancel()
