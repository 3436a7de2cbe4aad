"""ObjectStore: what all API servers hold, as one immutable ObjectSet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.kube.essence import Essence
from meshpass.kube.label import Label, parse_label
from meshpass.kube.objectlog import Changes, ObjectLog, Restored, Row
from meshpass.kube.resource import Raw, ResourceKind
from meshpass.kube.stored import (
    KIND_BY_NAME,
    Source,
    Stored,
    key_of,
    read_relayed,
    read_restored,
    read_stored,
    row_of,
)

__all__ = ["RELAYED", "Batch", "ObjectStore", "Source", "Stored"]

RELAYED = "Relay"
"""In the place of a kind: all that another process has to tell."""
_NO_ESSENCES: Mapping[ObjectKey, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What another process told of clusters that it, or a third one, reads: applied as a whole or not at all."""

    upserts: Mapping[ObjectKey, Essence] = field(default_factory=dict)
    deletes: frozenset[ObjectKey] = frozenset()
    labels: Mapping[str, str | None] = field(default_factory=dict)
    """Cluster → label of what its objects are with this batch; None for a cluster that is no more."""


class ObjectStore:
    """The merged state of all clusters.

    - `objects` is replaced, never changed; what arrives in one turn of the event loop becomes one new ObjectSet.
    - `revision` rises by one per ObjectSet that differs. A change of nothing but a status that we write, of
      managedFields or of a resourceVersion makes none: our own status writes must not cause a translation.
    - An object that did not change is the same instance in the next ObjectSet.
    - Nothing is removed unless an API server said so (by a DELETED event, or by a list without the object), or whoever
      relays the objects of the cluster.
    - `revisions` says for every cluster which state of its objects `objects` has. A label may change where `revision`
      does not: then the objects that the process may see are the same in both states.
    - With a log, what is in `objects` is on disk before anybody can see it.
    """

    def __init__(
        self, *, keeps_essences: bool = False, log: ObjectLog | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """``keeps_essences`` for processes that pass objects on; ``log`` for what has to outlive them; ``clock`` for labels."""
        self._keeps_essences = keeps_essences or log is not None
        self._log = log
        self._objects = ObjectSet.empty()
        self._revision = 0
        self._changes = 0
        self._stored: dict[Source, dict[ObjectKey, Stored]] = {}
        self._progress: dict[Source, str] = {}
        self._kinds: dict[Source, ResourceKind] = {}
        self._expected: dict[Source, None] = {}
        self._complete: set[Source] = set()
        self._essences: Mapping[str, Mapping[ObjectKey, bytes]] = MappingProxyType({})
        self._label = Label(int(clock() * 1000), 0)
        self._labels: dict[str, str] = {}
        self._revisions: Mapping[str, str] = MappingProxyType({})
        self._pending: list[Callable[[], None]] = []
        self._touched: dict[ObjectKey, Stored | None] = {}
        self._rows: dict[ObjectKey, Row | None] = {}
        self._told: dict[str, str | None] = {}
        self._completed: set[Source] = set()
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def objects(self) -> ObjectSet:
        """The objects of all clusters, as last applied."""
        return self._objects

    @property
    def revision(self) -> int:
        """How many ObjectSets there were before this one."""
        return self._revision

    @property
    def revisions(self) -> Mapping[str, str]:
        """Cluster → label of its objects in `objects`, for every cluster of which everything is known; never changed in place."""
        return self._revisions

    @property
    def changes(self) -> int:
        """Rises whenever `objects`, `revisions`, `essences` or `synced` may have changed."""
        return self._changes

    @property
    def essences(self) -> Mapping[str, Mapping[ObjectKey, bytes]]:
        """Kind → object → its essence, where essences are kept; the mapping of a kind is the same until one of them changes."""
        return self._essences

    def expect(self, cluster: str, kinds: Iterable[ResourceKind]) -> None:
        """The store is synced only once these have been listed too. From now on the cluster is this process's own."""
        for kind in kinds:
            source = Source(cluster, kind.kind)
            self._kinds[source] = kind
            self._expected[source] = None
        self._publish_labels()

    def expect_relayed(self, server: str) -> None:
        """The store is synced only once ``server`` has told everything that it has to tell."""
        self._expected[Source(server, RELAYED)] = None

    def kinds(self, cluster: str) -> tuple[ResourceKind, ...]:
        """The kinds that are read from the cluster."""
        return tuple(kind for source, kind in self._kinds.items() if source.cluster == cluster)

    def is_own(self, cluster: str) -> bool:
        """True for a cluster whose API server this process reads."""
        return any(source.cluster == cluster for source in self._kinds)

    @property
    def clusters(self) -> frozenset[str]:
        """Every cluster of which there is an object or a label."""
        return frozenset(source.cluster for source, of_kind in self._stored.items() if of_kind) | self._labels.keys()

    @property
    def unsynced(self) -> tuple[Source, ...]:
        """What has neither been listed nor restored."""
        return tuple(source for source in self._expected if source not in self._complete)

    @property
    def synced(self) -> bool:
        """True once everything expected has been listed or restored; a server that is lost later changes nothing."""
        return not self.unsynced

    def stored(self, key: ObjectKey) -> Stored | None:
        """What is known of the object; None when it is not there."""
        return self._stored.get(Source(key.cluster, key.kind), {}).get(key)

    def versions(self, cluster: str, kind: str) -> Mapping[ObjectKey, str]:
        """The resourceVersion of each object of the kind, as of `objects`."""
        return {key: stored.version for key, stored in self._stored.get(Source(cluster, kind), {}).items()}

    def listed(self, cluster: str, kind: str) -> bool:
        """True once the kind has been listed by this very process."""
        return Source(cluster, kind) in self._progress

    def progress(self, cluster: str, kind: str) -> int:
        """Everything that the API server stored of the kind up to this resourceVersion has been applied; 0 before."""
        return int(self._progress.get(Source(cluster, kind), "0"))

    async def wait_changed(self, after: int) -> int:
        """Returns the revision once it is above ``after``."""
        await self.wait_until(lambda: self._revision > after)
        return self._revision

    async def wait_synced(self) -> None:
        """Returns once everything expected has been listed or restored."""
        await self.wait_until(lambda: self.synced)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Returns once ``condition`` holds; it is asked again after every applied batch."""
        while not condition():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    def restore(self, restored: Restored) -> None:
        """Hold what the log had, before anything else is fed. It counts as synced; informers list all the same."""
        for key, (row, essence) in restored.objects.items():
            stored = read_restored(key, row, essence)
            self._stored.setdefault(Source(key.cluster, key.kind), {})[key] = self._touched[key] = stored
        self._complete.update(Source(*place) for place in restored.complete)
        self._labels.update(restored.labels)
        self._apply(own_change=False)

    def replace(self, cluster: str, kind: ResourceKind, items: Sequence[Raw], version: str) -> None:
        """The kind's objects in the cluster are exactly these, as of ``version``."""
        listed = {
            key_of(cluster, kind, raw): read_stored(kind, raw, keeps_essence=self._keeps_essences) for raw in items
        }
        self._defer(lambda: self._apply_list(Source(cluster, kind.kind), listed, version))

    def upsert(self, cluster: str, kind: ResourceKind, raw: Raw) -> None:
        """The object is there, as ``raw``."""
        source, key, version = (
            Source(cluster, kind.kind),
            key_of(cluster, kind, raw),
            str(raw["metadata"]["resourceVersion"]),
        )
        stored = read_stored(kind, raw, keeps_essence=self._keeps_essences)

        def apply() -> None:
            self._advance(source, version)
            self._apply_object(source, key, stored)

        self._defer(apply)

    def delete(self, cluster: str, kind: ResourceKind, raw: Raw) -> None:
        """The object is gone; ``raw`` is its last state, with the resourceVersion of its deletion."""
        key, version = key_of(cluster, kind, raw), str(raw["metadata"]["resourceVersion"])
        self._defer(lambda: self._apply_deletion(Source(cluster, kind.kind), key, version))

    def bookmark(self, cluster: str, kind: ResourceKind, version: str) -> None:
        """Nothing else happened to the kind's objects up to ``version``."""
        self._defer(lambda: self._advance(Source(cluster, kind.kind), version))

    def relay(self, server: str, batch: Batch) -> None:
        """What ``server`` has to tell is all told, with this batch. ValueError if it speaks of a cluster that is read here."""
        told = {key.cluster for key in (*batch.upserts, *batch.deletes)} | batch.labels.keys()
        if own := sorted(cluster for cluster in told if self.is_own(cluster)):
            raise ValueError(f"{server} relays objects of {own[0]}, whose API server is read here")
        self._defer(lambda: self._apply_batch(Source(server, RELAYED), batch))

    def forget(self, cluster: str) -> None:
        """Nothing is there any more of a cluster whose objects were relayed. ValueError if it is read here."""
        keys = (key for source, of_kind in self._stored.items() if source.cluster == cluster for key in of_kind)
        self.relay(cluster, Batch(deletes=frozenset(keys), labels={cluster: None}))

    def flush(self) -> None:
        """What has arrived is applied now, as one batch; the event loop calls this itself, once per turn."""
        pending, self._pending = self._pending, []
        for change in pending:
            change()
        self._apply()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _apply(self, *, own_change: bool = True) -> None:
        touched, self._touched = self._touched, {}
        upserts = {key: stored.parsed for key, stored in touched.items() if stored is not None}
        deletes = [key for key, stored in touched.items() if stored is None]
        # A set that holds the same is the same set: that is what keeps our own status writes from causing translations.
        objects = self._objects.with_changes(upserts, deletes)
        changed = {key.cluster for key in touched if _differs(key, self._objects, objects)}
        if own_change:
            self._label_own(changed)
        self._write_log()
        self._keep_essences(touched)
        if objects is not self._objects:
            self._objects = objects
            self._revision += 1
        self._publish_labels()
        self._changes += 1

    def _label_own(self, changed: Iterable[str]) -> None:
        unlabelled = {source.cluster for source in self._kinds if source.cluster not in self._labels}
        for cluster in sorted({one for one in changed if self.is_own(one)} | unlabelled):
            # Above every label that was given before, whatever the clock says by now. What others say of theirs is theirs.
            before = parse_label(self._labels.get(cluster, ""))
            self._label = max(self._label, before or self._label).next()
            self._labels[cluster] = self._told[cluster] = str(self._label)

    def _write_log(self) -> None:
        changes = Changes(objects=self._rows, labels=self._told, complete=frozenset(self._completed))
        self._rows, self._told, self._completed = {}, {}, set()
        if self._log is not None and (changes.objects or changes.labels or changes.complete):
            self._log.write(changes)

    def _keep_essences(self, touched: Mapping[ObjectKey, Stored | None]) -> None:
        if not self._keeps_essences:
            return
        after: dict[str, dict[ObjectKey, bytes]] = {}
        for key, stored in touched.items():
            before = self._essences.get(key.kind, _NO_ESSENCES)
            if (stored.essence if stored else None) is before.get(key):
                continue
            of_kind = after.setdefault(key.kind, dict(before))
            if stored is None:
                of_kind.pop(key, None)
            else:
                of_kind[key] = stored.essence
        if after:
            kept = {kind: MappingProxyType(of_kind) for kind, of_kind in after.items()}
            self._essences = MappingProxyType({**self._essences, **kept})

    def _publish_labels(self) -> None:
        incomplete = {source.cluster for source in self._kinds if source not in self._complete}
        revisions = {cluster: label for cluster, label in self._labels.items() if cluster not in incomplete}
        if revisions != self._revisions:
            self._revisions = MappingProxyType(revisions)

    def _defer(self, change: Callable[[], None]) -> None:
        if not self._pending:
            asyncio.get_running_loop().call_soon(self.flush)
        self._pending.append(change)

    def _apply_list(self, source: Source, listed: Mapping[ObjectKey, Stored | None], version: str) -> None:
        for key, stored in listed.items():
            self._apply_object(source, key, stored)
        for key in [key for key in self._stored.get(source, {}) if key not in listed]:
            self._remove(source, key)
        self._progress[source] = version
        self._note_complete(source)

    def _apply_batch(self, server: Source, batch: Batch) -> None:
        for key in batch.deletes:
            self._remove(Source(key.cluster, key.kind), key)
        for key, essence in batch.upserts.items():
            self._apply_object(Source(key.cluster, key.kind), key, read_relayed(key, essence))
        for cluster, label in batch.labels.items():
            self._told[cluster] = label
            if label is None:
                self._labels.pop(cluster, None)
            else:
                self._labels[cluster] = label
        self._note_complete(server)

    def _apply_object(self, source: Source, key: ObjectKey, stored: Stored | None) -> None:
        if stored is None:
            # The last good state stays: a policy that cannot be read must not vanish, which would open its routes.
            return
        before = self._stored.setdefault(source, {}).get(key)
        if before is not None and before.essence == stored.essence:
            # The very bytes: whoever passes them on sees that they are the same.
            stored = replace(stored, essence=before.essence)
        if self._log is not None and (
            before is None or before.version != stored.version or before.essence is not stored.essence
        ):
            self._rows[key] = row_of(stored)
        self._stored[source][key] = self._touched[key] = stored

    def _apply_deletion(self, source: Source, key: ObjectKey, version: str) -> None:
        self._advance(source, version)
        self._remove(source, key)

    def _remove(self, source: Source, key: ObjectKey) -> None:
        if self._stored.get(source, {}).pop(key, None) is not None:
            self._touched[key] = self._rows[key] = None

    def _note_complete(self, source: Source) -> None:
        if source not in self._complete:
            self._complete.add(source)
            self._completed.add(source)

    def _advance(self, source: Source, version: str) -> None:
        # Before the first list nothing is complete, and so nothing counts as progress.
        if source in self._progress:
            self._progress[source] = version


def _differs(key: ObjectKey, before: ObjectSet, after: ObjectSet) -> bool:
    """True when the object, or what is wrong with it, is not what it was."""
    object_type = KIND_BY_NAME[key.kind].type
    return before.get(object_type, key) is not after.get(object_type, key) or (
        before.problems.get(key, ()) != after.problems.get(key, ())
    )
