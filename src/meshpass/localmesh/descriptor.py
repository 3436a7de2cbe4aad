"""Descriptor: one end of a pipe, or a terminal, read and written without blocking the event loop."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from typing import Any


class Descriptor:
    """A file descriptor of ours. What is not read stays with the system, so its writer waits."""

    def __init__(self, number: int) -> None:
        os.set_blocking(number, False)
        self.number = number
        self._loop = asyncio.get_running_loop()
        self._reading: asyncio.Future[None] | None = None
        self._final = False

    async def read(self, size: int) -> bytes:
        """The next bytes, at most ``size``; empty at the end. One task at a time."""
        while True:
            # The loop is asked each time: a fast writer leaves time to everything else.
            await self._wait_readable()
            try:
                return os.read(self.number, size)
            except BlockingIOError:
                if self._final:
                    return b""
            except OSError as error:
                if error.errno == errno.EIO:  # a terminal that nobody has open any more (Linux)
                    return b""
                raise

    async def write(self, data: bytes) -> None:
        """The system has all of the data. Raises BrokenPipeError where nobody reads."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self.number, left) :]
            except BlockingIOError:
                await self._wait_writable()

    def finish(self) -> None:
        """Reading ends where there is nothing to read right now: who wrote has ended, whoever else holds the other end."""
        self._final = True
        if self._reading is not None:
            _wake(self._reading)

    def close(self) -> None:
        """The descriptor is closed; nobody reads or writes any more."""
        if self.number >= 0:
            os.close(self.number)
            self.number = -1

    async def _wait_readable(self) -> None:
        if self._final:
            await asyncio.sleep(0)
            return
        self._reading = self._loop.create_future()
        try:
            await self._watch(self._loop.add_reader, self._loop.remove_reader, self._reading)
        finally:
            self._reading = None

    async def _wait_writable(self) -> None:
        await self._watch(self._loop.add_writer, self._loop.remove_writer, self._loop.create_future())

    async def _watch(
        self, add: Callable[..., Any], remove: Callable[[int], Any], happened: asyncio.Future[None]
    ) -> None:
        add(self.number, _wake, happened)
        try:
            await happened
        finally:
            remove(self.number)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
