"""Storage: what is acknowledged stays, in order, and states of the past can be read until they are compacted."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from meshpass.apiserver.revision import Change, Key, Revision
from meshpass.apiserver.storage import Storage
from meshpass.errors import LocalMeshError


def thing(uid: str = "u", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Thing", "metadata": {"uid": uid}, "spec": spec}


def key(name: str, namespace: str = "n", kind: str = "g/things") -> Key:
    return Key(kind, namespace, name)


def step_by_step(storage: Storage) -> list[Revision]:
    """The whole log, read as watches read it."""
    found: list[Revision] = []
    complete = False
    while not complete:
        step, complete = storage.changes("g/things", found[-1].number if found else 0)
        found += step
    return found


@pytest.fixture
def storage(tmp_path: Path):
    opened = Storage(tmp_path / "state.db")
    yield opened
    opened.close()


def test_an_object_carries_the_revision_of_its_last_write(storage: Storage):
    """resourceVersion in the body is the revision; revisions only grow."""
    first = storage.put(key("a"), thing(size=1))
    second = storage.put(key("a"), thing(size=2))

    assert second.revision > first.revision
    assert storage.get(key("a")) == second
    assert second.decode()["metadata"]["resourceVersion"] == str(second.revision)


def test_the_log_tells_added_modified_deleted_with_the_state_before(storage: Storage):
    """A revision knows what it did and what was there before."""
    added = storage.put(key("a"), thing(size=1))
    modified = storage.put(key("a"), thing(size=2))
    removed = storage.remove(key("a"))

    changes, complete = storage.changes("g/things", added.revision - 1)

    assert complete

    assert [entry.change for entry in changes] == [Change.ADDED, Change.MODIFIED, Change.DELETED]
    assert [entry.previous for entry in changes] == [None, added.body, modified.body]
    assert [entry.number for entry in changes] == [added.revision, modified.revision, removed.revision]


def test_a_failed_transaction_leaves_nothing_and_tells_nobody(tmp_path: Path):
    """All or nothing, the revision counter included."""
    told: list[frozenset[str]] = []
    storage = Storage(tmp_path / "state.db", committed=told.append)
    before = storage.revision

    def fail() -> None:
        with storage.transaction():
            storage.put(key("a"), thing())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert (storage.get(key("a")), storage.revision, told) == (None, before, [])
    assert storage.put(key("b"), thing()).revision == before + 1
    storage.close()


def test_a_list_at_a_revision_ignores_everything_later(storage: Storage):
    """Pages of one list agree although writes go on: updated, deleted, created and re-created objects."""
    for name in ("changed", "deleted", "kept", "reborn"):
        storage.put(key(name), thing(state="old"))
    at = storage.revision
    storage.put(key("changed"), thing(state="new"))
    storage.remove(key("deleted"))
    storage.put(key("created"), thing(state="new"))
    storage.remove(key("reborn"))
    storage.put(key("reborn"), thing(state="new"))

    then = {entry.key.name: entry.decode()["spec"]["state"] for entry in storage.list("g/things", "n", at=at)}

    assert then == dict.fromkeys(("changed", "deleted", "kept", "reborn"), "old")


def test_compaction_is_bounded_by_count_and_by_age(tmp_path: Path):
    """The log keeps no more than asked for; what is compacted is gone from it."""
    moment = 1000.0
    storage = Storage(tmp_path / "state.db", history=10, history_seconds=60, clock=lambda: moment)
    for size in range(25):
        storage.put(key("a"), thing(size=size))
    storage.compact()

    assert storage.compacted == storage.revision - 10
    assert len(storage.changes("g/things", 0)[0]) == 10

    moment += 61
    storage.compact()

    assert storage.compacted == storage.revision
    assert storage.changes("g/things", 0) == ((), True)
    storage.close()


def test_a_step_of_the_log_is_bounded_in_bytes(storage: Storage):
    """Big objects come a few at a time, and none is too big to come at all."""
    for name in "abc":
        storage.put(key(name), thing(fill="x" * 700_000))
    storage.put(key("d"), thing(fill="x" * 2_900_000))

    first, complete = storage.changes("g/things", 0)
    second, still_complete = storage.changes("g/things", first[-1].number)

    assert ([entry.key.name for entry in first], complete) == (["a", "b"], False)
    assert ([entry.key.name for entry in second], still_complete) == (["c", "d"], True)


def test_reopening_continues_where_it_ended(tmp_path: Path):
    """Objects, revision and compaction survive a restart."""
    storage = Storage(tmp_path / "state.db", history=3)
    for size in range(9):
        last = storage.put(key("a"), thing(size=size))
    storage.compact()
    compacted = storage.compacted
    storage.close()

    again = Storage(tmp_path / "state.db", history=3)

    assert (again.get(key("a")), again.revision, again.compacted) == (last, last.revision, compacted)
    again.close()


def test_the_file_is_private_and_has_one_owner(tmp_path: Path):
    """Mode 0600, and a second opener is refused in words."""
    storage = Storage(tmp_path / "state.db")

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    with pytest.raises(LocalMeshError, match="cannot open the API server's database"):
        Storage(tmp_path / "state.db")

    assert set(modes.values()) == {0o600}
    storage.close()


def test_a_damaged_file_is_refused(tmp_path: Path):
    """Not a traceback from deep inside."""
    (tmp_path / "state.db").write_bytes(b"this is no database, whatever it is called" * 100)

    with pytest.raises(LocalMeshError):
        Storage(tmp_path / "state.db")


async def test_what_is_acknowledged_was_synced(storage: Storage, monkeypatch: pytest.MonkeyPatch):
    """The log is synced after the last commit and before the acknowledgement; one sync serves all that wait for it."""
    synced: list[int] = []
    monkeypatch.setattr("meshpass.apiserver.durability.os.fdatasync", lambda _: synced.append(storage.revision))
    storage.put(Key("widgets", "default", "a"), {"metadata": {"uid": "1"}})

    await asyncio.gather(*(storage.wait_durable() for _ in range(20)))

    assert synced[-1] == storage.revision
    assert len(synced) <= 2
    assert storage._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


_WRITER = """
import os, sys
from pathlib import Path
from meshpass.apiserver.revision import Key
from meshpass.apiserver.storage import Storage

storage = Storage(Path(sys.argv[1]), history=10**9)
number = 0
while True:
    number += 1
    name = f"object-{number % 50}"
    key = Key("g/things", "n", name)
    if number % 7 == 0 and storage.get(key):
        stored = storage.remove(key)
        line = f"removed {name} {stored.revision}"
    else:
        stored = storage.put(key, {"metadata": {"uid": name}, "spec": {"number": number, "fill": "x" * 2000}})
        line = f"put {name} {stored.revision}"
    os.write(1, (line + "\\n").encode())
"""


@pytest.mark.parametrize("acknowledged", [30, 400, 1500])
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path, acknowledged: int):
    """A writer that is killed in the middle of writes: every acknowledged write is there, revisions have no gap."""
    path = tmp_path / "state.db"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_WRITER), str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(acknowledged)]
        os.kill(writer.pid, signal.SIGKILL)
        # What it had printed before it died was acknowledged too; a torn last line was not.
        lines += [line for line in writer.stdout if line.endswith("\n")]

    storage = Storage(path, history=10**9)
    expected: dict[str, int] = {}
    for line in lines:
        what, name, revision = line.split()
        if what == "put":
            expected[name] = int(revision)
        else:
            expected.pop(name, None)
    last = int(lines[-1].split()[2])
    log = [entry.number for entry in step_by_step(storage)]
    at_last = {
        entry.key.name: int(entry.decode()["metadata"]["resourceVersion"])
        for entry in storage.list("g/things", "n", at=last)
    }

    assert len(lines) >= acknowledged
    assert log == list(range(2, storage.revision + 1))
    assert storage.revision - last <= 1  # at most the one write that was cut short of its acknowledgement
    assert at_last == expected
    assert storage._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    storage.close()


def test_a_full_disk_fails_the_write_and_nothing_else(storage: Storage):
    """A write that cannot be stored raises, and what was stored before can still be read."""
    kept = storage.put(key("kept"), thing())
    pages = storage._db.execute("PRAGMA page_count").fetchone()[0]
    storage._db.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(sqlite3.OperationalError, match="full"):
        storage.put(key("big"), thing(fill="x" * 1_000_000))

    assert storage.get(key("big")) is None
    assert storage.get(key("kept")) == kept
    assert storage.revision == kept.revision
