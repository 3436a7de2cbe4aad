"""TreeStore: what frozen route tables served last, on disk, so that freezing outlives the control plane."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import msgspec

from meshpass.api.objectset import ObjectKey
from meshpass.secretfile import write_secret_file
from meshpass.translate.freeze import FrozenTree, FrozenTrees, decode_tree, encode_tree

logger = logging.getLogger(__name__)

FORMAT = 1
"""Of the stored bodies; those of another format are not read."""


class TreeStore:
    """A SQLite file. What ``save`` was given is there after a crash at any later moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: FrozenTrees = {}
        self.trees: FrozenTrees = {}
        """What was loaded, or was to be saved last."""

    def load(self) -> None:
        """Read what is on disk. What cannot be read is told and left out: such a table is as if it had never been right."""
        if not self._path.exists():
            return
        try:
            with closing(self._connect()) as connection:
                rows = connection.execute("SELECT cluster, namespace, name, body FROM trees").fetchall()
        except sqlite3.DatabaseError:
            logger.exception("frozen route tables cannot be read; begun anew", extra={"path": str(self._path)})
            self._path.rename(self._path.with_suffix(".unreadable"))
            return
        found = {}
        for cluster, namespace, name, body in rows:
            key = ObjectKey("RouteTable", cluster, namespace, name)
            try:
                found[key] = decode_tree(body)
            except msgspec.MsgspecError:
                logger.warning("a frozen route table cannot be read", extra={"object": str(key)})
        self._saved = self.trees = found

    def save(self, trees: FrozenTrees) -> None:
        """These trees, and no others, are on disk afterwards. Costs nothing where none changed.

        If they cannot be written, what was there before is there still, and the next call tries again.
        """
        self.trees = trees
        if trees is self._saved:
            return
        changed = {key: tree for key, tree in trees.items() if self._saved.get(key) is not tree}
        gone = [key for key in self._saved if key not in trees]
        if changed or gone:
            try:
                with closing(self._connect()) as connection:
                    self._write(connection, changed, gone)
            except (sqlite3.Error, OSError):
                logger.exception("frozen route tables are not on disk", extra={"path": str(self._path)})
                return
        self._saved = trees

    def _write(
        self, connection: sqlite3.Connection, changed: Mapping[ObjectKey, FrozenTree], gone: list[ObjectKey]
    ) -> None:
        with connection:
            connection.executemany(
                "DELETE FROM trees WHERE cluster = ? AND namespace = ? AND name = ?", map(_place, gone)
            )
            connection.executemany(
                "INSERT OR REPLACE INTO trees VALUES (?, ?, ?, ?)",
                ((*_place(key), encode_tree(tree)) for key, tree in changed.items()),
            )

    def _connect(self) -> sqlite3.Connection:
        if not self._path.exists():
            write_secret_file(self._path, b"")
        connection = sqlite3.connect(self._path)
        connection.execute("PRAGMA synchronous = FULL")
        if connection.execute("PRAGMA user_version").fetchone() != (FORMAT,):
            with connection:
                connection.execute("DROP TABLE IF EXISTS trees")
                connection.execute(
                    "CREATE TABLE trees (cluster TEXT, namespace TEXT, name TEXT, body BLOB, "
                    "PRIMARY KEY (cluster, namespace, name))"
                )
                connection.execute(f"PRAGMA user_version = {FORMAT}")
        return connection


def _place(key: ObjectKey) -> tuple[str, str, str]:
    return (key.cluster, key.namespace, key.name)
