"""Resolution: everything that holds for all proxies alike, found once per translation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from meshpass.api.admin import KubernetesCluster, Workspace
from meshpass.api.common import DestinationSelector, RouteSelector
from meshpass.api.core import EndpointSlice, Namespace, Pod, Secret, Service
from meshpass.api.external import ExternalEndpoint, ExternalService
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.api.routetable import RouteTable
from meshpass.api.security import JWTPolicy
from meshpass.api.virtualdestination import VirtualDestination
from meshpass.memo import Memo
from meshpass.translate.age import by_age
from meshpass.translate.binding import Binding, translate_binding
from meshpass.translate.jwtpolicy import PolicyRules, translate_policy
from meshpass.translate.keydestination import Destinations
from meshpass.translate.keyresolution import KeyContext, find_sources, resolve_keys
from meshpass.translate.keysource import KeyFetch, KeySets, KeySource
from meshpass.translate.precedence import Winners, decide
from meshpass.translate.routetable import TableRoutes, translate_table
from meshpass.translate.selection import ClassIndex, select_classes, select_destinations
from meshpass.translate.selection_class import DestinationPort, RouteProperties
from meshpass.translate.service import EndpointIndex, Services, index_endpoints, index_services
from meshpass.translate.settings import TranslateSettings
from meshpass.translate.sidecar import Sidecar, find_sidecars
from meshpass.translate.workspace import WorkspaceIndex, index_workspaces


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decisions:
    """Which policies of one workspace hold on which routes and destinations."""

    workspace: str
    index: ClassIndex
    routes: Winners[str]
    destinations: Winners[DestinationPort]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resolution:
    """What routes, policies and workloads there are, and which policy holds where."""

    workspaces: WorkspaceIndex
    services: Services
    endpoints: EndpointIndex
    sidecars: tuple[Sidecar, ...]
    tables: Mapping[ObjectKey, TableRoutes]
    """The tables that count, oldest first."""
    bindings: Mapping[ObjectKey, Binding]
    rules: Mapping[ObjectKey, PolicyRules]
    key_sources: Mapping[KeySource, KeyFetch]
    decisions: tuple[Decisions, ...]
    """One for each workspace."""
    route_winners: Mapping[str, ObjectKey]
    """Selection class of routes → the policy that holds on it."""
    destination_winners: Mapping[DestinationPort, ObjectKey]
    """Service port → the policy that holds on it."""


def resolve(objects: ObjectSet, key_sets: KeySets, settings: TranslateSettings, memo: Memo) -> Resolution:
    """Resolve workspaces, services, tables, policies, and precedence among them."""
    workspaces = memo(
        index_workspaces,
        objects.all(Workspace),
        objects.all(KubernetesCluster),
        objects.all(Namespace),
        settings.management_cluster,
    )
    services = memo(index_services, objects.all(Service))
    endpoints = memo(index_endpoints, objects.all(EndpointSlice))
    destinations = memo(
        _key_destinations,
        services,
        endpoints,
        objects.all(ExternalService),
        objects.all(ExternalEndpoint),
        objects.all(VirtualDestination),
        workspaces,
    )
    context = memo(_key_context, objects.all(Secret), destinations, workspaces, key_sets)
    tables = memo(_translate_tables, objects.all(RouteTable), workspaces, services, objects.problems, memo)
    policies = by_age(objects.all(JWTPolicy))
    decisions = tuple(
        _decide(
            workspace,
            policies,
            objects.problems,
            workspaces,
            memo(_index_classes, tables, workspace),
            services,
            memo,
        )
        for workspace in sorted(set(workspaces.owners.values()))
    )
    return Resolution(
        workspaces=workspaces,
        services=services,
        endpoints=endpoints,
        sidecars=memo(find_sidecars, objects.all(Pod), objects.all(Service)),
        tables=tables,
        bindings=memo(_translate_bindings, objects.all(RouteTable), memo),
        rules=_translate_policies(objects, context, memo),
        key_sources=memo(find_sources, objects.all(JWTPolicy), context),
        decisions=decisions,
        route_winners=memo(_merge_routes, decisions, settings.gates.EnableJWTPolicyEastWestRoute),
        destination_winners=memo(_merge_destinations, decisions),
    )


def _key_destinations(  # noqa: PLR0917
    services: Services,
    endpoints: EndpointIndex,
    external_services: Mapping[ObjectKey, ExternalService],
    external_endpoints: Mapping[ObjectKey, ExternalEndpoint],
    virtual_destinations: Mapping[ObjectKey, VirtualDestination],
    workspaces: WorkspaceIndex,
) -> Destinations:
    return Destinations(
        services=services,
        endpoints=endpoints,
        external_services=external_services,
        external_endpoints=external_endpoints,
        virtual_destinations=virtual_destinations,
        workspaces=workspaces,
    )


def _key_context(
    secrets: Mapping[ObjectKey, Secret], destinations: Destinations, workspaces: WorkspaceIndex, key_sets: KeySets
) -> KeyContext:
    return KeyContext(secrets=secrets, destinations=destinations, workspaces=workspaces, key_sets=key_sets)


def _translate_tables(
    tables: Mapping[ObjectKey, RouteTable],
    workspaces: WorkspaceIndex,
    services: Services,
    problems: Mapping[ObjectKey, tuple[str, ...]],
    memo: Memo,
) -> Mapping[ObjectKey, TableRoutes]:
    """Every table that counts, oldest first."""
    return {
        key: memo(translate_table, key, table, workspace, services, problems.get(key, ()))
        for key, table in by_age(tables)
        if (workspace := workspaces.owner(key)) is not None
    }


def _translate_bindings(tables: Mapping[ObjectKey, RouteTable], memo: Memo) -> Mapping[ObjectKey, Binding]:
    return {key: memo(translate_binding, key, table) for key, table in tables.items()}


def _translate_policies(objects: ObjectSet, context: KeyContext, memo: Memo) -> Mapping[ObjectKey, PolicyRules]:
    return {
        key: memo(
            translate_policy,
            key,
            policy,
            objects.problems.get(key, ()),
            memo(resolve_keys, key, policy, context),
            memo,
        )
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
    workspace: str,
    policies: list[tuple[ObjectKey, JWTPolicy]],
    problems: Mapping[ObjectKey, tuple[str, ...]],
    workspaces: WorkspaceIndex,
    index: ClassIndex,
    services: Services,
    memo: Memo,
) -> Decisions:
    own = [(key, policy) for key, policy in policies if workspaces.owner(key) == workspace]
    # By what the policies select with, not by the policies: an edit of anything else selects and decides nothing anew.
    routes = tuple(
        (key, memo(select_classes, *_selectors(policy, problems.get(key, ())), index, services)) for key, policy in own
    )
    local = memo(_services_of, services, workspace, workspaces)
    destinations = tuple(
        (key, memo(select_destinations, policy.spec.apply_to_destinations, workspace, local)) for key, policy in own
    )
    return memo(_make_decisions, workspace, index, memo(decide, routes), memo(decide, destinations))


EVERY_ROUTE = (RouteSelector(),)


def _selectors(
    policy: JWTPolicy, problems: tuple[str, ...]
) -> tuple[tuple[RouteSelector, ...], tuple[DestinationSelector, ...]]:
    """What the policy selects with. Where that cannot be read it is every route, which the policy then denies."""
    unreadable = any(problem.startswith(("spec.applyToRoutes", "spec:")) for problem in problems)
    return EVERY_ROUTE if unreadable else policy.spec.apply_to_routes, policy.spec.apply_to_destinations


def _make_decisions(
    workspace: str, index: ClassIndex, routes: Winners[str], destinations: Winners[DestinationPort]
) -> Decisions:
    return Decisions(workspace=workspace, index=index, routes=routes, destinations=destinations)


def _services_of(services: Services, workspace: str, workspaces: WorkspaceIndex) -> Services:
    place = workspaces.owners
    return {key: service for key, service in services.items() if place.get((key.cluster, key.namespace)) == workspace}


def _merge_routes(decisions: tuple[Decisions, ...], east_west: bool) -> Mapping[str, ObjectKey]:
    # A class is a hash of its workspace among other things, so no two workspaces decide about one class.
    if not east_west:
        return {}
    return {name: key for one in decisions for name, key in one.routes.by_target.items()}


def _merge_destinations(decisions: tuple[Decisions, ...]) -> Mapping[DestinationPort, ObjectKey]:
    return {target: key for one in decisions for target, key in one.destinations.by_target.items()}
