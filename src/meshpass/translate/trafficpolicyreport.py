"""The reports about traffic policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.memo import Memo
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.precedence import Winners, conflict_findings
from meshpass.translate.report import ObjectReport
from meshpass.translate.selection import ClassIndex
from meshpass.translate.selection_class import content_hash
from meshpass.translate.trafficpolicy import TRAFFIC_POLICIES, TrafficPolicies
from meshpass.translate.trafficpolicyoptions import PolicyOptions
from meshpass.translate.workspace import WorkspaceIndex


def report_traffic_policies(  # noqa: PLR0917
    objects: ObjectSet,
    traffic: TrafficPolicies,
    indexes: Mapping[str, ClassIndex],
    nodes: Mapping[ObjectKey, frozenset[str]],
    workspaces: WorkspaceIndex,
    memo: Memo,
) -> dict[ObjectKey, ObjectReport]:
    """What there is to say about each traffic policy; ``nodes`` is object → the proxies in which it has an effect."""
    return {
        key: memo(
            _report,
            traffic.policies[key],
            policy.metadata.generation,
            _hold(key, traffic, indexes, workspaces, memo),
            nodes.get(key, frozenset()),
        )
        for kind in TRAFFIC_POLICIES
        for key, policy in objects.all(kind).items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """On how many routes a policy holds, and what it is told about those where it does not."""

    routes: int = 0
    findings: tuple[Finding, ...]


def _hold(
    key: ObjectKey,
    traffic: TrafficPolicies,
    indexes: Mapping[str, ClassIndex],
    workspaces: WorkspaceIndex,
    memo: Memo,
) -> _Held:
    owner = workspaces.owner(key)
    if owner is None:
        return _Held(findings=_place(key))
    if owner not in indexes:
        return _Held(findings=_nothing(key))
    return memo(_judge, key, traffic.decisions[key.kind, owner], indexes[owner])


def _judge(key: ObjectKey, winners: Winners[str], index: ClassIndex) -> _Held:
    routes = sum(index.route_counts[name] for name in winners.won[key])
    lost = conflict_findings(key, winners, "route", lambda name: _tables(name, index), any_won=routes > 0)
    return _Held(routes=routes, findings=lost if routes or lost else _nothing(key))


def _nothing(key: ObjectKey) -> tuple[Finding, ...]:
    message = "selects no route"
    return (Finding(key=key, severity=Severity.NOTE, reason=Reason.TARGET_NOT_FOUND, message=message),)


def _tables(selection_class: str, index: ClassIndex) -> list[str]:
    return [f"routes of {table.namespace}/{table.name}" for table in index.tables[selection_class]]


def _report(policy: PolicyOptions, generation: int, held: _Held, nodes: frozenset[str]) -> ObjectReport:
    return ObjectReport(
        generation=generation,
        findings=(*policy.findings, *held.findings),
        counts={"numSelectedRoutes": held.routes},
        content=() if policy.options is None else (content_hash(policy.options),),
        nodes=nodes,
    )


def _place(key: ObjectKey) -> tuple[Finding, ...]:
    message = f"namespace {key.namespace} of cluster {key.cluster} belongs to no workspace that reads from it"
    return (Finding(key=key, severity=Severity.WARNING, reason=Reason.NO_WORKSPACE, message=message),)
