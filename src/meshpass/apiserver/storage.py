"""Storage: the objects of one cluster and the log of their revisions, in one SQLite file.

Every write is a transaction of its own unless the caller groups several with ``transaction()``. A commit survives
SIGKILL; whoever acknowledges it awaits ``wait_durable`` before, and then it survives a power cut too. SQLite itself does
not wait for the disk (WAL with ``synchronous=NORMAL``), so a commit of 2 kB takes 0.03 ms, and calls are made on the event
loop's own thread: handing one over would cost more.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from meshpass.apiserver.durability import Durability
from meshpass.apiserver.revision import Change, Key, Revision, Stored
from meshpass.errors import LocalMeshError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS object (
    kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    revision INTEGER NOT NULL, uid TEXT NOT NULL, terminating INTEGER NOT NULL, written REAL NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (kind, namespace, name)
);
CREATE INDEX IF NOT EXISTS object_uid ON object (uid);
CREATE INDEX IF NOT EXISTS object_terminating ON object (kind) WHERE terminating;
CREATE TABLE IF NOT EXISTS owner (
    uid TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (kind, namespace, name, uid)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS owner_uid ON owner (uid);
CREATE TABLE IF NOT EXISTS log (
    revision INTEGER PRIMARY KEY, written REAL NOT NULL, change TEXT NOT NULL,
    kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    body BLOB NOT NULL, previous BLOB
);
CREATE INDEX IF NOT EXISTS log_kind ON log (kind, revision);
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO counter VALUES ('revision', 1), ('compacted', 1);
"""
_COMPACT_EVERY = 256
_STEP_BYTES = 1024 * 1024
_log = logging.getLogger(__name__)
_AT_REVISION = """
SELECT namespace, name, revision, body FROM object WHERE kind = :kind AND revision <= :at
UNION ALL
SELECT namespace, name, NULL, previous FROM (
    SELECT namespace, name, previous, min(revision) FROM log WHERE kind = :kind AND revision > :at
    GROUP BY namespace, name
) WHERE previous IS NOT NULL
"""


class Storage:
    """Current objects and their revision log. Not thread-safe: one thread, one instance per file."""

    def __init__(
        self,
        path: Path,
        *,
        history: int = 10_000,
        history_seconds: float = 3600.0,
        clock: Callable[[], float] = time.time,
        committed: Callable[[frozenset[str]], None] = lambda _kinds: None,
    ) -> None:
        """Open or create the file with mode 0600. ``committed`` is called with the kinds that each commit changed.

        Raises LocalMeshError when the file is held by another process or is no database of ours.
        """
        self._history = history
        self._history_seconds = history_seconds
        self._clock = clock
        self._committed = committed
        self._depth = 0
        self._changed: set[str] = set()
        self._since_compaction = 0
        self.reference_changes = 1
        """Counts removals and writes of objects with owners: while it stands still there is no new garbage."""
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=0.1)
        try:
            # Exclusive: a second process that opened the file would break the order of revisions.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_SCHEMA)
            counters = dict(self._db.execute("SELECT name, value FROM counter").fetchall())
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise LocalMeshError(
                f"cannot open the API server's database {path}: {error}",
                hint="another process holds the file, or it is damaged; stop that process or delete the file",
            ) from error
        self._revision: int = counters["revision"]
        self._compacted: int = counters["compacted"]
        self.compact()
        # Written to at once, so that the log is there.
        self._db.execute("UPDATE counter SET value = value WHERE name = 'revision'")
        self._durability = Durability(path.with_name(f"{path.name}-wal"))

    @property
    def revision(self) -> int:
        """The number of the newest revision."""
        return self._revision

    @property
    def compacted(self) -> int:
        """The oldest revision from which a watch can start or a list can be continued."""
        return self._compacted

    async def wait_durable(self) -> None:
        """Everything that was committed before the call survives a power cut."""
        await self._durability.wait()

    def close(self) -> None:
        """The file is complete and closed; a second call does nothing."""
        self._durability.close()
        self._db.close()

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    def get(self, key: Key) -> Stored | None:
        """The object as it is now."""
        row = self._db.execute(
            "SELECT revision, body FROM object WHERE kind = ? AND namespace = ? AND name = ?", key
        ).fetchone()
        return None if row is None else Stored(key, row[0], row[1])

    def list(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        at: int | None = None,
        after: tuple[str, str] = ("", ""),
    ) -> Iterator[Stored]:
        """Objects in the order of (namespace, name), from the first one behind ``after``, as they were ``at`` a revision.

        The iterator must be used up or dropped before the next write. ``at`` must not be older than ``compacted``;
        callers check that, because the answer to it is theirs.
        """
        source = "object" if at is None or at >= self._revision else f"({_AT_REVISION})"
        where = "(namespace, name) > (:after_namespace, :after_name)"
        if source == "object":
            where += " AND kind = :kind"
        if namespace is not None:
            where += " AND namespace = :namespace"
        rows = self._db.execute(
            f"SELECT namespace, name, revision, body FROM {source} WHERE {where} ORDER BY namespace, name",  # noqa: S608
            {"kind": kind, "namespace": namespace, "at": at, "after_namespace": after[0], "after_name": after[1]},
        )
        return (Stored(Key(kind, row[0], row[1]), row[2] or 0, row[3]) for row in rows)

    def changes(self, kind: str, after: int, *, limit: int = 256) -> tuple[tuple[Revision, ...], bool]:
        """The next revisions of a kind behind ``after``, in order, and whether there are no more.

        No more than ``limit``, and no more than one that goes beyond a mebibyte: a reader holds a step in memory.
        """
        rows = self._db.execute(
            "SELECT revision, change, namespace, name, body, previous FROM log"
            " WHERE kind = ? AND revision > ? ORDER BY revision",
            (kind, after),
        )
        found: list[Revision] = []
        size = 0
        for number, change, namespace, name, body, previous in rows:
            if len(found) == limit or size >= _STEP_BYTES:
                return tuple(found), False
            found.append(Revision(number, Change(change), Key(kind, namespace, name), body, previous))
            size += len(body)
        return tuple(found), True

    def unmarked(self, *, kind: str | None = None, namespace: str | None = None, limit: int) -> tuple[Stored, ...]:
        """Objects of a kind, or of any kind in a namespace, whose deletion nobody asked for yet."""
        rows = self._db.execute(
            "SELECT kind, namespace, name, revision, body FROM object WHERE NOT terminating"
            " AND (:kind IS NULL OR kind = :kind) AND (:namespace IS NULL OR namespace = :namespace) LIMIT :limit",
            {"kind": kind, "namespace": namespace, "limit": limit},
        )
        return tuple(Stored(Key(r[0], r[1], r[2]), r[3], r[4]) for r in rows.fetchall())

    def has_content(self, namespace: str) -> bool:
        """True when the namespace holds an object of any kind."""
        return self._db.execute("SELECT 1 FROM object WHERE namespace = ?", (namespace,)).fetchone() is not None

    def has_terminating(self) -> bool:
        """True when there is an object whose deletion was asked for and is not finished."""
        return self._db.execute("SELECT 1 FROM object WHERE terminating LIMIT 1").fetchone() is not None

    def terminating(self) -> tuple[Stored, ...]:
        """Objects whose deletion was asked for and is not finished."""
        rows = self._db.execute("SELECT kind, namespace, name, revision, body FROM object WHERE terminating")
        return tuple(Stored(Key(r[0], r[1], r[2]), r[3], r[4]) for r in rows.fetchall())

    def dependents(self, uid: str) -> tuple[Stored, ...]:
        """Objects with an ownerReference to ``uid``."""
        rows = self._db.execute(
            "SELECT kind, namespace, name, revision, body FROM object JOIN owner USING (kind, namespace, name)"
            " WHERE owner.uid = ?",
            (uid,),
        )
        return tuple(Stored(Key(r[0], r[1], r[2]), r[3], r[4]) for r in rows.fetchall())

    def orphans(self, *, limit: int) -> tuple[Stored, ...]:
        """Objects with an ownerReference to something that does not exist."""
        rows = self._db.execute(
            "SELECT DISTINCT kind, namespace, name, object.revision, object.body FROM owner"
            " JOIN object USING (kind, namespace, name)"
            " WHERE NOT object.terminating AND NOT EXISTS (SELECT 1 FROM object held WHERE held.uid = owner.uid) LIMIT ?",
            (limit,),
        )
        return tuple(Stored(Key(r[0], r[1], r[2]), r[3], r[4]) for r in rows.fetchall())

    def written_before(self, kind: str, moment: float, *, limit: int) -> tuple[Key, ...]:
        """Objects of a kind whose last write is older than a moment (seconds since the epoch)."""
        rows = self._db.execute(
            "SELECT kind, namespace, name FROM object WHERE kind = ? AND written < ? LIMIT ?", (kind, moment, limit)
        )
        return tuple(Key(*row) for row in rows.fetchall())

    def exists_uid(self, uid: str) -> bool:
        """True when an object with this uid is stored."""
        return self._db.execute("SELECT 1 FROM object WHERE uid = ?", (uid,)).fetchone() is not None

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written inside is committed together, or nothing is; nested ones join the outermost."""
        if self._depth:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
            return
        before = self._revision
        self._db.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
            if self._revision != before:
                self._db.execute("UPDATE counter SET value = ? WHERE name = 'revision'", (self._revision,))
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._revision = before
            self._changed.clear()
            raise
        finally:
            self._depth = 0
        changed, self._changed = frozenset(self._changed), set()
        if changed:
            self._committed(changed)
        self._since_compaction += self._revision - before
        if self._since_compaction >= _COMPACT_EVERY:
            self.compact()

    def put(self, key: Key, value: Mapping[str, Any]) -> Stored:
        """The object is stored under a new revision, which its metadata now carries; ``value`` is not changed."""
        with self.transaction():
            number = self._next(key)
            metadata = {**value["metadata"], "resourceVersion": str(number)}
            body = msgspec.json.encode({**value, "metadata": metadata})
            previous = self.get(key)
            now = self._clock()
            self._db.execute(
                "INSERT INTO object VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " revision = excluded.revision, uid = excluded.uid, terminating = excluded.terminating,"
                " written = excluded.written, body = excluded.body",
                (*key, number, metadata["uid"], "deletionTimestamp" in metadata, now, body),
            )
            self._db.execute("DELETE FROM owner WHERE kind = ? AND namespace = ? AND name = ?", key)
            self._db.executemany(
                "INSERT OR IGNORE INTO owner VALUES (?, ?, ?, ?)",
                [(reference["uid"], *key) for reference in metadata.get("ownerReferences") or ()],
            )
            self.reference_changes += bool(metadata.get("ownerReferences"))
            change = Change.ADDED if previous is None else Change.MODIFIED
            before = None if previous is None else previous.body
            self._append(Revision(number, change, key, body, before), now)
        return Stored(key, number, body)

    def remove(self, key: Key) -> Stored:
        """The object is gone; its last state is returned with the revision of the deletion. KeyError when absent."""
        with self.transaction():
            previous = self.get(key)
            if previous is None:
                raise KeyError(key)
            number = self._next(key)
            value = previous.decode()
            value["metadata"]["resourceVersion"] = str(number)
            body = msgspec.json.encode(value)
            self._db.execute("DELETE FROM object WHERE kind = ? AND namespace = ? AND name = ?", key)
            self._db.execute("DELETE FROM owner WHERE kind = ? AND namespace = ? AND name = ?", key)
            self.reference_changes += 1
            self._append(Revision(number, Change.DELETED, key, body, previous.body), self._clock())
        return Stored(key, number, body)

    def compact(self) -> None:
        """The log holds no more than ``history`` revisions and none older than ``history_seconds``.

        A failure is logged and tried again later: the log is then longer than asked for, and nothing else.
        """
        self._since_compaction = 0
        horizon = self._clock() - self._history_seconds
        # Revisions are in the order of time, so the first young one is found without reading the others.
        young = self._db.execute(
            "SELECT revision FROM log WHERE written >= ? ORDER BY revision LIMIT 1", (horizon,)
        ).fetchone()
        floor = max(self._revision - self._history, self._revision if young is None else young[0] - 1)
        if floor <= self._compacted:
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM log WHERE revision <= ?", (floor,))
            self._db.execute("UPDATE counter SET value = ? WHERE name = 'compacted'", (floor,))
            self._db.execute("COMMIT")
        except sqlite3.Error:
            _log.exception("log not compacted")
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            return
        self._compacted = floor

    def _next(self, key: Key) -> int:
        self._revision += 1
        self._changed.add(key.kind)
        return self._revision

    def _append(self, revision: Revision, now: float) -> None:
        self._db.execute(
            "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (revision.number, now, revision.change.value, *revision.key, revision.body, revision.previous),
        )
