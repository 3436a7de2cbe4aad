"""The report about each object, gathered from all parts of a translation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from meshpass.api.admin import KubernetesCluster, Workspace, WorkspaceSettings
from meshpass.api.external import ExternalEndpoint, ExternalService
from meshpass.api.metadata import ApiObject
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.api.routetable import RouteTable
from meshpass.api.security import AccessPolicy, JWTPolicy
from meshpass.api.struct import ApiStruct
from meshpass.api.virtualdestination import VirtualDestination
from meshpass.api.virtualgateway import VirtualGateway
from meshpass.translate.effect import find_without_effect
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.report import ObjectReport, Report
from meshpass.translate.resolution import Resolution
from meshpass.translate.routetable import TableRoutes
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


def report_objects(objects: ObjectSet, resolution: Resolution, bound: Mapping[str, tuple[TableRoutes, ...]]) -> Report:
    """What there is to say about every object of ours; ``bound`` is node → the tables that it uses."""
    nodes: dict[ObjectKey, set[str]] = defaultdict(set)
    for tables, users in _users(bound):
        for table in tables:
            nodes[table.key] |= users
            for policy in {resolution.winners[name] for name in table.classes if name in resolution.winners}:
                nodes[policy] |= users
    reports = {
        **_report_tables(objects, resolution, nodes),
        **_report_policies(objects, resolution, nodes),
        **_report_workspaces(objects, resolution.workspaces),
        **_report_others(objects),
    }
    return Report(objects=reports)


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
    objects: ObjectSet, resolution: Resolution, nodes: Mapping[ObjectKey, set[str]]
) -> dict[ObjectKey, ObjectReport]:
    counts: Counter[ObjectKey] = Counter()
    decided: dict[ObjectKey, list[Finding]] = defaultdict(list)
    for decision in resolution.decisions:
        counts.update(decision.route_counts)
        for finding in decision.findings:
            decided[finding.key].append(finding)
    return {
        key: ObjectReport(
            generation=policy.metadata.generation,
            findings=(*resolution.rules[key].findings, *decided[key], *_place(key, resolution.workspaces)),
            counts={"numSelectedRoutes": counts[key], "numSelectedDestinationPorts": 0},
            nodes=frozenset(nodes.get(key, ())),
        )
        for key, policy in objects.all(JWTPolicy).items()
    }


def _report_tables(
    objects: ObjectSet, resolution: Resolution, nodes: Mapping[ObjectKey, set[str]]
) -> dict[ObjectKey, ObjectReport]:
    reports = {}
    for key, table in objects.all(RouteTable).items():
        routes = resolution.tables.get(key)
        findings = [
            *_problems(key, objects),
            *_place(key, resolution.workspaces),
            *resolution.bindings[key].findings,
            *(routes.findings if routes else ()),
            *find_without_effect(key, table.spec),
        ]
        if routes is not None and key not in nodes:
            message = "no sidecar uses this table"
            findings.append(Finding(key=key, severity=Severity.NOTE, reason=Reason.TARGET_NOT_FOUND, message=message))
        reports[key] = ObjectReport(
            generation=table.metadata.generation,
            findings=tuple(findings),
            counts=_count_table(routes, resolution.winners),
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


def _report_others(objects: ObjectSet) -> dict[ObjectKey, ObjectReport]:
    reports = {}
    for kind in OTHER_KINDS:
        for key, item in objects.all(kind).items():
            spec: ApiStruct = getattr(item, "spec")  # noqa: B009 - each of these kinds has one, their base has not
            reports[key] = ObjectReport(
                generation=item.metadata.generation,
                findings=(*_problems(key, objects), *find_without_effect(key, spec)),
            )
    return reports
