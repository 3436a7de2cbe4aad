"""TreeStore: what frozen tables served last, over a restart; with real SQLite."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.objects import BASE, NO_KEY_SETS, SETTINGS, forward, object_set, route_table

from meshpass.memo import Memo
from meshpass.translate import translate
from meshpass.translate.freeze import FrozenTrees
from meshpass.treestore import TreeStore


def table(name: str, *, broken: bool = False) -> dict[str, Any]:
    http = [
        forward(route=name),
        {"name": "labelled", "labels": {"a": "b"}, "directResponse": {"status": 299, "body": "x"}},
    ]
    if broken:
        http.append({"name": "broken", "forwardTo": {"destinations": [{"ref": {"name": "nothing"}}]}})
    return route_table(name, hosts=[f"{name}.example.com"], failureMode="FREEZE_CONFIG", http=http)


def trees(*manifests: dict[str, Any], kept: FrozenTrees | None = None) -> FrozenTrees:
    return translate(object_set(BASE, *manifests), NO_KEY_SETS, SETTINGS, Memo(), kept or {}).trees


def contents(found: FrozenTrees) -> dict[str, Any]:
    return {key.name: plain(tree) for key, tree in found.items()}


def plain(value: Any) -> Any:
    """The value with nothing but its contents: sets have no order that would be the same on the disk."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return sorted(([plain(key), plain(one)] for key, one in value.items()), key=repr)
    if isinstance(value, frozenset):
        return sorted(map(plain, value), key=repr)
    return list(map(plain, value)) if isinstance(value, tuple) else value


def loaded(path: Path) -> TreeStore:
    store = TreeStore(path)
    store.load()
    return store


def test_what_was_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    """Tree by tree, whole; in a file that only its owner reads."""
    path = tmp_path / "frozen.db"
    found = trees(table("one"), table("two"))
    loaded(path).save(found)

    assert len(found) == 2
    assert contents(loaded(path).trees) == contents(found)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_broken_table_keeps_its_tree_over_a_restart(tmp_path: Path) -> None:
    """A translation that is given what was loaded keeps it, whatever the table says now."""
    path = tmp_path / "frozen.db"
    loaded(path).save(trees(table("one")))

    store = loaded(path)
    kept = trees(table("one", broken=True), kept=store.trees)
    store.save(kept)

    assert contents(loaded(path).trees) == contents(trees(table("one")))


def test_trees_of_tables_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    """Deleted, or of another failure mode."""
    path = tmp_path / "frozen.db"
    store = loaded(path)
    store.save(trees(table("one"), table("two")))
    store.save(trees(table("two")))

    assert set(contents(loaded(path).trees)) == {"two"}


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80"])
def test_a_tree_that_cannot_be_read_is_as_if_it_had_never_been(tmp_path: Path, body: bytes) -> None:
    """The others are read."""
    path = tmp_path / "frozen.db"
    loaded(path).save(trees(table("one"), table("two")))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE trees SET body = ? WHERE name = 'one'", (body,))

    assert set(contents(loaded(path).trees)) == {"two"}


def test_a_file_that_is_no_database_is_put_aside(tmp_path: Path) -> None:
    """The store works on, and the file can be looked at."""
    path = tmp_path / "frozen.db"
    path.write_bytes(b"not a database, but something longer than its header of a hundred bytes " * 4)
    store = loaded(path)

    assert store.trees == {}
    store.save(trees(table("one")))
    assert set(contents(loaded(path).trees)) == {"one"}
    assert (tmp_path / "frozen.unreadable").exists()


def test_a_disk_that_refuses_loses_nothing_in_memory(tmp_path: Path) -> None:
    """What could not be written is tried again with the next save."""
    directory = tmp_path / "gone"
    store = TreeStore(directory / "frozen.db")
    found = trees(table("one"))
    store.save(found)
    assert store.trees is found

    directory.mkdir()
    store.save(found)
    assert set(contents(loaded(directory / "frozen.db").trees)) == {"one"}
