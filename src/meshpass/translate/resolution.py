"""Resolution: everything that holds for all proxies alike, found once per translation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from meshpass.api.admin import KubernetesCluster, Workspace, WorkspaceSettings
from meshpass.api.common import DestinationSelector, RouteSelector
from meshpass.api.core import EndpointSlice, Namespace, Pod, Secret, Service, ServiceAccount
from meshpass.api.external import ExternalEndpoint, ExternalService
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.api.routetable import RouteTable
from meshpass.api.security import JWTPolicy
from meshpass.api.virtualdestination import VirtualDestination
from meshpass.api.virtualgateway import VirtualGateway
from meshpass.memo import Memo
from meshpass.translate.access import Access, resolve_access
from meshpass.translate.accessaccount import index_accounts
from meshpass.translate.age import by_age
from meshpass.translate.binding import Binding, translate_binding
from meshpass.translate.catalog import Catalog, make_catalog
from meshpass.translate.clusterdomain import find_domains
from meshpass.translate.credential import Credentials, index_credentials
from meshpass.translate.eastwest import NO_EAST_WEST, EastWest, FoundEastWest, find_east_west
from meshpass.translate.eastwestlistener import NO_EXPOSURE, Exposure, find_exposure
from meshpass.translate.endpointindex import EndpointIndex, index_endpoints
from meshpass.translate.filecontent import FileContents
from meshpass.translate.filecredential import FileCredentials, find_file_credentials, read_file_credentials
from meshpass.translate.freeze import FrozenTrees, settle_tables
from meshpass.translate.gateway import Gateways, find_gateways
from meshpass.translate.gatewayworkload import find_workloads
from meshpass.translate.identity import Identities
from meshpass.translate.jwtpolicy import PolicyRules, translate_policy
from meshpass.translate.keyresolution import KeyContext, find_sources, resolve_keys
from meshpass.translate.keysource import KeyFetch, KeySets, KeySource
from meshpass.translate.peer import find_accepting
from meshpass.translate.precedence import Winners, decide
from meshpass.translate.rootsecret import without_root
from meshpass.translate.routetable import translate_table
from meshpass.translate.selection import (
    ClassIndex,
    select_backing_destinations,
    select_classes,
    select_destinations,
)
from meshpass.translate.selection_class import DestinationPort, RouteProperties
from meshpass.translate.settings import TranslateSettings
from meshpass.translate.sidecar import Sidecar, find_sidecars
from meshpass.translate.tableindex import KnownTable, TableIndex, index_tables, know_tables, without_tables
from meshpass.translate.tableroutes import TableClasses, TableRoutes, split_table_classes
from meshpass.translate.trafficpolicy import TrafficPolicies, resolve_traffic_policies
from meshpass.translate.workspace import WorkspaceIndex, broken_settings, index_workspaces


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
    catalog: Catalog
    endpoints: EndpointIndex
    secrets: Mapping[ObjectKey, Secret]
    files: FileCredentials
    sidecars: tuple[Sidecar, ...]
    gateways: Gateways
    found_east_west: FoundEastWest
    east_west: EastWest
    """The gateways by which clusters reach each other; none where workloads have no identities."""
    exposure: Exposure
    """What can be asked for by these."""
    tables: Mapping[ObjectKey, TableRoutes]
    """The tables that count and have hosts, oldest first, as they are served."""
    bindings: Mapping[ObjectKey, Binding]
    parts: Mapping[ObjectKey, TableRoutes]
    """The tables that count and have no hosts: others may delegate to them."""
    trees: FrozenTrees
    rules: Mapping[ObjectKey, PolicyRules]
    key_sources: Mapping[KeySource, KeyFetch]
    decisions: tuple[Decisions, ...]
    """One for each workspace."""
    route_winners: Mapping[str, ObjectKey]
    """Selection class of routes → the JWT policy that holds on it."""
    destination_winners: Mapping[DestinationPort, ObjectKey]
    """Service port → the JWT policy that holds on it."""
    traffic: TrafficPolicies
    """What the other policies on routes come to."""
    identities: Identities
    access: Access
    """Who may call the ports of workloads, and what callers show of themselves."""


def resolve(  # noqa: PLR0917
    objects: ObjectSet,
    key_sets: KeySets,
    kept: FrozenTrees,
    contents: FileContents,
    identities: Identities,
    settings: TranslateSettings,
    memo: Memo,
) -> Resolution:
    """Resolve workspaces, destinations, tables, policies, and precedence among them."""
    secrets = memo(without_root, objects.all(Secret), settings.management_cluster)
    workspaces = memo(
        index_workspaces,
        objects.all(Workspace),
        objects.all(KubernetesCluster),
        objects.all(Namespace),
        settings.management_cluster,
        objects.all(WorkspaceSettings),
        memo(broken_settings, objects.problems),
    )
    files = memo(
        read_file_credentials,
        memo(find_file_credentials, objects.all(ExternalService), objects.all(VirtualGateway), workspaces),
        contents,
        memo,
    )
    credentials = memo(index_credentials, secrets, objects.all(ExternalService), files, memo)
    catalog = _make_catalog(objects, workspaces, credentials, settings, memo)
    sidecars = memo(find_sidecars, objects.all(Pod), objects.all(Service))
    access = resolve_access(
        objects,
        workspaces,
        sidecars,
        catalog,
        memo(index_accounts, objects.all(ServiceAccount), objects.all(Pod), memo),
        identities.trust_domain,
        memo,
    )
    endpoints = memo(
        index_endpoints,
        objects.all(EndpointSlice),
        objects.all(Pod),
        objects.all(Service),
        sidecars,
        memo(find_accepting, sidecars, access.modes) if identities.trust_domain else None,
        memo,
    )
    context = memo(_key_context, secrets, catalog, endpoints, workspaces, key_sets, identities.trust_domain)
    known = memo(know_tables, objects.all(RouteTable), workspaces, objects.problems, memo)
    translated = memo(_translate_tables, known, catalog, memo)
    settled = memo(
        settle_tables,
        objects.all(RouteTable),
        memo(_with_hosts, translated),
        memo.each(translate_binding, objects.all(RouteTable)),
        kept,
        catalog,
        memo,
    )
    of_workspaces = memo(_split_classes, settled.tables, memo)
    classes = {
        workspace: memo(_index_classes, of_workspaces.get(workspace, ()))
        for workspace in sorted(set(workspaces.owners.values()))
    }
    gateways = memo(
        find_gateways,
        objects.all(VirtualGateway),
        objects.all(Pod),
        objects.all(Service),
        secrets,
        files,
        workspaces,
        objects.problems,
        memo,
    )
    found_east_west = memo(
        find_east_west,
        memo(find_workloads, objects.all(Pod), objects.all(Service)),
        objects.all(Service),
        endpoints.places,
        workspaces,
        memo(_taken_ports, gateways),
        memo,
    )
    east_west = found_east_west.east_west if endpoints.has_identities else NO_EAST_WEST
    policies = by_age(objects.all(JWTPolicy))
    decisions = tuple(
        _decide(workspace, policies, objects.problems, workspaces, index, catalog, memo)
        for workspace, index in classes.items()
    )
    return Resolution(
        workspaces=workspaces,
        catalog=catalog,
        endpoints=endpoints,
        secrets=secrets,
        files=files,
        sidecars=sidecars,
        gateways=gateways,
        found_east_west=found_east_west,
        east_west=east_west,
        exposure=memo(find_exposure, settled.tables, catalog, memo) if east_west.ports else NO_EXPOSURE,
        tables=settled.tables,
        bindings=settled.bindings,
        parts=memo(_without_hosts, translated),
        trees=settled.trees,
        rules=_translate_policies(objects, context, memo),
        key_sources=memo(find_sources, objects.all(JWTPolicy), context),
        decisions=decisions,
        route_winners=memo(_merge_routes, decisions),
        destination_winners=memo(_merge_destinations, decisions),
        traffic=resolve_traffic_policies(objects, workspaces, classes, catalog, memo),
        identities=identities,
        access=access,
    )


def _make_catalog(
    objects: ObjectSet, workspaces: WorkspaceIndex, credentials: Credentials, settings: TranslateSettings, memo: Memo
) -> Catalog:
    return memo(
        make_catalog,
        objects.all(Service),
        objects.all(ExternalService),
        objects.all(ExternalEndpoint),
        objects.all(VirtualDestination),
        workspaces,
        memo(_clusters, objects.all(KubernetesCluster), objects.all(Namespace), settings.management_cluster),
        memo(find_domains, objects.all(KubernetesCluster), settings.management_cluster),
        settings.system_authorities,
        credentials,
        objects.problems,
        memo,
    )


def _taken_ports(gateways: Gateways) -> Mapping[ObjectKey, frozenset[int]]:
    return {one.key: frozenset(port.port for port in one.ports) for one in gateways.gateways}


def _clusters(
    registered: Mapping[ObjectKey, KubernetesCluster],
    namespaces: Mapping[ObjectKey, Namespace],
    management_cluster: str,
) -> frozenset[str]:
    """The clusters that are registered, or read."""
    known = {key.name for key in registered if key.cluster == management_cluster}
    return frozenset({management_cluster, *known, *(key.cluster for key in namespaces)})


def _with_hosts(tables: Mapping[ObjectKey, TableRoutes]) -> Mapping[ObjectKey, TableRoutes]:
    return {key: table for key, table in tables.items() if table.hosts or not table.delegated}


def _without_hosts(tables: Mapping[ObjectKey, TableRoutes]) -> Mapping[ObjectKey, TableRoutes]:
    return {key: table for key, table in tables.items() if table.delegated}


def _key_context(  # noqa: PLR0917
    secrets: Mapping[ObjectKey, Secret],
    catalog: Catalog,
    endpoints: EndpointIndex,
    workspaces: WorkspaceIndex,
    key_sets: KeySets,
    trust_domain: str,
) -> KeyContext:
    return KeyContext(
        secrets=secrets,
        catalog=catalog,
        endpoints=endpoints,
        workspaces=workspaces,
        key_sets=key_sets,
        trust_domain=trust_domain,
    )


def _translate_tables(
    known: Mapping[ObjectKey, KnownTable], catalog: Catalog, memo: Memo
) -> Mapping[ObjectKey, TableRoutes]:
    """Every table that counts, oldest first."""
    alone = memo.each(_translate_alone, {key: one for key, one in known.items() if not one.delegates}, catalog, memo)
    if len(alone) == len(known):
        return alone
    delegating = {key: one for key, one in known.items() if one.delegates}
    together = memo.each(_translate_delegating, delegating, memo(index_tables, known), catalog, memo)
    return {key: together[key] if one.delegates else alone[key] for key, one in known.items()}


def _translate_alone(_key: ObjectKey, known: KnownTable, catalog: Catalog, memo: Memo) -> TableRoutes:
    return translate_table(*known[:3], memo(without_tables, known.workspace), catalog, memo)


def _translate_delegating(
    _key: ObjectKey, known: KnownTable, indexes: Mapping[str, TableIndex], catalog: Catalog, memo: Memo
) -> TableRoutes:
    return translate_table(*known[:3], indexes[known.workspace], catalog, memo)


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


Classes = tuple[tuple[ObjectKey, TableClasses], ...]


def _split_classes(tables: Mapping[ObjectKey, TableRoutes], memo: Memo) -> Mapping[str, Classes]:
    """Workspace → tables with routes of it, and the classes of these, which an edit of the routes need not change."""
    found: dict[str, list[tuple[ObjectKey, TableClasses]]] = defaultdict(list)
    for key, table in tables.items():
        if len(table.parts) == 1:
            found[table.workspace].append((key, table.classes))
            continue
        for workspace, classes in memo(split_table_classes, table.classes).items():
            found[workspace].append((key, classes))
    return {workspace: tuple(several) for workspace, several in found.items()}


def _index_classes(tables: Classes) -> ClassIndex:
    properties: dict[str, RouteProperties] = {}
    by_label: dict[tuple[str, str], list[str]] = defaultdict(list)
    of_tables: dict[str, list[ObjectKey]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for key, classes in tables:
        counts.update(classes.counts)
        for name, route in classes.properties.items():
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
    catalog: Catalog,
    memo: Memo,
) -> Decisions:
    own = [(key, policy) for key, policy in policies if workspaces.owner(key) == workspace]
    # By what the policies select with, not by the policies: an edit of anything else selects and decides nothing anew.
    routes = tuple(
        (key, memo(select_classes, *_selectors(policy, problems.get(key, ())), index, catalog)) for key, policy in own
    )
    # A policy that selects a Service beats one that selects a VirtualDestination in front of it (decision 1).
    destinations = tuple(
        (key, memo(select, policy.spec.apply_to_destinations, workspace, catalog))
        for select in (select_destinations, select_backing_destinations)
        for key, policy in own
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


def _merge_routes(decisions: tuple[Decisions, ...]) -> Mapping[str, ObjectKey]:
    # A class is a hash of its workspace among other things, so no two workspaces decide about one class.
    return {name: key for one in decisions for name, key in one.routes.by_target.items()}


def _merge_destinations(decisions: tuple[Decisions, ...]) -> Mapping[DestinationPort, ObjectKey]:
    return {target: key for one in decisions for target, key in one.destinations.by_target.items()}
