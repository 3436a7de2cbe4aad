"""ObjectLog: what an ObjectStore held last, on disk, so that a process starts from where the one before it was."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from meshpass.api.objectset import ObjectKey
from meshpass.errors import ManifestError, MeshpassError
from meshpass.kube.essence import Essence, decode_essence
from meshpass.secretfile import write_secret_file

logger = logging.getLogger(__name__)

FORMAT = 1
"""Of the tables; a file of another format is begun anew."""

_PASSING = frozenset(
    {
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR),
        *(sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY),
    }
)
"""What is wrong with the system and not with the file (https://www.sqlite.org/rescode.html): the disk is full, say."""

_TABLES = """
CREATE TABLE objects (
  kind TEXT, cluster TEXT, namespace TEXT, name TEXT, version TEXT, generation INTEGER, status BLOB, essence BLOB,
  PRIMARY KEY (kind, cluster, namespace, name)
);
CREATE TABLE labels (cluster TEXT PRIMARY KEY, label TEXT);
CREATE TABLE complete (cluster TEXT, kind TEXT, PRIMARY KEY (cluster, kind));
CREATE TABLE facts (cluster TEXT, name TEXT, body BLOB, PRIMARY KEY (cluster, name));
"""


class Row(NamedTuple):
    """One object as it is stored."""

    version: str
    """Its resourceVersion; empty for an object of another process's API server."""
    generation: int
    status: bytes
    """As JSON."""
    essence: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What one batch changed; None for what is there no longer."""

    objects: Mapping[ObjectKey, Row | None] = field(default_factory=dict)
    labels: Mapping[str, str | None] = field(default_factory=dict)
    complete: frozenset[tuple[str, str]] = frozenset()
    """(cluster, kind) of what has been listed as a whole."""
    facts: Mapping[tuple[str, str], bytes | None] = field(default_factory=dict)
    """(cluster, name) → fact."""

    def then(self, later: Changes) -> Changes:
        """Both, one after the other."""
        return Changes(
            objects={**self.objects, **later.objects},
            labels={**self.labels, **later.labels},
            complete=self.complete | later.complete,
            facts={**self.facts, **later.facts},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was stored."""

    objects: Mapping[ObjectKey, tuple[Row, Essence]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    complete: frozenset[tuple[str, str]] = frozenset()
    facts: Mapping[tuple[str, str], bytes] = field(default_factory=dict)


class ObjectLog:
    """A SQLite file of mode 0600. What ``write`` was given is there after a process that was killed at any later moment.

    A machine that loses its power may lose the last batches as well, never parts of one: what is there then is an older
    state, from which every list and every stream goes on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._unwritten: Changes | None = None

    def load(self) -> Restored:
        """What is on disk. A file of which any part cannot be read is begun anew, told in the log: half would be wrong.

        Raises MeshpassError where the system does not let the file be opened, because its disk is full, say. The file stays.
        """
        if not self._path.exists():
            return Restored()
        try:
            return _read(self._connect())
        except (sqlite3.DatabaseError, ManifestError) as error:
            if isinstance(error, sqlite3.DatabaseError) and _is_passing(error):
                raise MeshpassError(
                    f"{self._path} cannot be opened: {error}",
                    hint="make room on the disk, or see who may write there; without the file, all would be forgotten",
                ) from error
            logger.exception("stored objects cannot be read; begun anew", extra={"path": str(self._path)})
            self.close()
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            self._path.replace(self._path.with_suffix(".unreadable"))
            return Restored()

    def write(self, changes: Changes) -> None:
        """The changes are on disk afterwards, in one transaction. If they cannot be written, the next call tries again."""
        due = changes if self._unwritten is None else self._unwritten.then(changes)
        try:
            connection = self._connect()
            with connection:
                _write(connection, due)
        except (sqlite3.Error, OSError):
            if self._unwritten is None:  # once per outage
                logger.exception("objects are not on disk", extra={"path": str(self._path)})
            self._unwritten = due
            return
        self._unwritten = None

    def close(self) -> None:
        """Nothing is open any more."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        if not self._path.exists():
            write_secret_file(self._path, b"")
        connection = sqlite3.connect(self._path)
        try:
            # Files that SQLite makes beside this one get its mode.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            if connection.execute("PRAGMA user_version").fetchone() != (FORMAT,):
                _begin(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection


def _is_passing(error: sqlite3.DatabaseError) -> bool:
    # Errors of Python's own module have no code; of SQLite's, the low byte is the kind.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF in _PASSING


def _begin(connection: sqlite3.Connection) -> None:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    drop = "".join(f"DROP TABLE {name};" for (name,) in tables)
    connection.executescript(f"BEGIN;{drop}{_TABLES}PRAGMA user_version = {FORMAT};COMMIT;")


def _read(connection: sqlite3.Connection) -> Restored:
    objects: dict[ObjectKey, tuple[Row, Essence]] = {}
    for kind, cluster, namespace, name, *rest in connection.execute("SELECT * FROM objects"):
        row = Row(*rest)
        objects[ObjectKey(kind, cluster, namespace, name)] = (row, decode_essence(row.essence))
    facts = connection.execute("SELECT cluster, name, body FROM facts").fetchall()
    return Restored(
        objects=objects,
        labels=dict(connection.execute("SELECT cluster, label FROM labels").fetchall()),
        complete=frozenset(connection.execute("SELECT cluster, kind FROM complete").fetchall()),
        facts={(cluster, name): body for cluster, name, body in facts},
    )


def _write(connection: sqlite3.Connection, changes: Changes) -> None:
    def each(statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        connection.executemany(statement, rows)

    each(
        "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        ((*key, *row) for key, row in changes.objects.items() if row is not None),
    )
    each(
        "DELETE FROM objects WHERE kind = ? AND cluster = ? AND namespace = ? AND name = ?",
        (tuple(key) for key, row in changes.objects.items() if row is None),
    )
    each("INSERT OR REPLACE INTO labels VALUES (?, ?)", ((c, one) for c, one in changes.labels.items() if one))
    each("DELETE FROM labels WHERE cluster = ?", ((c,) for c, one in changes.labels.items() if not one))
    each("INSERT OR REPLACE INTO complete VALUES (?, ?)", changes.complete)
    each(
        "INSERT OR REPLACE INTO facts VALUES (?, ?, ?)",
        ((*place, body) for place, body in changes.facts.items() if body is not None),
    )
    each(
        "DELETE FROM facts WHERE cluster = ? AND name = ?",
        (place for place, body in changes.facts.items() if body is None),
    )
