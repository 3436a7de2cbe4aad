"""Collector: finishes what deletions began — namespaces, definitions, owners — and lets old Events go.

Level-triggered: it looks at what is stored, not at what happened, so a crash in between loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable

from meshpass.apiserver.admission import NAMESPACE_KIND
from meshpass.apiserver.definitions import CLEANUP_FINALIZER, CRD_KIND
from meshpass.apiserver.registry import Registry, storage_kind
from meshpass.apiserver.revision import Stored
from meshpass.apiserver.storage import Storage
from meshpass.apiserver.writer import FOREGROUND_FINALIZER, Writer

_BATCH = 100
"""Deletions in one transaction, and without giving way to requests."""
_EVENTS = "/events"
_SWEEP_SECONDS = 60.0
_log = logging.getLogger(__name__)


class Collector:
    """Owns the background half of deletion."""

    def __init__(
        self,
        storage: Storage,
        registry: Registry,
        writer: Writer,
        *,
        event_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._writer = writer
        self._event_seconds = event_seconds
        self._clock = clock
        self._seen = 0
        self._wake = asyncio.Event()

    def notify(self) -> None:
        """Something was committed."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled: after every commit, and once a minute."""
        while True:
            self._wake.clear()
            try:
                while self.collect_once():  # noqa: ASYNC110 - nothing is waited for: each turn does work
                    await asyncio.sleep(0)  # requests come first
            except sqlite3.Error:
                # A full disk, say. What is left to do is still stored, and the next commit or minute tries again.
                _log.exception("deletions not finished")
            try:
                async with asyncio.timeout(_SWEEP_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                self.sweep()

    def collect_once(self) -> bool:
        """One batch is done; True when it changed something, so that there may be more."""
        before = self._storage.revision
        if self._seen == self._storage.reference_changes and not self._storage.has_terminating():
            return False
        with self._storage.transaction():
            for stored in self._storage.terminating():
                self._advance(stored)
            if self._seen != self._storage.reference_changes:
                orphans = self._storage.orphans(limit=_BATCH)
                if not orphans:
                    self._seen = self._storage.reference_changes
                for stored in orphans:
                    self._collect(stored)
        return self._storage.revision != before

    def _advance(self, stored: Stored) -> None:
        """A marked object is one step nearer to its end."""
        metadata = stored.decode()["metadata"]
        finalizers = metadata.get("finalizers", ())
        if stored.key.kind == NAMESPACE_KIND:
            self._delete(self._storage.unmarked(namespace=stored.key.name, limit=_BATCH))
            self._writer.finish_if_free(stored)
        elif stored.key.kind == CRD_KIND and CLEANUP_FINALIZER in finalizers:
            kinds = {storage_kind(resource) for resource in self._registry.defined_by(stored.key.name)}
            for kind in kinds:
                self._delete(self._storage.unmarked(kind=kind, limit=_BATCH))
            if not any(next(self._storage.list(kind), None) for kind in kinds):
                self._writer.release(stored, CLEANUP_FINALIZER)
        elif FOREGROUND_FINALIZER in finalizers:
            self._delete(self._storage.dependents(metadata["uid"]))
            if not self._storage.dependents(metadata["uid"]):
                self._writer.release(stored, FOREGROUND_FINALIZER)

    def _delete(self, chosen: Iterable[Stored]) -> None:
        for stored in chosen:
            self._writer.delete_stored(stored)

    def _collect(self, stored: Stored) -> None:
        """An object all of whose owners are gone goes too; one with owners left forgets those that are gone."""
        uids = {reference["uid"] for reference in stored.decode()["metadata"].get("ownerReferences", ())}
        gone = frozenset(uid for uid in uids if not self._storage.exists_uid(uid))
        if gone != uids:
            self._writer.disown(stored, gone)
        else:
            self._writer.delete_stored(stored)

    def sweep(self) -> None:
        """Events older than ``event_seconds`` are gone (as many as one transaction should hold), the log is compacted."""
        horizon = self._clock() - self._event_seconds
        try:
            with self._storage.transaction():
                for key in self._storage.written_before(_EVENTS, horizon, limit=1000):
                    self._storage.remove(key)
        except sqlite3.Error:
            _log.exception("old events not deleted")
        self._storage.compact()
