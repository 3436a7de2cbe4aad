"""The report about each JWTPolicy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.api.security import JWTPolicy
from meshpass.memo import Memo
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.objectfinding import find_misplaced
from meshpass.translate.precedence import conflict_findings
from meshpass.translate.report import ObjectReport
from meshpass.translate.resolution import Decisions, Resolution
from meshpass.translate.selection_class import DestinationPort
from meshpass.translate.settings import FeatureGates


def report_policies(
    objects: ObjectSet,
    resolution: Resolution,
    nodes: Mapping[ObjectKey, frozenset[str]],
    gates: FeatureGates,
    memo: Memo,
) -> dict[ObjectKey, ObjectReport]:
    """What there is to say about every JWTPolicy."""
    decided = {one.workspace: one for one in resolution.decisions}
    reports = {}
    for key, policy in objects.all(JWTPolicy).items():
        owner = resolution.workspaces.owner(key)
        held = memo(_judge, key, decided[owner], gates) if owner is not None else _Held(findings=())
        reports[key] = ObjectReport(
            generation=policy.metadata.generation,
            findings=(*resolution.rules[key].findings, *held.findings, *find_misplaced(key, resolution.workspaces)),
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
