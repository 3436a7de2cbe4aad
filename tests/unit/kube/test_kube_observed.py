from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.fake_kube import FakeClock, FakeKube, wait_for

from meshpass.api.kinds import CORE_KINDS
from meshpass.errors import ApiError
from meshpass.kube.informer import Informer
from meshpass.kube.observed import wait_observed
from meshpass.kube.store import ObjectStore

SECRET = next(kind for kind in CORE_KINDS if kind.kind == "Secret")
SERVICE = next(kind for kind in CORE_KINDS if kind.kind == "Service")


class Rig:
    """A store that two informers fill from one server, whose watches a test can hold back."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.server = FakeKube([SECRET, SERVICE])
        self.client = self.server.client(self.clock)
        self.store = ObjectStore()
        self.store.expect("cluster1", [SECRET, SERVICE])
        self.held: list = []

    def hold_watches(self) -> None:
        """What happens from now on reaches no watch."""
        self.held, self.server.streams = self.server.streams, []

    def release_watches(self) -> None:
        """The watches are lost, and resumed."""
        self.server.streams = self.held
        self.server.break_watches()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    rig.server.put("secrets", "a")
    rig.server.put("secrets", "b")
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        informers = [Informer(rig.client, kind, rig.store, sleep=rig.clock.sleep) for kind in (SECRET, SERVICE)]
        running = [tasks.create_task(informer.run()) for informer in informers]
        await rig.store.wait_synced()
        await wait_for(lambda: len(rig.server.streams) == 2)
        yield rig
        for task in running:
            task.cancel()


async def late(rig: Rig) -> bool:
    """True when waiting began, did not end while the watches were held, and ended after their release."""
    rig.server.requests.clear()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(wait_observed([rig.client], rig.store))
        await wait_for(lambda: len(rig.server.requests) == 2)
        for _ in range(20):
            await asyncio.sleep(0)
        held = not waiting.done()
        rig.release_watches()
        await waiting
    return held


async def test_observed_returns_at_once_when_nothing_is_outstanding(rig):
    revision = await wait_observed([rig.client], rig.store)
    assert revision == rig.store.revision
    assert all("PartialObjectMetadataList" in request.headers["accept"] for request in rig.server.requests[-2:])


async def test_observed_waits_for_a_new_object(rig):
    rig.hold_watches()
    rig.server.put("services", "s")
    assert await late(rig)
    assert len(rig.store.versions("cluster1", "Service")) == 1


async def test_observed_waits_for_a_change(rig):
    rig.hold_watches()
    rig.server.put("secrets", "a", data={"k": "dg=="})
    assert await late(rig)


async def test_observed_waits_for_a_deletion(rig):
    rig.hold_watches()
    rig.server.remove("secrets", "b")
    assert await late(rig)
    assert {key.name for key in rig.store.versions("cluster1", "Secret")} == {"a"}


async def test_observed_does_not_wait_for_an_object_that_came_and_went(rig):
    rig.hold_watches()
    rig.server.put("secrets", "c")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(wait_observed([rig.client], rig.store))
        seen = len(rig.server.requests)
        await wait_for(lambda: len(rig.server.requests) >= seen + 2)
        rig.server.remove("secrets", "c")
        rig.server.remove("secrets", "b")
        rig.release_watches()
        await waiting
    assert {key.name for key in rig.store.versions("cluster1", "Secret")} == {"a"}


async def test_observed_waits_for_a_kind_that_was_never_listed(rig):
    fresh = ObjectStore()
    fresh.expect("cluster1", [SERVICE])
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(wait_observed([rig.client], fresh))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not waiting.done()
        fresh.replace("cluster1", SERVICE, [], "200")
        await waiting


async def test_observed_fails_when_a_server_cannot_be_asked(rig):
    rig.server.down = True
    with pytest.raises(ApiError) as error:
        await wait_observed([rig.client], rig.store)
    assert error.value.code == 0
