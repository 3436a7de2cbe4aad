"""Precedence: of several policies that select a route, the oldest holds (decision 4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meshpass.api.objectset import ObjectKey
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.selection import ClassIndex


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Winners:
    """Which policy holds on each selection class of a workspace, and what that means for each policy."""

    by_class: Mapping[str, ObjectKey]
    """Class → the one policy that holds. Classes that no policy selects are not in it."""
    route_counts: Mapping[ObjectKey, int]
    """Policy → number of routes on which it holds."""
    findings: tuple[Finding, ...]


def decide(selected: Iterable[tuple[ObjectKey, frozenset[str]]], index: ClassIndex) -> Winners:
    """The winners among policies given oldest first, each with the classes that it selects."""
    by_class: dict[str, ObjectKey] = {}
    route_counts: dict[ObjectKey, int] = {}
    findings: list[Finding] = []
    for key, classes in selected:
        lost: dict[ObjectKey, list[str]] = defaultdict(list)
        won = 0
        for name in classes:
            winner = by_class.setdefault(name, key)
            if winner is key:
                won += index.route_counts[name]
            else:
                lost[winner].append(name)
        route_counts[key] = won
        findings.extend(_lost(key, winner, lost[winner], index, any_won=won > 0) for winner in sorted(lost))
        if not classes:
            message = "selects no route"
            findings.append(Finding(key=key, severity=Severity.NOTE, reason=Reason.TARGET_NOT_FOUND, message=message))
    return Winners(by_class=by_class, route_counts=route_counts, findings=tuple(findings))


def _lost(key: ObjectKey, winner: ObjectKey, classes: list[str], index: ClassIndex, *, any_won: bool) -> Finding:
    tables = sorted({table for name in classes for table in index.tables[name]})
    places = ", ".join(f"{table.namespace}/{table.name}" for table in tables[:3])
    places += f" and {len(tables) - 3} more" if len(tables) > 3 else ""
    return Finding(
        key=key,
        severity=Severity.WARNING if any_won else Severity.FAILED,
        reason=Reason.CONFLICTED,
        message=f"conflicts with existing policy applied to route. Skipping applying {key.name} "
        f"(routes of {places}; {winner.namespace}/{winner.name} of cluster {winner.cluster} is older)",
    )
