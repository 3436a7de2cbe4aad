"""ObjectStore: what all API servers hold, as one immutable ObjectSet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from meshpass.api.kinds import KINDS
from meshpass.api.manifest import Parsed, parse_object
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.errors import ManifestError
from meshpass.kube.resource import Raw, ResourceKind

logger = logging.getLogger(__name__)

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_OUR_GROUPS = frozenset(kind.group for kind in KINDS)
_BOOKKEEPING = frozenset({"managedFields", "resourceVersion", "selfLink"})


class Source(NamedTuple):
    """One kind of one cluster: what one informer reads."""

    cluster: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the store knows of one object besides its place in the ObjectSet."""

    kind: ResourceKind
    uid: str
    version: str
    generation: int
    status: Mapping[str, Any]
    """As last seen on the API server; empty where there is none."""
    parsed: Parsed
    """The object without its status (for kinds whose status we write) and without the server's bookkeeping."""


class ObjectStore:
    """The merged state of all clusters.

    - `objects` is replaced, never changed; what arrives in one turn of the event loop becomes one new ObjectSet.
    - `revision` rises by one per ObjectSet that differs. A change of nothing but a status that we write, of
      managedFields or of a resourceVersion makes none: our own status writes must not cause a translation.
    - An object that did not change is the same instance in the next ObjectSet.
    - Nothing is removed unless an API server said so: by a DELETED event, or by a list without the object.
    """

    def __init__(self) -> None:
        self._objects = ObjectSet.empty()
        self._revision = 0
        self._stored: dict[Source, dict[ObjectKey, Stored]] = {}
        self._progress: dict[Source, str] = {}
        self._kinds: dict[Source, ResourceKind] = {}
        self._pending: list[Callable[[], None]] = []
        self._upserts: dict[ObjectKey, Parsed] = {}
        self._deletes: set[ObjectKey] = set()
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def objects(self) -> ObjectSet:
        """The objects of all clusters, as last applied."""
        return self._objects

    @property
    def revision(self) -> int:
        """How many ObjectSets there were before this one."""
        return self._revision

    def expect(self, cluster: str, kinds: Iterable[ResourceKind]) -> None:
        """The store is synced only once these have been listed too."""
        for kind in kinds:
            self._kinds[Source(cluster, kind.kind)] = kind

    def kinds(self, cluster: str) -> tuple[ResourceKind, ...]:
        """The kinds that are read from the cluster."""
        return tuple(kind for source, kind in self._kinds.items() if source.cluster == cluster)

    @property
    def unsynced(self) -> tuple[Source, ...]:
        """What has not been listed yet."""
        return tuple(source for source in self._kinds if source not in self._progress)

    @property
    def synced(self) -> bool:
        """True once everything expected has been listed; a server that is lost later changes nothing."""
        return not self.unsynced

    def stored(self, key: ObjectKey) -> Stored | None:
        """What is known of the object; None when it is not there."""
        return self._stored.get(Source(key.cluster, key.kind), {}).get(key)

    def versions(self, cluster: str, kind: str) -> Mapping[ObjectKey, str]:
        """The resourceVersion of each object of the kind, as of `objects`."""
        return {key: stored.version for key, stored in self._stored.get(Source(cluster, kind), {}).items()}

    def listed(self, cluster: str, kind: str) -> bool:
        """True once the kind has been listed."""
        return Source(cluster, kind) in self._progress

    def progress(self, cluster: str, kind: str) -> int:
        """Everything that the API server stored of the kind up to this resourceVersion has been applied; 0 before."""
        return int(self._progress.get(Source(cluster, kind), "0"))

    async def wait_changed(self, after: int) -> int:
        """Returns the revision once it is above ``after``."""
        await self.wait_until(lambda: self._revision > after)
        return self._revision

    async def wait_synced(self) -> None:
        """Returns once everything expected has been listed."""
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

    def replace(self, cluster: str, kind: ResourceKind, items: Sequence[Raw], version: str) -> None:
        """The kind's objects in the cluster are exactly these, as of ``version``."""
        listed = {_key(cluster, kind, raw): self._read(kind, raw) for raw in items}
        self._defer(lambda: self._apply_list(Source(cluster, kind.kind), listed, version))

    def upsert(self, cluster: str, kind: ResourceKind, raw: Raw) -> None:
        """The object is there, as ``raw``."""
        source, key, version = (
            Source(cluster, kind.kind),
            _key(cluster, kind, raw),
            str(raw["metadata"]["resourceVersion"]),
        )
        stored = self._read(kind, raw)

        def apply() -> None:
            self._advance(source, version)
            self._apply_object(source, key, stored)

        self._defer(apply)

    def delete(self, cluster: str, kind: ResourceKind, raw: Raw) -> None:
        """The object is gone; ``raw`` is its last state, with the resourceVersion of its deletion."""
        key, version = _key(cluster, kind, raw), str(raw["metadata"]["resourceVersion"])
        self._defer(lambda: self._apply_deletion(Source(cluster, kind.kind), key, version))

    def bookmark(self, cluster: str, kind: ResourceKind, version: str) -> None:
        """Nothing else happened to the kind's objects up to ``version``."""
        self._defer(lambda: self._advance(Source(cluster, kind.kind), version))

    def flush(self) -> None:
        """What has arrived is applied now, as one batch; the event loop calls this itself, once per turn."""
        pending, self._pending = self._pending, []
        for change in pending:
            change()
        # A set that holds the same is the same set: that is what keeps our own status writes from causing translations.
        objects = self._objects.with_changes(self._upserts, self._deletes)
        self._upserts, self._deletes = {}, set()
        if objects is not self._objects:
            self._objects = objects
            self._revision += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _defer(self, change: Callable[[], None]) -> None:
        if not self._pending:
            asyncio.get_running_loop().call_soon(self.flush)
        self._pending.append(change)

    def _read(self, kind: ResourceKind, raw: Raw) -> Stored | None:
        """What ``raw`` says; None when it cannot be parsed."""
        metadata = raw["metadata"]
        try:
            parsed = parse_object(_essence(raw, with_status=kind.group not in _OUR_GROUPS))
        except ManifestError as error:
            name = f"{metadata.get('namespace', '')}/{metadata['name']}"
            logger.error("object unreadable", extra={"kind": kind.kind, "object": name, "problem": str(error)})  # noqa: TRY400
            return None
        return Stored(
            kind=kind,
            uid=str(metadata.get("uid", "")),
            version=str(metadata["resourceVersion"]),
            generation=int(metadata.get("generation", 0)),
            status=raw.get("status") or {},
            parsed=parsed,
        )

    def _apply_list(self, source: Source, listed: Mapping[ObjectKey, Stored | None], version: str) -> None:
        for key, stored in listed.items():
            self._apply_object(source, key, stored)
        for key in [key for key in self._stored.get(source, {}) if key not in listed]:
            self._remove(source, key)
        self._progress[source] = version

    def _apply_object(self, source: Source, key: ObjectKey, stored: Stored | None) -> None:
        if stored is None:
            # The last good state stays: a policy that cannot be read must not vanish, which would open its routes.
            return
        self._stored.setdefault(source, {})[key] = stored
        self._upserts[key] = stored.parsed

    def _apply_deletion(self, source: Source, key: ObjectKey, version: str) -> None:
        self._advance(source, version)
        self._remove(source, key)

    def _remove(self, source: Source, key: ObjectKey) -> None:
        if self._stored.get(source, {}).pop(key, None) is not None:
            self._upserts.pop(key, None)
            self._deletes.add(key)

    def _advance(self, source: Source, version: str) -> None:
        # Before the first list nothing is complete, and so nothing counts as progress.
        if source in self._progress:
            self._progress[source] = version


def _key(cluster: str, kind: ResourceKind, raw: Raw) -> ObjectKey:
    metadata = raw["metadata"]
    return ObjectKey(kind.kind, cluster, metadata.get("namespace") or "", metadata["name"])


def _essence(raw: Raw, *, with_status: bool) -> Raw:
    """The object without what changes when nothing that a translation may look at does."""
    metadata = {name: value for name, value in raw["metadata"].items() if name not in _BOOKKEEPING}
    annotations = metadata.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        metadata["annotations"] = {name: value for name, value in annotations.items() if name != _LAST_APPLIED}
    essence = {**raw, "metadata": metadata}
    if not with_status:
        essence.pop("status", None)
    return essence
