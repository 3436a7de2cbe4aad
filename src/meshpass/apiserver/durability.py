"""Durability: commits reach the disk before they are acknowledged, without the event loop waiting for the disk.

A commit appends to SQLite's write-ahead log, which survives SIGKILL as it is. Against a power cut the log is synced
here, in a thread: one sync serves every commit that was made before it began, so many writers wait no longer than one.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path


class Durability:
    """Syncs one write-ahead log."""

    def __init__(self, log: Path) -> None:
        """``log`` is there, and stays the same file for as long as the database is open."""
        self._descriptor = os.open(log, os.O_RDONLY)
        self._asked = 0
        self._synced = 0
        self._running: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Everything that was committed before the call is on the disk. Raises OSError if the disk refuses."""
        self._asked += 1
        mine = self._asked
        while self._synced < mine:
            if self._running is None:
                self._running = asyncio.get_running_loop().create_future()
                await self._sync(self._running)
            else:
                await asyncio.shield(self._running)

    async def _sync(self, running: asyncio.Future[None]) -> None:
        covered = self._asked
        try:
            await asyncio.to_thread(os.fdatasync, self._descriptor)
            self._synced = covered
        finally:
            self._running = None
            running.set_result(None)

    def close(self) -> None:
        """Nothing is synced any more; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
