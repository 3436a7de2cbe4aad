"""What the cache knows of a node, and whom it tells."""

from __future__ import annotations

import asyncio

import pytest

from meshpass.envoy.snapshot import CLUSTER, EXTENSION_CONFIG, ROUTES, Resource, Snapshot
from meshpass.ir import ObjectRef, Proxy
from meshpass.xds.cache import SnapshotCache
from meshpass.xds.event import Rejected

NODE = "sidecar~c~n~w"
SOURCE = ObjectRef("RouteTable", "c", "n", "t")


def snapshot() -> Snapshot:
    return Snapshot(proxy=Proxy(node=NODE))


def rejected(version: str = "1", message: str = "bad") -> Rejected:
    resource = Resource(type_url=CLUSTER, name="a", version=version, wire=b"w")
    return Rejected(type_url=CLUSTER, message=message, resources=(resource,), removed=(), sources=frozenset({SOURCE}))


def test_an_unknown_node_has_an_empty_state() -> None:
    """Nobody heard of it: no stream, no target, not in sync."""
    state = SnapshotCache().state(NODE)

    assert (state.streams, state.target, state.in_sync, state.rejections) == (0, None, False, ())


def test_nodes_are_those_with_a_target_or_a_stream() -> None:
    """Sorted, each once, gone with the last of both."""
    cache = SnapshotCache()
    cache.set(snapshot())
    entry = cache.connect("a", lambda _: None)
    cache.connect(NODE, lambda _: None)
    assert cache.nodes == ("a", NODE)

    entry.close()
    assert cache.nodes == (NODE,)


def test_streams_are_told_the_target_on_connecting_and_on_set() -> None:
    """Each set reaches each stream of that node, and no other."""
    cache = SnapshotCache()
    first, second = snapshot(), snapshot()
    told: list[tuple[str, Snapshot]] = []
    cache.connect("other", lambda target: told.append(("other", target)))
    cache.connect(NODE, lambda target: told.append(("early", target)))
    cache.set(first)
    cache.connect(NODE, lambda target: told.append(("late", target)))
    cache.set(second)

    assert [(who, target is second) for who, target in told] == [
        ("early", False),
        ("late", False),
        ("early", True),
        ("late", True),
    ]


def test_in_sync_means_every_stream_with_the_current_target() -> None:
    """One stream behind, a newer target or no stream at all: not in sync."""
    cache = SnapshotCache()
    target = snapshot()
    cache.set(target)
    assert not cache.state(NODE).in_sync
    one, other = (cache.connect(NODE, lambda _: None) for _ in range(2))
    one.report(in_sync_with=target, rejections=())
    assert not cache.state(NODE).in_sync
    other.report(in_sync_with=target, rejections=())
    assert cache.state(NODE).in_sync
    cache.set(snapshot())

    assert not cache.state(NODE).in_sync


def test_removing_a_target_tells_no_stream() -> None:
    """Streams keep what they have; the node has no target any more. Removing twice is removing once."""
    cache = SnapshotCache()
    told: list[Snapshot] = []
    cache.connect(NODE, told.append)
    cache.set(snapshot())
    cache.remove(NODE)
    revision = cache.revision
    cache.remove(NODE)

    assert len(told) == 1
    assert cache.state(NODE).target is None
    assert cache.revision == revision


def test_equal_rejections_of_two_streams_are_one(caplog: pytest.LogCaptureFixture) -> None:
    """Told once, logged once, with who is to blame; a retry after a reconnect is not logged again."""
    cache = SnapshotCache()
    cache.set(snapshot())
    entries = [cache.connect(NODE, lambda _: None) for _ in range(2)]
    for entry in entries:
        entry.report(in_sync_with=None, rejections=(rejected(),))
    (rejection,) = cache.state(NODE).rejections
    assert (rejection.names, rejection.versions, rejection.sources) == (("a",), ("1",), {SOURCE})
    for entry in entries:
        entry.close()
    assert cache.state(NODE).rejections == ()
    cache.connect(NODE, lambda _: None).report(in_sync_with=None, rejections=(rejected(),))

    assert [(r.getMessage(), r.node, r.error, r.sources) for r in caplog.records] == [
        ("resource rejected", NODE, "bad", [str(SOURCE)])
    ]


def test_a_rejection_after_being_in_sync_is_logged_anew(caplog: pytest.LogCaptureFixture) -> None:
    """Once the node accepted everything, the same refusal is news."""
    cache = SnapshotCache()
    target = snapshot()
    cache.set(target)
    entry = cache.connect(NODE, lambda _: None)
    for _ in range(2):
        entry.report(in_sync_with=None, rejections=(rejected(),))
        entry.report(in_sync_with=target, rejections=())

    assert len(caplog.records) == 2


def test_what_a_node_refused_that_is_gone_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """Once its stream has ended too: pods come and go for years. Losing its target is no reason to log it again."""
    cache = SnapshotCache()
    for times in (1, 2):
        cache.set(snapshot())
        entry = cache.connect(NODE, lambda _: None)
        entry.report(in_sync_with=None, rejections=(rejected(),))
        cache.remove(NODE)
        assert len(caplog.records) == times
        entry.close()


async def test_waiting_misses_no_change() -> None:
    """A change since the given revision returns at once; otherwise the next one does; equal reports are none."""
    cache = SnapshotCache()
    before = cache.revision
    cache.set(snapshot())
    assert await cache.wait_changed(before) == cache.revision
    entry = cache.connect(NODE, lambda _: None)
    before = cache.revision
    entry.report(in_sync_with=None, rejections=())
    assert cache.revision == before

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(cache.wait_changed(before))
        await asyncio.sleep(0)
        assert not waiting.done()
        entry.close()
    assert waiting.result() == before + 1


def numbered(number: int) -> Snapshot:
    resource = Resource(type_url=ROUTES, name="a", version=str(number), wire=b"large")
    return Snapshot(proxy=Proxy(node=NODE), resources={ROUTES: {"a": resource}})


def versions(given: tuple[Snapshot, ...]) -> list[str]:
    return [one.of(ROUTES)["a"].version for one in given]


def test_what_a_node_was_given_is_remembered_until_it_has_the_newest() -> None:
    """The first of it, which is what an Envoy has that lived on while the control plane was away, and the last ones."""
    cache = SnapshotCache()
    for number in range(6):
        cache.set(numbered(number))
    given = cache.recall(NODE).given
    assert versions(given) == ["0", "3", "4", "5"]
    assert all(one.wire == b"" for snapshot in given for one in snapshot.of(ROUTES).values())

    target = cache.state(NODE).target
    cache.connect(NODE, lambda _: None).report(in_sync_with=target, rejections=())
    assert versions(cache.recall(NODE).given) == ["5"]
    cache.remove(NODE)
    assert cache.recall(NODE).given == ()


def test_what_a_stream_left_is_remembered_until_the_node_is_in_sync() -> None:
    """What the client had and what was on its way; of what it refused, that which it remembers itself."""
    cache = SnapshotCache()
    cache.set(numbered(2))
    bad = Resource(type_url=EXTENSION_CONFIG, name="a", version="2", wire=b"w")
    refused = Rejected(type_url=EXTENSION_CONFIG, message="bad", resources=(bad,), removed=(), sources=frozenset())
    entry = cache.connect(NODE, lambda _: None)
    entry.report(in_sync_with=None, rejections=(rejected(), refused))
    entry.close((numbered(1), numbered(2)))
    memory = cache.recall(NODE)
    assert (versions(memory.left), memory.refused) == (["1", "2"], (refused,))

    entry = cache.connect(NODE, lambda _: None)
    entry.report(in_sync_with=cache.state(NODE).target, rejections=())
    assert (cache.recall(NODE).left, cache.recall(NODE).refused) == ((), ())
