"""Bell: rings whenever a peer may have to be told something."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from meshpass.kube.store import ObjectStore
from meshpass.observable import Observable
from meshpass.relay.facts import Facts
from meshpass.xds.remote import RemoteStates


class Bell(Observable):
    """Waits for store, states of proxies and facts at once, for as many as listen; ``revision`` counts its rings."""

    def __init__(self, store: ObjectStore, states: tuple[RemoteStates, ...], facts: Facts) -> None:
        super().__init__()
        self._store = store
        self._states = states
        self._facts = facts

    async def run(self) -> NoReturn:
        """Rings until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_store())
            tasks.create_task(self._follow_facts())
            for states in self._states:
                tasks.create_task(self._follow_states(states))
        raise AssertionError("the loops never return")

    async def _follow_store(self) -> NoReturn:
        seen = -1
        while True:
            await self._store.wait_until(lambda seen=seen: self._store.changes != seen)  # type: ignore[misc]
            seen = self._store.changes
            self._count_change()

    async def _follow_facts(self) -> NoReturn:
        seen = -1
        while True:
            seen = await self._facts.wait_changed(seen)
            self._count_change()

    async def _follow_states(self, states: RemoteStates) -> NoReturn:
        seen = -1
        while True:
            seen = await states.wait_changed(seen)
            self._count_change()
