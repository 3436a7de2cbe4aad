"""Which tables each proxy uses (behaviour §5.2)."""

from __future__ import annotations

from collections.abc import Mapping

from meshpass.api.objectset import ObjectKey
from meshpass.memo import Memo
from meshpass.translate.binding import Binding
from meshpass.translate.gateway import Gateway
from meshpass.translate.gatewayview import GatewayView, translate_gateway
from meshpass.translate.resolution import Resolution
from meshpass.translate.settings import FeatureGates
from meshpass.translate.sharing import Sharing
from meshpass.translate.sidecar import Sidecar
from meshpass.translate.tableroutes import LabelSet, TableRoutes
from meshpass.translate.tableset import TableSet, make_table_set, restrict_table
from meshpass.translate.workspace import WorkspaceIndex


def bind_sidecar(sidecar: Sidecar, resolution: Resolution, memo: Memo) -> TableSet:
    """The tables that are for the sidecar, oldest first, without the routes that are for others.

    They are of its workspace, or imported by it: these are for the same workloads as at home, by their labels.
    """
    labels = tuple(sorted(sidecar.labels.items()))
    place = (sidecar.key.cluster, sidecar.key.namespace)
    return memo(_bind, place, labels, resolution.tables, resolution.bindings, resolution.workspaces, memo)


def _bind(  # noqa: PLR0917
    place: tuple[str, str],
    labels: LabelSet,
    tables: Mapping[ObjectKey, TableRoutes],
    bindings: Mapping[ObjectKey, Binding],
    workspaces: WorkspaceIndex,
    memo: Memo,
) -> TableSet:
    home = workspaces.owners.get(place)
    selected = memo.each(_selects, bindings, labels)
    users = memo.each(_users, tables, workspaces.sharing)
    # The workspace's own come before those that it imports: nobody takes a host away by being older.
    used = sorted(
        (table for key, table in tables.items() if home in users[key] and selected[key]),
        key=lambda table: table.workspace != home,
    )
    return memo(
        make_table_set,
        tuple(memo(restrict_table, one, labels) if one.restricted else one for one in used),
    )


def _users(key: ObjectKey, table: TableRoutes, sharing: Sharing) -> frozenset[str]:
    """The workspaces whose sidecars may use a table."""
    importers = sharing.importers(table.workspace)
    found = (one for one in importers if sharing.shares(key, table.labels, table.workspace, one))
    return frozenset({table.workspace, *found})


def _selects(_key: ObjectKey, binding: Binding, labels: LabelSet) -> bool:
    return binding.selects(dict(labels))


def bind_gateway(
    gateway: Gateway, resolution: Resolution, gates: FeatureGates, memo: Memo
) -> tuple[GatewayView, TableSet]:
    """What a gateway listens on and serves, and the tables that it serves it from."""
    tables = memo(_all_tables, resolution.tables)
    view = memo(translate_gateway, gateway, tables, resolution.bindings, resolution.workspaces, gates, memo)
    return view, memo(make_table_set, view.tables)


def _all_tables(tables: Mapping[ObjectKey, TableRoutes]) -> tuple[TableRoutes, ...]:
    return tuple(tables.values())
