"""What counts its changes: nobody who waits misses one, and nobody is woken for one that he has seen."""

from __future__ import annotations

import asyncio

from tests.support.identities import settle

from meshpass.observable import Observable


class Value(Observable):
    """One value."""

    def __init__(self) -> None:
        super().__init__()
        self.value = 0

    def set(self, value: int) -> None:
        self.value = value
        self._count_change()


async def test_a_change_that_was_missed_is_told_at_once():
    value = Value()
    value.set(1)
    value.set(2)

    async with asyncio.timeout(1):
        assert await value.wait_changed(0) == 2


async def test_everyone_who_waits_is_woken_and_sees_the_change():
    value = Value()
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(value.wait_changed(value.revision)) for _ in range(3)]
        await settle()
        assert not any(one.done() for one in waiting)
        value.set(7)
    assert ([one.result() for one in waiting], value.value) == ([1, 1, 1], 7)


async def test_a_change_that_was_seen_wakes_nobody():
    value = Value()
    value.set(1)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(value.wait_changed(value.revision))
        await settle()
        assert not waiting.done()
        waiting.cancel()
