"""The report about each object, gathered from all parts of a translation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from meshpass.api.admin import KubernetesCluster, Workspace, WorkspaceSettings
from meshpass.api.external import ExternalEndpoint, ExternalService
from meshpass.api.metadata import ApiObject
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.api.routetable import RouteTable
from meshpass.api.security import AccessPolicy, JWTPolicy
from meshpass.api.struct import ApiStruct
from meshpass.api.virtualdestination import VirtualDestination
from meshpass.api.virtualgateway import VirtualGateway
from meshpass.memo import Memo
from meshpass.translate.binding import Binding
from meshpass.translate.effect import find_without_effect
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.precedence import conflict_findings
from meshpass.translate.report import ObjectReport, Report
from meshpass.translate.resolution import Decisions, Resolution
from meshpass.translate.routetable import TableRoutes
from meshpass.translate.selection_class import DestinationPort
from meshpass.translate.settings import FeatureGates
from meshpass.translate.sidecar import Sidecar
from meshpass.translate.tableset import TableSet
from meshpass.translate.workspace import WorkspaceIndex

OTHER_KINDS: tuple[type[ApiObject], ...] = (
    WorkspaceSettings,
    VirtualGateway,
    VirtualDestination,
    ExternalService,
    ExternalEndpoint,
    AccessPolicy,
    KubernetesCluster,
)
"""Kinds that are accepted, and whose fields have no effect yet."""

Problems = Mapping[ObjectKey, tuple[str, ...]]

JWT_POLICY_KIND = "security.policy.gloo.solo.io/v2, Kind=JWTPolicy"


def report_objects(
    objects: ObjectSet, resolution: Resolution, bound: Mapping[str, TableSet], gates: FeatureGates, memo: Memo
) -> Report:
    """What there is to say about every object of ours; ``bound`` is node → the tables that it uses."""
    users = memo(_find_users, tuple(bound.items()))
    nodes = memo(_find_nodes, users, resolution.route_winners, resolution.destination_winners, resolution.sidecars)
    tables = memo(
        _report_tables,
        objects.all(RouteTable),
        objects.problems,
        resolution.workspaces,
        resolution.tables,
        resolution.bindings,
        resolution.route_winners,
        nodes,
        memo,
    )
    reports = {
        **tables,
        **_report_policies(objects, resolution, nodes, gates, memo),
        **_report_workspaces(objects, resolution.workspaces),
        **_report_others(objects, memo),
    }
    return Report(objects=reports)


Users = Mapping[TableSet, frozenset[str]]
"""Tables → the nodes that use them."""


def _find_users(bound: tuple[tuple[str, TableSet], ...]) -> Users:
    users: dict[TableSet, set[str]] = defaultdict(set)
    for node, tables in bound:
        users[tables].add(node)
    return {tables: frozenset(nodes) for tables, nodes in users.items()}


def _find_nodes(
    users: Users,
    route_winners: Mapping[str, ObjectKey],
    destination_winners: Mapping[DestinationPort, ObjectKey],
    sidecars: tuple[Sidecar, ...],
) -> Mapping[ObjectKey, frozenset[str]]:
    """The proxies in which each table and each policy has an effect."""
    nodes: dict[ObjectKey, set[str]] = defaultdict(set)
    for used, names in users.items():
        for table in used.tables:
            nodes[table.key] |= names
        classes = {name for table in used.tables for name in table.classes}
        for policy in {route_winners[name] for name in classes if name in route_winners}:
            nodes[policy] |= names
    for sidecar in sidecars:
        for targets in sidecar.inbound.values():
            for target in targets:
                if target in destination_winners:
                    nodes[destination_winners[target]].add(sidecar.node)
    return {key: frozenset(names) for key, names in nodes.items()}


def _place(key: ObjectKey, workspaces: WorkspaceIndex) -> tuple[Finding, ...]:
    if workspaces.owner(key) is not None:
        return ()
    message = f"namespace {key.namespace} of cluster {key.cluster} belongs to no workspace that reads from it"
    return (Finding(key=key, severity=Severity.WARNING, reason=Reason.NO_WORKSPACE, message=message),)


def _problems(key: ObjectKey, problems: Problems) -> tuple[Finding, ...]:
    return tuple(
        Finding(key=key, severity=Severity.INVALID, reason=Reason.INVALID, message=problem)
        for problem in problems.get(key, ())
    )


def _report_policies(
    objects: ObjectSet,
    resolution: Resolution,
    nodes: Mapping[ObjectKey, frozenset[str]],
    gates: FeatureGates,
    memo: Memo,
) -> dict[ObjectKey, ObjectReport]:
    decided = {one.workspace: one for one in resolution.decisions}
    reports = {}
    for key, policy in objects.all(JWTPolicy).items():
        owner = resolution.workspaces.owner(key)
        held = memo(_judge, key, decided[owner], gates) if owner is not None else _Held(findings=())
        reports[key] = ObjectReport(
            generation=policy.metadata.generation,
            findings=(*resolution.rules[key].findings, *held.findings, *_place(key, resolution.workspaces)),
            counts={"numSelectedRoutes": held.routes, "numSelectedDestinationPorts": held.destination_ports},
            content=tuple(provider.name for provider in resolution.rules[key].providers),
            nodes=nodes.get(key, frozenset()),
        )
    return reports


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """Where a policy holds, and what it is told about the places where it does not."""

    routes: int = 0
    destination_ports: int = 0
    findings: tuple[Finding, ...]


def _judge(key: ObjectKey, decisions: Decisions, gates: FeatureGates) -> _Held:
    routes, destinations = decisions.routes, decisions.destinations
    won_routes = sum(decisions.index.route_counts[name] for name in routes.won[key])
    won_ports = len(destinations.won[key])
    any_won = won_routes + won_ports > 0
    lost = (
        *conflict_findings(key, routes, "route", lambda name: _tables(name, decisions), any_won=any_won),
        *conflict_findings(key, destinations, "destination", _destination, any_won=any_won),
    )
    findings = list(lost)
    if not any_won and not lost:
        message = "selects no route and no destination"
        findings.append(Finding(key=key, severity=Severity.NOTE, reason=Reason.TARGET_NOT_FOUND, message=message))
    if won_routes and not gates.EnableJWTPolicyEastWestRoute:
        message = "holds on routes at gateways only: feature gate EnableJWTPolicyEastWestRoute is false"
        findings.append(Finding(key=key, severity=Severity.WARNING, reason=Reason.NO_EFFECT, message=message))
        won_routes = 0
    return _Held(routes=won_routes, destination_ports=won_ports, findings=tuple(findings))


def _tables(selection_class: str, decisions: Decisions) -> list[str]:
    return [f"routes of {table.namespace}/{table.name}" for table in decisions.index.tables[selection_class]]


def _destination(target: DestinationPort) -> list[str]:
    key, port = target
    return [f"{key.namespace}/{key.name}:{port}"]


def _report_tables(  # noqa: PLR0917
    objects: Mapping[ObjectKey, RouteTable],
    problems: Problems,
    workspaces: WorkspaceIndex,
    tables: Mapping[ObjectKey, TableRoutes],
    bindings: Mapping[ObjectKey, Binding],
    winners: Mapping[str, ObjectKey],
    nodes: Mapping[ObjectKey, frozenset[str]],
    memo: Memo,
) -> Mapping[ObjectKey, ObjectReport]:
    reports = {}
    for key, table in objects.items():
        routes = tables.get(key)
        findings = [
            *_problems(key, problems),
            *_place(key, workspaces),
            *bindings[key].findings,
            *(routes.findings if routes else ()),
            *memo(find_without_effect, key, table.spec),
        ]
        if routes is not None and key not in nodes:
            message = "no sidecar uses this table"
            findings.append(Finding(key=key, severity=Severity.NOTE, reason=Reason.TARGET_NOT_FOUND, message=message))
        reports[key] = ObjectReport(
            generation=table.metadata.generation,
            findings=tuple(findings),
            counts=_count_table(routes, winners),
            nodes=nodes.get(key, frozenset()),
        )
    return reports


def _count_table(routes: TableRoutes | None, winners: Mapping[str, ObjectKey]) -> Mapping[str, object]:
    if routes is None:
        return {}
    policies = {winners[name] for name in routes.classes if name in winners}
    return {
        "ownedByWorkspace": routes.workspace,
        "numAppliedRoutePolicies": {JWT_POLICY_KIND: len(policies)} if policies else {},
        "numParentRouteTables": 0,
        "numAllowedVirtualGateways": 0,
    }


def _report_workspaces(objects: ObjectSet, workspaces: WorkspaceIndex) -> dict[ObjectKey, ObjectReport]:
    reports = {}
    for key, workspace in objects.all(Workspace).items():
        clusters, namespaces = workspaces.selected.get(key, (0, 0))
        reports[key] = ObjectReport(
            generation=workspace.metadata.generation,
            findings=(
                *_problems(key, objects.problems),
                *(finding for finding in workspaces.findings if finding.key == key),
                *find_without_effect(key, workspace.spec),
            ),
            counts={"numSelectedClusters": clusters, "numSelectedNamespaces": namespaces},
        )
    return reports


def _report_others(objects: ObjectSet, memo: Memo) -> dict[ObjectKey, ObjectReport]:
    reports = {}
    for kind in OTHER_KINDS:
        for key, item in objects.all(kind).items():
            spec: ApiStruct = getattr(item, "spec")  # noqa: B009 - each of these kinds has one, their base has not
            reports[key] = ObjectReport(
                generation=item.metadata.generation,
                findings=(*_problems(key, objects.problems), *memo(find_without_effect, key, spec)),
            )
    return reports
