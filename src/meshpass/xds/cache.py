"""SnapshotCache: the target of every node, and how far the streams of that node are."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from meshpass.envoy.snapshot import Snapshot
from meshpass.ir import ObjectRef
from meshpass.observable import Observable
from meshpass.xds.event import Rejected
from meshpass.xds.memory import NOTHING, Memory, outline
from meshpass.xds.subscription import REMEMBERED

MAX_GIVEN = 4
"""Targets that are remembered of a node that is not in sync: the first, and the newest."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """One resource that a node refuses; it keeps the last version that it accepted."""

    type_url: str
    names: tuple[str, ...]
    versions: tuple[str, ...]
    """Empty where a removal was refused."""
    message: str
    """The client's own words."""
    sources: frozenset[ObjectRef]
    """Who is to blame: the sources that the acknowledged version of the resource did not have, else all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """How far a node is."""

    streams: int
    target: Snapshot | None
    in_sync: bool
    """True when at least one stream is connected and every one has acknowledged the whole target."""
    rejections: tuple[Rejection, ...]
    since: float | None = None
    """When it became connected or not, in sync or not, in seconds since 1970; None for a node that nobody has heard of."""


class StreamEntry:
    """One connected stream of a node. Its server reports through ``report`` and says ``close`` when it ends."""

    def __init__(self, cache: SnapshotCache, node: str, retarget: Callable[[Snapshot], None]) -> None:
        self._cache = cache
        self.node = node
        self.retarget = retarget
        self.in_sync_with: Snapshot | None = None
        self.rejections: tuple[Rejection, ...] = ()
        self._refused: tuple[Rejected, ...] = ()

    def report(self, *, in_sync_with: Snapshot | None, rejections: tuple[Rejected, ...]) -> None:
        """Make this the state of the stream. Whoever waits for a change is told if it is one."""
        self._refused = rejections
        told = tuple(_rejection(rejected) for rejected in rejections)
        if in_sync_with is not self.in_sync_with or told != self.rejections:
            self.in_sync_with, self.rejections = in_sync_with, told
            self._cache.note_change(self.node)

    def close(self, left: tuple[Snapshot, ...] = ()) -> None:
        """Forget the stream, but not what the client was left with: see ``Memory``."""
        self._cache.disconnect(self, left, tuple(one for one in self._refused if one.type_url in REMEMBERED))


class SnapshotCache(Observable):
    """Holds the target Snapshot of every node. Not thread-safe: it lives in one event loop.

    ``revision`` counts the changes of what ``state`` answers for any node.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._clock = clock
        self._targets: dict[str, Snapshot] = {}
        self._streams: dict[str, list[StreamEntry]] = {}
        self._logged: dict[str, set[Rejection]] = {}
        self._since: dict[str, tuple[tuple[bool, bool], float]] = {}
        self._memories: dict[str, Memory] = {}

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node that has a target or a stream, sorted."""
        return tuple(sorted({*self._targets, *self._streams}))

    def set(self, snapshot: Snapshot) -> None:
        """Make the snapshot the target of its node; its streams have their next responses queued on return."""
        node = snapshot.node
        self._targets[node] = snapshot
        memory = self.recall(node)
        given = (*memory.given, outline(snapshot))
        self._memories[node] = replace(
            memory, given=given if len(given) <= MAX_GIVEN else (given[0], *given[-MAX_GIVEN + 1 :])
        )
        self.note_change(node)
        for entry in tuple(self._streams.get(node, ())):
            entry.retarget(snapshot)

    def remove(self, node: str) -> None:
        """Forget the node's target. Connected streams keep what they have: losing a target must open no route."""
        if self._targets.pop(node, None) is not None:
            self._memories.pop(node, None)
            self.note_change(node)

    def state(self, node: str) -> NodeState:
        """How far the node is; also for a node that nobody has heard of."""
        entries = self._streams.get(node, [])
        target = self._targets.get(node)
        rejections = dict.fromkeys(rejection for entry in entries for rejection in entry.rejections)
        return NodeState(
            streams=len(entries),
            target=target,
            in_sync=target is not None and bool(entries) and all(entry.in_sync_with is target for entry in entries),
            rejections=tuple(rejections),
            since=self._since[node][1] if node in self._since else None,
        )

    def connect(self, node: str, retarget: Callable[[Snapshot], None]) -> StreamEntry:
        """Enter a new stream of the node. ``retarget`` is called with its target now, if there is one, and on every set."""
        entry = StreamEntry(self, node, retarget)
        self._streams.setdefault(node, []).append(entry)
        self.note_change(node)
        if (target := self._targets.get(node)) is not None:
            retarget(target)
        return entry

    def recall(self, node: str) -> Memory:
        """What is remembered of the node between its streams."""
        return self._memories.get(node, NOTHING)

    def disconnect(self, entry: StreamEntry, left: tuple[Snapshot, ...], refused: tuple[Rejected, ...]) -> None:
        """Forget the stream; remember what it left."""
        entries = self._streams[entry.node]
        entries.remove(entry)
        if not entries:
            del self._streams[entry.node]
        if entry.node in self._memories:
            self._memories[entry.node] = replace(
                self._memories[entry.node], left=tuple(map(outline, left)), refused=refused
            )
        self.note_change(entry.node)

    def note_change(self, node: str) -> None:
        """Wake up whoever waits, and log what the node refuses that was not logged since it was last in sync."""
        self._count_change()
        state = self.state(node)
        self._note_since(node, state)
        if state.in_sync:
            self._memories[node] = Memory(given=self.recall(node).given[-1:])
        logged = self._logged.setdefault(node, set())
        for rejection in state.rejections:
            if rejection not in logged:
                logged.add(rejection)
                logger.warning(
                    "resource rejected",
                    extra={
                        "node": node,
                        "type_url": rejection.type_url,
                        "resources": rejection.names,
                        "versions": rejection.versions,
                        "error": rejection.message,
                        "sources": sorted(str(source) for source in rejection.sources),
                    },
                )
        if state.in_sync or not logged or (state.target is None and not state.streams):
            del self._logged[node]

    def _note_since(self, node: str, state: NodeState) -> None:
        if state.target is None and not state.streams:
            self._since.pop(node, None)
            return
        how = (state.streams > 0, state.in_sync)
        if node not in self._since or self._since[node][0] != how:
            self._since[node] = (how, self._clock())


def _rejection(rejected: Rejected) -> Rejection:
    return Rejection(
        type_url=rejected.type_url,
        names=(*(resource.name for resource in rejected.resources), *rejected.removed),
        versions=tuple(resource.version for resource in rejected.resources),
        message=rejected.message,
        sources=rejected.sources,
    )
