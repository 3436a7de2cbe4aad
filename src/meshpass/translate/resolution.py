"""Resolution: everything that holds for all proxies alike, found once per translation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from meshpass.api.admin import KubernetesCluster, Workspace
from meshpass.api.core import EndpointSlice, Namespace, Pod, Service
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.api.routetable import RouteTable
from meshpass.api.security import JWTPolicy
from meshpass.memo import Memo
from meshpass.translate.age import by_age
from meshpass.translate.binding import Binding, translate_binding
from meshpass.translate.jwtpolicy import PolicyRules, translate_policy
from meshpass.translate.precedence import Winners, decide
from meshpass.translate.routetable import TableRoutes, translate_table
from meshpass.translate.selection import ClassIndex, select_classes
from meshpass.translate.selection_class import RouteProperties
from meshpass.translate.service import EndpointIndex, Services, index_endpoints, index_services
from meshpass.translate.sidecar import Sidecar, find_sidecars
from meshpass.translate.workspace import WorkspaceIndex, index_workspaces


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resolution:
    """What routes, policies and workloads there are, and which policy holds on which selection class."""

    workspaces: WorkspaceIndex
    services: Services
    endpoints: EndpointIndex
    sidecars: tuple[Sidecar, ...]
    tables: Mapping[ObjectKey, TableRoutes]
    """The tables that count, oldest first."""
    bindings: Mapping[ObjectKey, Binding]
    rules: Mapping[ObjectKey, PolicyRules]
    decisions: tuple[Winners, ...]
    """One for each workspace."""
    winners: Mapping[str, ObjectKey]
    """Selection class → the policy that holds on it."""


def resolve(objects: ObjectSet, management_cluster: str, memo: Memo) -> Resolution:
    """Resolve workspaces, services, tables, policies, and precedence among them."""
    workspaces = memo(
        index_workspaces,
        objects.all(Workspace),
        objects.all(KubernetesCluster),
        objects.all(Namespace),
        management_cluster,
    )
    services = memo(index_services, objects.all(Service))
    tables = memo(_translate_tables, objects.all(RouteTable), workspaces, services, memo)
    decisions = tuple(
        _decide(objects, workspaces, workspace, memo(_index_classes, tables, workspace), services, memo)
        for workspace in sorted(set(workspaces.owners.values()))
    )
    return Resolution(
        workspaces=workspaces,
        services=services,
        endpoints=memo(index_endpoints, objects.all(EndpointSlice)),
        sidecars=memo(find_sidecars, objects.all(Pod), objects.all(Service)),
        tables=tables,
        bindings=memo(_translate_bindings, objects.all(RouteTable), memo),
        rules=_translate_policies(objects, memo),
        decisions=decisions,
        winners=memo(_merge_winners, decisions),
    )


def _translate_tables(
    tables: Mapping[ObjectKey, RouteTable], workspaces: WorkspaceIndex, services: Services, memo: Memo
) -> Mapping[ObjectKey, TableRoutes]:
    """Every table that counts, oldest first."""
    return {
        key: memo(translate_table, key, table, workspace, services)
        for key, table in by_age(tables)
        if (workspace := workspaces.owner(key)) is not None
    }


def _translate_bindings(tables: Mapping[ObjectKey, RouteTable], memo: Memo) -> Mapping[ObjectKey, Binding]:
    return {key: memo(translate_binding, key, table) for key, table in tables.items()}


def _translate_policies(objects: ObjectSet, memo: Memo) -> Mapping[ObjectKey, PolicyRules]:
    return {
        key: memo(translate_policy, key, policy, objects.problems.get(key, ()))
        for key, policy in objects.all(JWTPolicy).items()
    }


def _index_classes(tables: Mapping[ObjectKey, TableRoutes], workspace: str) -> ClassIndex:
    properties: dict[str, RouteProperties] = {}
    by_label: dict[tuple[str, str], list[str]] = defaultdict(list)
    of_tables: dict[str, list[ObjectKey]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for key, table in tables.items():
        if table.workspace != workspace:
            continue
        counts.update(table.route_counts)
        for name, route in table.classes.items():
            of_tables[name].append(key)
            if name not in properties:
                properties[name] = route
                for label in route.labels:
                    by_label[label].append(name)
    return ClassIndex(
        properties=properties,
        by_label={label: tuple(names) for label, names in by_label.items()},
        tables={name: tuple(keys) for name, keys in of_tables.items()},
        route_counts=counts,
    )


def _decide(  # noqa: PLR0917
    objects: ObjectSet,
    workspaces: WorkspaceIndex,
    workspace: str,
    index: ClassIndex,
    services: Services,
    memo: Memo,
) -> Winners:
    selected = tuple(
        (key, memo(select_classes, policy.spec, index, services))
        for key, policy in by_age(objects.all(JWTPolicy))
        if workspaces.owner(key) == workspace
    )
    return memo(decide, selected, index)


def _merge_winners(decisions: tuple[Winners, ...]) -> Mapping[str, ObjectKey]:
    # A class is a hash of its workspace among other things, so no two workspaces decide about one class.
    return {name: key for one in decisions for name, key in one.by_class.items()}
