"""translate(): all objects in, all proxies and a report out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.ir import Backend, PolicySet, Proxy, RouteConfiguration
from meshpass.memo import Memo
from meshpass.translate.binding import Binding
from meshpass.translate.jwtpolicy import PolicyRules
from meshpass.translate.objectreport import report_objects
from meshpass.translate.policyset import translate_policy_set
from meshpass.translate.report import Report
from meshpass.translate.resolution import Resolution, resolve
from meshpass.translate.routetable import TableRoutes
from meshpass.translate.sidecar import Sidecar
from meshpass.translate.view import selection_classes, services_of, translate_backends, translate_routes
from meshpass.translate.workspace import WorkspaceIndex


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Translation:
    """Everything that follows from an ObjectSet."""

    proxies: Mapping[str, Proxy]
    """Node id → what that Envoy has to do."""
    report: Report


def translate(objects: ObjectSet, management_cluster: str, memo: Memo) -> Translation:
    """What every proxy has to do, and what there is to say about every object.

    The same objects give an equal result, in whatever order they came; what did not change keeps its identity.
    """
    resolution = resolve(objects, management_cluster, memo)
    bound = {
        sidecar.node: memo(_bound_tables, sidecar, resolution.tables, resolution.bindings, resolution.workspaces)
        for sidecar in resolution.sidecars
    }
    proxies = {
        sidecar.node: _translate_proxy(sidecar, bound[sidecar.node], resolution, memo)
        for sidecar in resolution.sidecars
    }
    report = report_objects(objects, resolution, bound)
    memo.next_generation()
    return Translation(proxies=MappingProxyType(proxies), report=report)


def _bound_tables(
    sidecar: Sidecar,
    tables: Mapping[ObjectKey, TableRoutes],
    bindings: Mapping[ObjectKey, Binding],
    workspaces: WorkspaceIndex,
) -> tuple[TableRoutes, ...]:
    """The tables of the sidecar's workspace that are bound to it, oldest first."""
    home = workspaces.owners.get((sidecar.key.cluster, sidecar.key.namespace))
    return tuple(table for key, table in tables.items() if table.workspace == home and bindings[key].selects(sidecar))


def _translate_proxy(sidecar: Sidecar, tables: tuple[TableRoutes, ...], resolution: Resolution, memo: Memo) -> Proxy:
    winners = resolution.winners
    local = memo(services_of, resolution.services, sidecar.key.cluster)
    classes = memo(selection_classes, tables)
    used = tuple(sorted({winners[name] for name in classes if name in winners}))
    return memo(
        _make_proxy,
        sidecar,
        memo(translate_routes, sidecar.key.namespace, local, tables, memo),
        memo(translate_backends, local, tables, resolution.endpoints, memo),
        memo(_policy_set, classes, winners, used, tuple(resolution.rules[key] for key in used)),
    )


def _policy_set(
    classes: Mapping[str, None],
    winners: Mapping[str, ObjectKey],
    used: Iterable[ObjectKey],
    rules: Iterable[PolicyRules],
) -> PolicySet:
    return translate_policy_set(classes, winners, dict(zip(used, rules, strict=True)))


def _make_proxy(
    sidecar: Sidecar, routes: RouteConfiguration, backends: tuple[Backend, ...], policies: PolicySet
) -> Proxy:
    return Proxy(
        node=sidecar.node,
        listeners=sidecar.listeners,
        application=sidecar.application,
        backends=backends,
        routes=routes,
        policies=policies,
    )
