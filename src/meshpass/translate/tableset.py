"""TableSet: the route tables that some proxies use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from meshpass.translate.tableroutes import LabelSet, TableRoutes


@dataclass(frozen=True, slots=True, eq=False)
class TableSet:
    """Tables, oldest first. One object for all sidecars that use the same ones, so that it is a cheap memo key."""

    tables: tuple[TableRoutes, ...]


def make_table_set(tables: tuple[TableRoutes, ...]) -> TableSet:
    """The set; to be called through the memo, which makes equal ones one."""
    return TableSet(tables)


def restrict_table(table: TableRoutes, labels: LabelSet) -> TableRoutes:
    """The table as a sidecar of a workload with these labels uses it."""
    known: Mapping[str, str] = dict(labels)
    return replace(table, routes=tuple(placed for placed in table.routes if placed.is_for(known)))
