"""The report about each object, gathered from all parts of a translation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
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
from meshpass.translate.effect import find_without_effect
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.precedence import conflict_findings
from meshpass.translate.report import ObjectReport, Report
from meshpass.translate.resolution import Decisions, Resolution
from meshpass.translate.routetable import TableRoutes
from meshpass.translate.selection_class import DestinationPort
from meshpass.translate.settings import FeatureGates
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

JWT_POLICY_KIND = "security.policy.gloo.solo.io/v2, Kind=JWTPolicy"


def report_objects(
    objects: ObjectSet,
    resolution: Resolution,
    bound: Mapping[str, tuple[TableRoutes, ...]],
    gates: FeatureGates,
    memo: Memo,
) -> Report:
    """What there is to say about every object of ours; ``bound`` is node → the tables that it uses."""
    nodes = _find_nodes(resolution, bound)
    reports = {
        **_report_tables(objects, resolution, nodes, memo),
        **_report_policies(objects, resolution, nodes, gates),
        **_report_workspaces(objects, resolution.workspaces),
        **_report_others(objects, memo),
    }
    return Report(objects=reports)


def _find_nodes(resolution: Resolution, bound: Mapping[str, tuple[TableRoutes, ...]]) -> Mapping[ObjectKey, set[str]]:
    """The proxies in which each table and each policy has an effect."""
    nodes: dict[ObjectKey, set[str]] = defaultdict(set)
    for tables, users in _users(bound):
        for table in tables:
            nodes[table.key] |= users
        classes = {name for table in tables for name in table.classes}
        for policy in {resolution.route_winners[name] for name in classes if name in resolution.route_winners}:
            nodes[policy] |= users
    for sidecar in resolution.sidecars:
        for targets in sidecar.inbound.values():
            for target in targets:
                if target in resolution.destination_winners:
                    nodes[resolution.destination_winners[target]].add(sidecar.node)
    return nodes


def _users(bound: Mapping[str, tuple[TableRoutes, ...]]) -> Iterable[tuple[tuple[TableRoutes, ...], set[str]]]:
    """Each distinct list of tables, with the nodes that use it: most nodes use the same."""
    by_keys: dict[tuple[ObjectKey, ...], tuple[tuple[TableRoutes, ...], set[str]]] = {}
    for node, tables in bound.items():
        by_keys.setdefault(tuple(table.key for table in tables), (tables, set()))[1].add(node)
    return by_keys.values()


def _place(key: ObjectKey, workspaces: WorkspaceIndex) -> tuple[Finding, ...]:
    if workspaces.owner(key) is not None:
        return ()
    message = f"namespace {key.namespace} of cluster {key.cluster} belongs to no workspace that reads from it"
    return (Finding(key=key, severity=Severity.WARNING, reason=Reason.NO_WORKSPACE, message=message),)


def _problems(key: ObjectKey, objects: ObjectSet) -> tuple[Finding, ...]:
    return tuple(
        Finding(key=key, severity=Severity.INVALID, reason=Reason.INVALID, message=problem)
        for problem in objects.problems.get(key, ())
    )


def _report_policies(
    objects: ObjectSet, resolution: Resolution, nodes: Mapping[ObjectKey, set[str]], gates: FeatureGates
) -> dict[ObjectKey, ObjectReport]:
    decided = {one.workspace: one for one in resolution.decisions}
    reports = {}
    for key, policy in objects.all(JWTPolicy).items():
        owner = resolution.workspaces.owner(key)
        held = _judge(key, decided[owner], gates) if owner is not None else _Held(findings=())
        reports[key] = ObjectReport(
            generation=policy.metadata.generation,
            findings=(*resolution.rules[key].findings, *held.findings, *_place(key, resolution.workspaces)),
            counts={"numSelectedRoutes": held.routes, "numSelectedDestinationPorts": held.destination_ports},
            content=tuple(provider.name for provider in resolution.rules[key].providers),
            nodes=frozenset(nodes.get(key, ())),
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


def _report_tables(
    objects: ObjectSet, resolution: Resolution, nodes: Mapping[ObjectKey, set[str]], memo: Memo
) -> dict[ObjectKey, ObjectReport]:
    reports = {}
    for key, table in objects.all(RouteTable).items():
        routes = resolution.tables.get(key)
        findings = [
            *_problems(key, objects),
            *_place(key, resolution.workspaces),
            *resolution.bindings[key].findings,
            *(routes.findings if routes else ()),
            *memo(find_without_effect, key, table.spec),
        ]
        if routes is not None and key not in nodes:
            message = "no sidecar uses this table"
            findings.append(Finding(key=key, severity=Severity.NOTE, reason=Reason.TARGET_NOT_FOUND, message=message))
        reports[key] = ObjectReport(
            generation=table.metadata.generation,
            findings=tuple(findings),
            counts=_count_table(routes, resolution.route_winners),
            nodes=frozenset(nodes.get(key, ())),
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
                *_problems(key, objects),
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
                findings=(*_problems(key, objects), *memo(find_without_effect, key, spec)),
            )
    return reports
