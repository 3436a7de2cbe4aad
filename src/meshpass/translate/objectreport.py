"""The report about each object, gathered from all parts of a translation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from meshpass.api.external import ExternalEndpoint, ExternalService
from meshpass.api.kinds import KINDS
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.api.routetable import RouteTable
from meshpass.api.virtualdestination import VirtualDestination
from meshpass.api.virtualgateway import VirtualGateway
from meshpass.memo import Memo
from meshpass.translate.accessreport import report_access
from meshpass.translate.binding import Binding
from meshpass.translate.effect import find_without_effect
from meshpass.translate.finding import Finding
from meshpass.translate.gateway import Gateways
from meshpass.translate.gatewayfinding import gateway_findings
from meshpass.translate.gatewayview import GatewayView
from meshpass.translate.objectfinding import Problems, find_misplaced, find_unreadable
from meshpass.translate.policyreport import report_policies
from meshpass.translate.report import ObjectReport, Report
from meshpass.translate.resolution import Resolution
from meshpass.translate.settings import FeatureGates
from meshpass.translate.sharing import Sharing
from meshpass.translate.tablereport import PolicyCounts, report_tables
from meshpass.translate.tableroutes import TableRoutes
from meshpass.translate.tableset import TableSet
from meshpass.translate.trafficpolicyreport import report_traffic_policies
from meshpass.translate.users import find_nodes, find_users
from meshpass.translate.workspace import WorkspaceIndex
from meshpass.translate.workspacereport import WorkspaceFacts, report_workspaces


def report_objects(  # noqa: PLR0917
    objects: ObjectSet,
    resolution: Resolution,
    bound: Mapping[str, TableSet],
    views: Mapping[str, GatewayView],
    gates: FeatureGates,
    memo: Memo,
) -> Report:
    """What there is to say about every object of ours.

    ``bound`` is node → the tables that it uses, ``views`` node → what a gateway serves.
    """
    winners: dict[str, Mapping[str, ObjectKey]] = {"JWTPolicy": resolution.route_winners, **resolution.traffic.winners}
    users = memo(find_users, tuple(bound.items()), memo)
    nodes = memo(
        find_nodes,
        users,
        tuple(winners.values()),
        resolution.destination_winners,
        resolution.sidecars,
        resolution.gateways.workloads,
        memo,
    )
    served = tuple(views.values())
    tables = memo(
        report_tables,
        objects.all(RouteTable),
        resolution.tables,
        resolution.parts,
        memo(
            _own_findings,
            objects.all(RouteTable),
            objects.problems,
            resolution.workspaces,
            resolution.bindings,
            memo(
                _gateway_findings,
                resolution.tables,
                resolution.bindings,
                resolution.gateways,
                resolution.workspaces.sharing,
                served,
                memo,
            ),
        ),
        memo(_count_allowed, tuple(view.served for view in served)),
        memo(_name_kinds, tuple(winners.items())),
        nodes,
        memo,
    )
    reports = {
        **tables,
        **report_policies(objects, resolution, nodes, gates, memo),
        **report_traffic_policies(
            objects,
            resolution.traffic,
            {one.workspace: one.index for one in resolution.decisions},
            nodes,
            resolution.workspaces,
            memo,
        ),
        **report_workspaces(objects, resolution.workspaces, _workspace_facts(resolution), memo),
        **_report_gateways(objects, resolution, served, nodes, memo),
        **_report_destinations(objects, resolution, memo),
        **report_access(
            objects,
            resolution.access,
            resolution.workspaces,
            resolution.sidecars,
            resolution.gateways.gateways,
            resolution.destination_winners,
            resolution.rules,
            memo,
        ),
    }
    return Report(objects=reports)


def _own_findings(
    objects: Mapping[ObjectKey, RouteTable],
    problems: Problems,
    workspaces: WorkspaceIndex,
    bindings: Mapping[ObjectKey, Binding],
    of_gateways: Mapping[ObjectKey, tuple[Finding, ...]],
) -> Mapping[ObjectKey, tuple[Finding, ...]]:
    """Table → what there is to say about it beside its routes; tables of which there is nothing are left out."""
    found = {
        key: (
            *find_unreadable(key, problems),
            *find_misplaced(key, workspaces),
            *bindings[key].findings,
            *of_gateways.get(key, ()),
        )
        for key in objects
    }
    return {key: findings for key, findings in found.items() if findings}


def _gateway_findings(  # noqa: PLR0917
    tables: Mapping[ObjectKey, TableRoutes],
    bindings: Mapping[ObjectKey, Binding],
    gateways: Gateways,
    sharing: Sharing,
    views: tuple[GatewayView, ...],
    memo: Memo,
) -> Mapping[ObjectKey, tuple[Finding, ...]]:
    found = dict(memo(gateway_findings, memo(_values, tables), bindings, gateways, sharing))
    for view in views:
        for key, findings in view.findings.items():
            found[key] = tuple(dict.fromkeys((*found.get(key, ()), *findings)))
    return found


def _values(tables: Mapping[ObjectKey, TableRoutes]) -> tuple[TableRoutes, ...]:
    return tuple(tables.values())


def _count_allowed(served: tuple[Mapping[ObjectKey, frozenset[ObjectKey]], ...]) -> Mapping[ObjectKey, int]:
    found: dict[ObjectKey, set[ObjectKey]] = defaultdict(set)
    for view in served:
        for table, gateways in view.items():
            found[table] |= gateways
    return {table: len(gateways) for table, gateways in found.items()}


def _name_kinds(winners: tuple[tuple[str, Mapping[str, ObjectKey]], ...]) -> PolicyCounts:
    """The kinds of policies as the API names them in its counts."""
    groups = {kind.kind: f"{kind.group_version}, Kind={kind.kind}" for kind in KINDS}
    return {groups[kind]: held for kind, held in winners}


def _workspace_facts(resolution: Resolution) -> Mapping[str, WorkspaceFacts]:
    federation, east_west = resolution.catalog.federation, resolution.found_east_west
    return {
        name: WorkspaceFacts(
            findings=(*federation.of(name).findings, *east_west.findings.get(name, ())),
            counts={
                "numSelectedEastWestGateways": east_west.counts.get(name, 0),
                "numFederatedServices": len(federation.of(name).services),
            },
        )
        for name in resolution.workspaces.workspaces
    }


def _report_gateways(
    objects: ObjectSet,
    resolution: Resolution,
    views: tuple[GatewayView, ...],
    nodes: Mapping[ObjectKey, frozenset[str]],
    memo: Memo,
) -> dict[ObjectKey, ObjectReport]:
    counts: dict[ObjectKey, int] = {}
    for view in views:
        for key, count in view.counts.items():
            counts[key] = max(count, counts.get(key, 0))
    gateways = resolution.gateways
    return {
        key: ObjectReport(
            generation=item.metadata.generation,
            findings=(
                *find_unreadable(key, objects.problems),
                *find_misplaced(key, resolution.workspaces),
                *gateways.findings.get(key, ()),
                *memo(find_without_effect, key, item.spec),
            ),
            counts={
                "routeTablesCount": counts.get(key, 0),
                "selectedWorkloadsCount": len(gateways.workloads.get(key, ())),
            },
            nodes=nodes.get(key, frozenset()),
        )
        for key, item in objects.all(VirtualGateway).items()
    }


def _report_destinations(objects: ObjectSet, resolution: Resolution, memo: Memo) -> dict[ObjectKey, ObjectReport]:
    catalog = resolution.catalog
    destinations: tuple[Mapping[ObjectKey, ExternalService | ExternalEndpoint | VirtualDestination], ...] = (
        objects.all(ExternalService),
        objects.all(ExternalEndpoint),
        objects.all(VirtualDestination),
    )
    return {
        key: ObjectReport(
            generation=item.metadata.generation,
            findings=(
                *find_unreadable(key, objects.problems),
                *find_misplaced(key, resolution.workspaces),
                *catalog.findings.get(key, ()),
                *memo(find_without_effect, key, item.spec),
            ),
            counts=catalog.counts.get(key, {}),
        )
        for of_kind in destinations
        for key, item in of_kind.items()
    }
