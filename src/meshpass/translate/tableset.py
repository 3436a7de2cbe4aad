"""TableSet: the route tables that some sidecars use."""

from __future__ import annotations

from dataclasses import dataclass

from meshpass.translate.routetable import TableRoutes


@dataclass(frozen=True, slots=True, eq=False)
class TableSet:
    """Tables, oldest first. One object for all sidecars that use the same ones, so that it is a cheap memo key."""

    tables: tuple[TableRoutes, ...]


def make_table_set(tables: tuple[TableRoutes, ...]) -> TableSet:
    """The set; to be called through the memo, which makes equal ones one."""
    return TableSet(tables)
