"""A control plane without API servers: an ObjectStore that a test fills, and what the Reconciler would write back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, cast

from tests.support.objects import SETTINGS, key_of

from meshpass.api.kind import Kind
from meshpass.api.kinds import CORE_KINDS, KINDS
from meshpass.api.manifest import load_documents
from meshpass.api.objectset import ObjectKey
from meshpass.certificatefile import CertificateFiles
from meshpass.identity.acknowledged import AcknowledgedTrust
from meshpass.identity.workload import WorkloadIssuer
from meshpass.jwks.fetcher import KeySetFetcher
from meshpass.kube.event import EventRecorder
from meshpass.kube.status import StatusWriter
from meshpass.kube.store import ObjectStore
from meshpass.memo import Memo
from meshpass.reconciler import Inputs, Outputs, Reconciler
from meshpass.translate.freeze import FrozenTrees
from meshpass.translate.identity import NO_IDENTITIES, Identities
from meshpass.translate.keysource import KeySets
from meshpass.treestore import TreeStore
from meshpass.xds.cache import SnapshotCache
from meshpass.xds.remote import RemoteStates

CLUSTERS = frozenset({"mgmt", "cluster1", "cluster2"})
KINDS_BY_NAME: Mapping[str, Kind] = {kind.kind: kind for kind in (*KINDS, *CORE_KINDS)}


@dataclass
class FakeStatusWriter:
    """Remembers what was last submitted for each object."""

    statuses: dict[ObjectKey, Mapping[str, Any]] = field(default_factory=dict)
    submitted: asyncio.Event = field(default_factory=asyncio.Event)

    def submit(self, statuses: Mapping[ObjectKey, Mapping[str, Any]]) -> None:
        """Take these as the statuses."""
        self.statuses = dict(statuses)
        self.submitted.set()


@dataclass
class FakeEventRecorder:
    """Remembers every event."""

    events: list[tuple[ObjectKey, str, str]] = field(default_factory=list)

    def record(self, key: ObjectKey, *, reason: str, message: str) -> None:
        """Note an event of an object."""
        self.events.append((key, reason, message))


@dataclass
class FakeKeys:
    """Key sets that were fetched, as far as a test says."""

    key_sets: KeySets = field(default_factory=dict)
    revision: int = 0
    followed: Mapping[Any, Any] = field(default_factory=dict)

    def follow(self, sources: Mapping[Any, Any]) -> None:
        """Note what is wanted."""
        self.followed = sources

    async def wait_changed(self, _seen: int) -> NoReturn:
        """Nothing is ever fetched."""
        await asyncio.Event().wait()
        raise AssertionError("never set")


@dataclass
class FakeTrees:
    """Frozen route tables, in memory alone."""

    trees: FrozenTrees = field(default_factory=dict)

    def save(self, trees: FrozenTrees) -> None:
        """Take these."""
        self.trees = trees


@dataclass
class FakeIssuer:
    """Nobody has an identity."""

    identities: Identities = NO_IDENTITIES
    revision: int = 0

    def follow(self, _wanted: frozenset[str]) -> bool:
        """Nothing is issued."""
        return False

    async def wait_ready(self) -> None:
        """It always is."""

    async def wait_changed(self, _seen: int) -> NoReturn:
        """Nothing ever changes."""
        await asyncio.Event().wait()
        raise AssertionError("never set")


class FakeTrust:
    """Nobody asks who believes whom."""

    def observe(self, *_arguments: object) -> None:
        """Nothing is remembered."""


class ControlPlane:
    """A Reconciler on a store, a cache, and fakes of what it writes to."""

    def __init__(self) -> None:
        self.store = ObjectStore()
        self.cache = SnapshotCache()
        self.memo = Memo()
        self.statuses = FakeStatusWriter()
        self.events = FakeEventRecorder()
        self.keys = FakeKeys()
        self.files = CertificateFiles(interval_seconds=0.02)
        self.trees = FakeTrees()
        self.states, self.remote = RemoteStates(), RemoteStates()
        self.issuer = FakeIssuer()
        self.reconciler = Reconciler(
            Inputs(
                store=self.store,
                keys=cast("KeySetFetcher", self.keys),
                files=self.files,
                settings=SETTINGS,
                trees=cast("TreeStore", self.trees),
                issuer=cast("WorkloadIssuer", self.issuer),
                remote=self.remote,
            ),
            Outputs(
                cache=self.cache,
                statuses=cast("StatusWriter", self.statuses),
                events=cast("EventRecorder", self.events),
                cluster="mgmt",
                clusters=CLUSTERS,
                own=self.states,
                trust=cast("AcknowledgedTrust", FakeTrust()),
            ),
            memo=self.memo,
        )
        self._version = 0

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """The objects are there now, as if API servers had told so."""
        for raw in manifests:
            self.store.upsert(key_of(raw).cluster, KINDS_BY_NAME[raw["kind"]], self._stored(raw))

    def delete(self, *manifests: Mapping[str, Any]) -> None:
        """The objects are gone."""
        for raw in manifests:
            self.store.delete(key_of(raw).cluster, KINDS_BY_NAME[raw["kind"]], self._stored(raw))

    def _stored(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        self._version += 1
        metadata = {**raw["metadata"], "resourceVersion": str(self._version), "uid": str(key_of(raw))}
        return {**raw, "metadata": {"generation": self._version, **metadata}}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Inside, the reconciler runs."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one) for one in (self.files.run(), self.reconciler.run())]
            try:
                yield
            finally:
                for task in running:
                    task.cancel()

    async def settle(self) -> None:
        """Returns once all that was applied is published."""
        async with asyncio.timeout(5):
            self.store.flush()
            await self.reconciler.wait_translated(self.store.revision)

    def approval(self, manifest: Mapping[str, Any]) -> str:
        """The state in the object's status."""
        return str(self.statuses.statuses[key_of(manifest)]["common"]["State"]["approval"])

    def programmed(self, manifest: Mapping[str, Any]) -> tuple[str, str, str]:
        """Status, reason and message of the object's condition Programmed."""
        for one in self.statuses.statuses[key_of(manifest)]["conditions"]:
            if one["type"] == "Programmed":
                return one["status"], one["reason"], one["message"]
        raise AssertionError("no condition Programmed")


def documents(path: Path) -> tuple[dict[str, Any], ...]:
    """The manifests of a file."""
    return load_documents(path.read_text())
