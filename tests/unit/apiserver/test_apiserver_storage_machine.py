"""Storage against a model: whatever happens, it is a dict with a history."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from meshpass.apiserver.revision import Change, Key
from meshpass.apiserver.storage import Storage

_KEYS = st.builds(
    Key, st.sampled_from(["a/x", "b/y"]), st.sampled_from(["", "n1", "n2"]), st.sampled_from(["p", "q", "r"])
)


class StorageMachine(RuleBasedStateMachine):
    """The model: the current objects, and all objects as they were at each revision."""

    snapshots = Bundle("snapshots")

    @initialize()
    def open(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.storage = self._open()
        self.objects: dict[Key, int] = {}
        self.past: dict[int, dict[Key, int]] = {self.storage.revision: {}}
        self.changes: list[tuple[int, Change, Key]] = []
        self.values = 0

    def _open(self) -> Storage:
        return Storage(self.directory / "state.db", history=20, history_seconds=10**9)

    def teardown(self) -> None:
        self.storage.close()
        shutil.rmtree(self.directory)

    def _value(self) -> dict[str, Any]:
        self.values += 1
        return {"metadata": {"uid": "u"}, "spec": self.values}

    @rule(key=_KEYS)
    def put(self, key: Key) -> None:
        change = Change.MODIFIED if key in self.objects else Change.ADDED
        value = self._value()
        stored = self.storage.put(key, value)
        self.objects[key] = value["spec"]
        self._happened(stored.revision, change, key)

    @rule(key=_KEYS)
    def remove(self, key: Key) -> None:
        if key in self.objects:
            stored = self.storage.remove(key)
            del self.objects[key]
            self._happened(stored.revision, Change.DELETED, key)

    def _happened(self, revision: int, change: Change, key: Key) -> None:
        assert revision == max(self.past) + 1
        self.past[revision] = dict(self.objects)
        self.changes.append((revision, change, key))

    @rule(target=snapshots)
    def remember(self) -> int:
        return self.storage.revision

    @rule(at=consumes(snapshots), kind=st.sampled_from(["a/x", "b/y"]), namespace=st.sampled_from([None, "", "n1"]))
    def read_the_past(self, at: int, kind: str, namespace: str | None) -> None:
        if at < self.storage.compacted:
            return
        found = [(entry.key, entry.decode()["spec"]) for entry in self.storage.list(kind, namespace, at=at)]
        wanted = {
            key: value
            for key, value in self.past[at].items()
            if key.kind == kind and namespace in {None, key.namespace}
        }
        assert found == sorted(wanted.items())

    @rule()
    def compact(self) -> None:
        self.storage.compact()
        assert self.storage.revision - self.storage.compacted <= 20

    @rule()
    def reopen(self) -> None:
        self.storage.close()
        self.storage = self._open()

    @rule(key=_KEYS)
    def roll_back(self, key: Key) -> None:
        with suppress(ZeroDivisionError), self.storage.transaction():
            self.storage.put(key, self._value())
            _ = 1 / 0

    @invariant()
    def objects_are_the_models(self) -> None:
        found = {entry.key: entry.decode()["spec"] for kind in ("a/x", "b/y") for entry in self.storage.list(kind)}
        assert found == self.objects
        assert self.storage.revision == max(self.past)

    @invariant()
    def the_log_is_the_models_tail(self) -> None:
        start = self.storage.compacted
        logged = (
            sorted(
                (entry.number, entry.change, entry.key)
                for kind in ("a/x", "b/y")
                for entry in self.storage.changes(kind, start, limit=1000)[0]
            )
            if self.changes
            else []
        )
        assert logged == [entry for entry in self.changes if entry[0] > start]


StorageMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestStorageMachine = StorageMachine.TestCase
