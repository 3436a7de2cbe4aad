"""Observable: what counts its changes, so that others can wait for the next one."""

from __future__ import annotations

import asyncio


class Observable:
    """The base of what changes. Not thread-safe: it lives in one event loop."""

    def __init__(self) -> None:
        self._revision = 0
        self._changed = asyncio.Event()

    @property
    def revision(self) -> int:
        """How many changes there were."""
        return self._revision

    async def wait_changed(self, after_revision: int) -> int:
        """Return the revision as soon as it is above ``after_revision``: at once if that has happened already."""
        while self._revision <= after_revision:
            await self._changed.wait()
        return self._revision

    def _count_change(self) -> None:
        """Whoever waits is woken, and sees everything that was changed before this call."""
        self._revision += 1
        self._changed.set()
        self._changed = asyncio.Event()
