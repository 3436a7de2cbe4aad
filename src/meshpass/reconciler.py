"""Reconciler: the only loop. Objects change → translate → build → publish; proxies acknowledge → write statuses."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from meshpass.api.objectset import ObjectKey
from meshpass.certificatefile import CertificateFiles
from meshpass.envoy.build import build_snapshot
from meshpass.envoy.class_move import RENAMED
from meshpass.identity.acknowledged import AcknowledgedTrust
from meshpass.identity.workload import WorkloadIssuer
from meshpass.ir import ObjectRef, Proxy
from meshpass.jwks.fetcher import KeySetFetcher
from meshpass.kube.event import EventRecorder
from meshpass.kube.label import label_covers
from meshpass.kube.status import StatusWriter
from meshpass.kube.store import ObjectStore
from meshpass.memo import Memo
from meshpass.translate import Report, TranslateSettings, Translation, translate
from meshpass.translate.keysource import KeyFetch, KeySource
from meshpass.translate.report import ObjectReport
from meshpass.translate.status import FurtherCondition, Programming, build_status
from meshpass.treestore import TreeStore
from meshpass.xds.cache import SnapshotCache
from meshpass.xds.remote import RemoteState, RemoteStates, cluster_of_node, process_node

logger = logging.getLogger(__name__)

STATUS_INTERVAL_SECONDS = 0.05
"""How far our proxies are is told to others at most this often, and statuses are worked out at most this often: most proxies
acknowledge within it, so that one write says it all."""
PATIENCE_SECONDS = 0.25
"""For so long statuses wait for proxies that are late, such as those of other processes, which have to be told of first."""


FurtherConditions = Mapping[ObjectKey, tuple[FurtherCondition, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the reconciler works from."""

    store: ObjectStore
    keys: KeySetFetcher
    files: CertificateFiles
    settings: TranslateSettings
    trees: TreeStore
    issuer: WorkloadIssuer
    remote: RemoteStates
    """How far the proxies are that other processes serve."""
    further: Callable[[], FurtherConditions] = dict
    """What else there is to say about objects; `wake_statuses` when it is something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where the reconciler writes to."""

    cache: SnapshotCache
    statuses: StatusWriter
    events: EventRecorder
    cluster: str
    """The cluster that this process is in."""
    clusters: frozenset[str]
    """Whose objects get their statuses and events from here."""
    own: RemoteStates
    """How far the proxies are that this process serves, for others to know."""
    trust: AcknowledgedTrust
    """Whom these proxies believe, and what they show."""
    told: Callable[[], None] = lambda: None
    """Called when others are to know that any of it has changed."""


class Reconciler:
    """Level-triggered: whatever happened in between, it works from the objects as they are now.

    Nothing is published before every API server has been listed once: half of the objects could open a route.
    """

    def __init__(self, inputs: Inputs, outputs: Outputs, *, memo: Memo) -> None:
        self._store = inputs.store
        self._keys = inputs.keys
        self._files = inputs.files
        self._settings = inputs.settings
        self._trees = inputs.trees
        self._issuer = inputs.issuer
        self._remote = inputs.remote
        self._further = inputs.further
        self._own = outputs.own
        self._trust = outputs.trust
        self._told = outputs.told
        self._cluster = outputs.cluster
        self._clusters = outputs.clusters
        self._cache = outputs.cache
        self._statuses = outputs.statuses
        self._events = outputs.events
        self._memo = memo
        self._report = Report(objects={})
        self._policies: Mapping[str, ObjectKey] = {}
        self._key_sources: Mapping[KeySource, KeyFetch] = {}
        self._translated = -1
        self._revisions: Mapping[str, str] = {}
        self._passes = 0
        self._published: dict[str, Proxy] = {}
        self._changed_at: dict[ObjectKey, int] = {}
        self._acknowledged: dict[str, int] = {}
        self._recorded: set[tuple[ObjectRef, str]] = set()
        self._published_one = asyncio.Event()
        self._statuses_due = asyncio.Event()

    @property
    def translated(self) -> int:
        """The revision of the store that was last published; -1 before the first."""
        return self._translated

    @property
    def revisions(self) -> Mapping[str, str]:
        """Of each cluster, the label of its objects that was last published."""
        # A label may rise without any object that is seen here.
        return self._store.revisions if self._store.revision == self._translated else self._revisions

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every proxy that there has to be."""
        return tuple(self._published)

    @property
    def proxies(self) -> tuple[Proxy, ...]:
        """The task of each of them, as published last."""
        return tuple(self._published.values())

    @property
    def report(self) -> Report:
        """What the last translation had to say about each object."""
        return self._report

    def policy_of(self, selection_class: str) -> ObjectKey | None:
        """The policy that holds on a selection class, also under the name that it has while routes are switched."""
        return self._policies.get(selection_class.rstrip(RENAMED))

    def note_unknown_key(self, selection_class: str) -> None:
        """A proxy saw a token of this class whose key it does not have: the policy's key sets are asked again soon."""
        policy = self.policy_of(selection_class)
        for source, fetch in self._key_sources.items():
            if policy in fetch.policies:
                self._keys.note_unknown_kid(source)

    def late(self) -> tuple[str, ...]:
        """The proxies that have not acknowledged what was published last."""
        return tuple(node for node in self._published if not self._cache.state(node).in_sync)

    def wake_statuses(self) -> None:
        """Statuses are worked out again, soon."""
        self._statuses_due.set()

    async def run(self) -> NoReturn:
        """Reconcile until cancelled."""
        await self._store.wait_synced()
        # Or else all would speak plain text to each other first.
        await self._issuer.wait_ready()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_objects())
            tasks.create_task(self._follow_keys())
            tasks.create_task(self._follow_files())
            tasks.create_task(self._follow_identities())
            tasks.create_task(self._follow_acknowledgements())
            tasks.create_task(self._follow_remote())
            tasks.create_task(self._follow_labels())
            tasks.create_task(self._follow_statuses())
        raise AssertionError("the loops never return")

    async def wait_translated(self, revision: int) -> None:
        """Returns once the objects of this revision of the store, or newer, have been published."""
        while self._translated < revision:
            await self._published_one.wait()

    async def wait_includes(self, revisions: Mapping[str, str]) -> None:
        """Returns once what is published was made from these revisions of clusters, or from newer ones."""
        await self._store.wait_until(
            lambda: all(label_covers(self._store.revisions.get(name, ""), label) for name, label in revisions.items())
        )
        await self.wait_translated(self._store.revision)

    async def _follow_objects(self) -> NoReturn:
        while True:
            seen = self._store.revision
            self._try_reconcile()
            await self._store.wait_changed(seen)

    async def _follow_keys(self) -> NoReturn:
        seen = self._keys.revision
        while True:
            seen = await self._keys.wait_changed(seen)
            self._try_reconcile()

    async def _follow_files(self) -> NoReturn:
        seen = self._files.revision
        while True:
            seen = await self._files.wait_changed(seen)
            self._try_reconcile()

    async def _follow_identities(self) -> NoReturn:
        seen = self._issuer.revision
        while True:
            seen = await self._issuer.wait_changed(seen)
            self._try_reconcile()

    async def _follow_remote(self) -> NoReturn:
        seen = -1
        while True:
            seen = await self._remote.wait_changed(seen)
            self._statuses_due.set()

    async def _follow_labels(self) -> NoReturn:
        while True:
            seen = self._store.revisions
            self._statuses_due.set()
            await self._wait_other_labels(seen)

    async def _wait_other_labels(self, seen: Mapping[str, str]) -> None:
        await self._store.wait_until(lambda: self._store.revisions is not seen)

    async def _follow_acknowledgements(self) -> NoReturn:
        seen = -1
        while True:
            seen = await self._cache.wait_changed(seen)
            self._observe_trust()
            self._statuses_due.set()

    def _observe_trust(self) -> None:
        self._trust.observe(self.proxies, lambda node: self._cache.state(node).in_sync)

    async def _follow_statuses(self) -> NoReturn:
        while True:
            await self._statuses_due.wait()
            await self._settle()
            self.write_statuses()
            # Here and not with the translation: proxies were told meanwhile, and nobody waits for what is forgotten.
            self._memo.next_generation()

    async def _settle(self) -> None:
        """Returns when every proxy has what is new, or refuses it, and after PATIENCE_SECONDS anyway."""
        for _ in range(round(PATIENCE_SECONDS / STATUS_INTERVAL_SECONDS)):
            await asyncio.sleep(STATUS_INTERVAL_SECONDS)
            self._statuses_due.clear()
            own = self._tell_states()
            states = (*own.values(), *self._remote.states.values())
            if all(one.in_sync or one.rejections for one in states) and all(map(self._is_current, self._remote.states)):
                return

    def _try_reconcile(self) -> None:
        """Reconcile; a bug that an object brings to light leaves every proxy as it is, and is not the end of the loop."""
        try:
            self.reconcile()
        except Exception:
            logger.exception("not reconciled", extra={"revision": self._store.revision})

    def reconcile(self) -> None:
        """Translate the objects as they are now and publish what changed.

        Where an object names a file that was never looked at, nothing is published: it is looked at within moments, which
        leads here again. Or else a restart would close, for those moments, whatever needs a file.
        """
        started = time.perf_counter()
        revision, revisions = self._store.revision, self._store.revisions
        self._passes += 1
        translation = self._translate()
        if self._issuer.follow(translation.identities):
            translation = self._translate()
        if self._files.follow(translation.files):
            return
        # Before anything is published: what a proxy has been told is what a table is frozen at after a crash.
        self._trees.save(translation.trees)
        self._keys.follow(translation.key_sources)
        self._report = self._keep_equal(translation.report)
        self._policies = translation.policies
        self._key_sources = translation.key_sources
        changed = self._publish(translation.proxies)
        self._translated, self._revisions = revision, revisions
        self._observe_trust()
        self._statuses_due.set()
        self._published_one.set()
        self._published_one = asyncio.Event()
        if changed:
            milliseconds = round((time.perf_counter() - started) * 1000, 1)
            logger.info(
                "snapshots published", extra={"revision": revision, "nodes": changed, "milliseconds": milliseconds}
            )

    def _translate(self) -> Translation:
        return translate(
            self._store.objects,
            self._keys.key_sets,
            self._settings,
            self._memo,
            self._trees.trees,
            files=self._files.files,
            identities=self._issuer.identities,
        )

    def _keep_equal(self, report: Report) -> Report:
        """The report, with the old object wherever it says the same: only what changed is looked at again."""
        before = self._report.objects
        kept: dict[ObjectKey, ObjectReport] = {}
        for key, new in report.objects.items():
            old = before.get(key)
            if old is not None and (old is new or old == new):
                kept[key] = old
            else:
                kept[key] = new
                self._changed_at[key] = self._passes
        self._changed_at = {key: self._changed_at[key] for key in kept}
        return Report(objects=kept)

    def _publish(self, proxies: Mapping[str, Proxy]) -> int:
        changed = 0
        for node, proxy in proxies.items():
            known = self._published.get(node)
            if known is not proxy:
                self._cache.set(build_snapshot(proxy, self._memo))
                # Only now: one that cannot be built is not taken for up to date.
                self._published[node] = proxy
                changed += 1
        for node in [node for node in self._published if node not in proxies]:
            del self._published[node]
            self._cache.remove(node)
            self._own.remove(node)
        return changed

    def write_statuses(self) -> None:
        """Work out every status from the last report and what the proxies have acknowledged, and have it written."""
        rejections: dict[ObjectRef, list[str]] = {}
        own = self._tell_states()
        states = {**self._remote.states, **own}
        self._acknowledged = {node: self._acknowledged[node] for node in states if node in self._acknowledged}
        for node, state in states.items():
            if state.in_sync and (node in own or self._is_current(node)):
                self._acknowledged[node] = self._passes
            for rejection in state.rejections:
                for source in rejection.sources:
                    rejections.setdefault(source, []).append(f"{node} refuses it: {rejection.message}")
        self._record_rejections(rejections)
        further = self._further()
        self._statuses.submit(
            {
                key: self._status(key, report, rejections, further.get(key, ()))
                for key, report in self._report.objects.items()
                if key.cluster in self._clusters
            }
        )
        self._told()

    def _tell_states(self) -> Mapping[str, RemoteState]:
        """Others are told how far our proxies are; of a process without any there is nothing that they could wait for."""
        own = {node: self._tell(node) for node in self._published}
        process = process_node(self._cluster)
        itself = {process: RemoteState(in_sync=True, inputs=self.revisions)} if own else {}
        self._own.update({**own, **itself}, (process,))
        return own

    def _tell(self, node: str) -> RemoteState:
        """How far a proxy of our own is."""
        state = self._cache.state(node)
        return RemoteState(in_sync=state.in_sync, rejections=state.rejections)

    def _is_current(self, node: str) -> bool:
        """True for a proxy of another process that works from the objects that we have, as far as both have them."""
        process = self._remote.state(process_node(cluster_of_node(node)))
        if process is None:
            return False
        known = self.revisions
        return all(process.inputs[name] == known[name] for name in process.inputs.keys() & known.keys())

    def _status(
        self,
        key: ObjectKey,
        report: ObjectReport,
        rejections: Mapping[ObjectRef, list[str]],
        further: tuple[FurtherCondition, ...],
    ) -> dict[str, Any]:
        since = self._changed_at[key]
        waiting = tuple(sorted(node for node in report.nodes if self._acknowledged.get(node, -1) < since))
        refused = tuple(rejections.get(ObjectRef(*key), ()))
        return self._memo(build_status, report, Programming(waiting=waiting, rejections=refused), further)

    def _record_rejections(self, rejections: Mapping[ObjectRef, list[str]]) -> None:
        """Each rejection becomes one Event on each object that is to blame, when it begins."""
        current = {(source, message) for source, messages in rejections.items() for message in messages}
        for source, message in sorted(current - self._recorded):
            if source.cluster not in self._clusters:
                continue
            self._events.record(ObjectKey(*source), reason="Rejected", message=message)
        self._recorded = current
