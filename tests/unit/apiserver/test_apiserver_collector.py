"""The collector: old Events go, and a failing disk stops nothing else."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from meshpass.apiserver.builtin import BUILTIN_RESOURCES
from meshpass.apiserver.collector import Collector
from meshpass.apiserver.definitions import Definitions
from meshpass.apiserver.registry import Registry
from meshpass.apiserver.revision import Key
from meshpass.apiserver.storage import Storage
from meshpass.apiserver.writer import Writer


class Bench:
    """A collector over a storage whose clock the test sets."""

    def __init__(self, directory: Path) -> None:
        self.now = 1000.0
        self.storage = Storage(directory / "state.db", clock=lambda: self.now)
        registry = Registry(BUILTIN_RESOURCES)
        writer = Writer(self.storage, registry, Definitions(self.storage, registry))
        self.collector = Collector(self.storage, registry, writer, event_seconds=3600, clock=lambda: self.now)

    def put(self, kind: str, name: str, **metadata: Any) -> Key:
        key = Key(kind, "default", name)
        value = {"apiVersion": "v1", "kind": "K", "metadata": {"name": name, "uid": name, **metadata}}
        self.storage.put(key, value)
        return key

    def settle(self) -> None:
        while self.collector.collect_once():
            pass


@pytest.fixture
def bench(tmp_path: Path):
    made = Bench(tmp_path)
    yield made
    made.storage.close()


def test_events_go_an_hour_after_their_last_write(bench: Bench):
    """Others stay, however old."""
    old, config = bench.put("/events", "old"), bench.put("/configmaps", "c")
    bench.now += 3000
    young = bench.put("/events", "young")
    bench.now += 1000

    bench.collector.sweep()

    assert bench.storage.get(old) is None
    assert bench.storage.get(young)
    assert bench.storage.get(config)


def test_garbage_of_an_earlier_life_is_found(bench: Bench):
    """A crash between the owner's deletion and the dependents' leaves work that the next start does."""
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "gone"}
    orphan = bench.put("/configmaps", "orphan", ownerReferences=[reference])
    chained = bench.put("/configmaps", "chained", ownerReferences=[{**reference, "name": "orphan", "uid": "orphan"}])

    bench.settle()

    assert bench.storage.get(orphan) is None
    assert bench.storage.get(chained) is None


def test_an_orphan_with_a_finalizer_waits_and_does_not_keep_the_collector_busy(bench: Bench):
    """It is marked once; then there is nothing to do until somebody removes the finalizer."""
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "gone"}
    held = bench.put("/configmaps", "held", ownerReferences=[reference], finalizers=["example.com/x"])

    bench.settle()
    revision = bench.storage.revision
    bench.settle()

    stored = bench.storage.get(held)
    assert stored
    assert "deletionTimestamp" in stored.decode()["metadata"]
    assert bench.storage.revision == revision


def test_many_dependents_are_deleted_in_batches(bench: Bench):
    """One turn does not hold up requests for long, and all turns together do all of it."""
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "gone"}
    with bench.storage.transaction():
        for number in range(250):
            bench.put("/configmaps", f"c{number}", ownerReferences=[reference])
    turns = 0
    while bench.collector.collect_once():
        turns += 1

    assert list(bench.storage.list("/configmaps")) == []
    assert turns == 3


def test_a_failing_disk_leaves_old_events_for_later(bench: Bench):
    """The sweep logs and returns."""
    old = bench.put("/events", "old")
    bench.now += 4000
    bench.storage._db.execute("PRAGMA query_only = ON")

    bench.collector.sweep()
    with pytest.raises(sqlite3.OperationalError):
        bench.put("/events", "new")
    bench.storage._db.execute("PRAGMA query_only = OFF")
    bench.collector.sweep()

    assert bench.storage.get(old) is None
