"""TableIndex: the route tables that those of one workspace may delegate to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from meshpass.api.common import ObjectSelector
from meshpass.api.objectset import ObjectKey
from meshpass.api.routetable import Delegate, RouteTable
from meshpass.memo import Memo
from meshpass.translate.age import age, by_age
from meshpass.translate.workspace import WorkspaceIndex


class KnownTable(NamedTuple):
    """A table of a workspace, with what could not be read of it."""

    key: ObjectKey
    table: RouteTable
    problems: tuple[str, ...]
    workspace: str
    delegates: bool
    """True for a table that leaves some of its requests to others."""
    importers: tuple[str, ...] = ()
    """The other workspaces that may delegate to it; sorted."""


def know_tables(
    tables: Mapping[ObjectKey, RouteTable],
    workspaces: WorkspaceIndex,
    problems: Mapping[ObjectKey, tuple[str, ...]],
    memo: Memo,
) -> Mapping[ObjectKey, KnownTable]:
    """The tables that some workspace reads, oldest first."""
    known = memo.each(_know_table, dict(by_age(tables)), workspaces, problems)
    return {key: one for key, one in known.items() if one is not None}


def _know_table(
    key: ObjectKey, table: RouteTable, workspaces: WorkspaceIndex, problems: Mapping[ObjectKey, tuple[str, ...]]
) -> KnownTable | None:
    workspace = workspaces.owner(key)
    if workspace is None:
        return None
    delegates = any(http.delegate is not None for http in table.spec.http)
    sharing, labels = workspaces.sharing, table.metadata.labels
    importers = (one for one in sharing.importers(workspace) if sharing.shares(key, labels, workspace, one))
    return KnownTable(key, table, problems.get(key, ()), workspace, delegates, tuple(sorted(importers)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableIndex:
    """The tables of one workspace and those that it imports, oldest first."""

    workspace: str
    tables: tuple[KnownTable, ...] = ()
    by_name: Mapping[str, tuple[KnownTable, ...]] = field(default_factory=lambda: MappingProxyType({}))
    peers: Mapping[str, TableIndex] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """Workspace → its index, for all of them: a table that is delegated to delegates on as its own workspace may."""

    def select(self, selector: ObjectSelector) -> Iterable[KnownTable]:
        """The tables that a selector is for. One with hosts of its own is for no table but by its name."""
        candidates = self.by_name.get(selector.name, ()) if selector.name else self.tables
        return (
            one
            for one in candidates
            if selector.namespace in {"", one.key.namespace}
            and selector.cluster in {"", one.key.cluster}
            and selector.workspace in {"", one.workspace}
            and selector.labels.items() <= one.table.metadata.labels.items()
            and (selector.name or not one.table.spec.hosts)
        )


def index_tables(known: Mapping[ObjectKey, KnownTable]) -> Mapping[str, TableIndex]:
    """Workspace → the tables that its tables may delegate to: its own, and those that it imports."""
    of_workspace: dict[str, list[KnownTable]] = defaultdict(list)
    for one in known.values():
        for workspace in (one.workspace, *one.importers):
            of_workspace[workspace].append(one)
    indexes: dict[str, TableIndex] = {}
    peers = MappingProxyType(indexes)
    for workspace, tables in of_workspace.items():
        indexes[workspace] = _make_index(workspace, tuple(tables), peers)
    return peers


def _make_index(workspace: str, tables: tuple[KnownTable, ...], peers: Mapping[str, TableIndex]) -> TableIndex:
    by_name: dict[str, list[KnownTable]] = defaultdict(list)
    for one in tables:
        by_name[one.key.name].append(one)
    known = {name: tuple(several) for name, several in by_name.items()}
    return TableIndex(workspace=workspace, tables=tables, by_name=known, peers=peers)


def choose_children(delegate: Delegate, tables: TableIndex) -> tuple[KnownTable, ...]:
    """The tables that a route delegates to, each once: the heaviest first, then in the order of the list, then by age."""
    chosen: dict[ObjectKey, tuple[int, KnownTable]] = {}
    for place, selector in enumerate(delegate.route_tables):
        for one in tables.select(selector):
            chosen.setdefault(one.key, (place, one))
    ordered = sorted(chosen.values(), key=lambda entry: (-entry[1].table.spec.weight, entry[0], age(*entry[1][:2])))
    return tuple(one for _, one in ordered)


def without_tables(workspace: str) -> TableIndex:
    """An index for tables that delegate to none; through the memo always the same, so that no other table's edit matters."""
    return TableIndex(workspace=workspace)
