"""The report about each route table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from meshpass.api.objectset import ObjectKey
from meshpass.api.routetable import RouteTable
from meshpass.memo import Memo
from meshpass.translate.effect import find_without_effect
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.report import ObjectReport
from meshpass.translate.tableroutes import TableRoutes

Tables = Mapping[ObjectKey, TableRoutes]
PolicyCounts = Mapping[str, Mapping[str, ObjectKey]]
"""Kind of a policy, as Go names it → selection class → the policy of this kind that holds on it."""


def report_tables(  # noqa: PLR0917
    objects: Mapping[ObjectKey, RouteTable],
    roots: Tables,
    parts: Tables,
    own: Mapping[ObjectKey, tuple[Finding, ...]],
    allowed: Mapping[ObjectKey, int],
    winners: PolicyCounts,
    nodes: Mapping[ObjectKey, frozenset[str]],
    memo: Memo,
) -> Mapping[ObjectKey, ObjectReport]:
    """What there is to say about every table; to be called through the memo.

    ``own`` is what others found about it; ``allowed`` the number of VirtualGateways that serve it.
    """
    delegated = memo(_index_delegation, roots, parts)
    counts = memo.each(_count_policies, delegated.classes, tuple(winners.items()))
    told = {
        key: (
            table,
            roots.get(key) or parts.get(key),
            own.get(key, ()),
            delegated.findings.get(key, ()),
            len(delegated.parents.get(key, ())),
            allowed.get(key, 0),
            counts.get(key, ()),
            nodes.get(key),
        )
        for key, table in objects.items()
    }
    return memo.each(_report_table, told)


class _Delegation:
    """What is told to tables by the tables that delegate to them."""

    def __init__(self) -> None:
        self.findings: dict[ObjectKey, tuple[Finding, ...]] = {}
        self.parents: dict[ObjectKey, frozenset[ObjectKey]] = {}
        self.classes: dict[ObjectKey, tuple[str, ...]] = {}


def _index_delegation(roots: Tables, parts: Tables) -> _Delegation:
    """Findings, number of parents, and classes of every table, over all trees that it is in."""
    index = _Delegation()
    findings: dict[ObjectKey, dict[Finding, None]] = defaultdict(dict)
    classes: dict[ObjectKey, set[str]] = defaultdict(set)
    for routes in roots.values():
        for key, own in routes.parts.items():
            classes[key] |= own
        for key, parents in routes.parents.items():
            index.parents[key] = index.parents.get(key, frozenset()) | parents
    for routes in (*roots.values(), *parts.values()):
        for finding in routes.findings:
            findings[finding.key][finding] = None
    index.findings = {key: tuple(found) for key, found in findings.items()}
    index.classes = {key: tuple(sorted(found)) for key, found in classes.items()}
    return index


def _count_policies(
    _key: ObjectKey, classes: tuple[str, ...], winners: tuple[tuple[str, Mapping[str, ObjectKey]], ...]
) -> tuple[tuple[str, int], ...]:
    counted = ((kind, len({held[name] for name in classes if name in held})) for kind, held in winners)
    return tuple((kind, count) for kind, count in counted if count)


_Told = tuple[
    RouteTable,
    TableRoutes | None,
    tuple[Finding, ...],
    tuple[Finding, ...],
    int,
    int,
    tuple[tuple[str, int], ...],
    frozenset[str] | None,
]


def _report_table(key: ObjectKey, told: _Told) -> ObjectReport:
    table, routes, own, found, parents, allowed, policies, nodes = told
    findings = [*own, *found, *find_without_effect(key, table.spec)]
    if routes is not None and nodes is None:
        message = (
            "no table delegates to this table, and it has no hosts of its own"
            if routes.delegated and not parents
            else "no sidecar or gateway uses this table"
        )
        findings.append(Finding(key=key, severity=Severity.NOTE, reason=Reason.TARGET_NOT_FOUND, message=message))
    counts: Mapping[str, object] = {}
    if routes is not None:
        counts = {
            "ownedByWorkspace": routes.workspace,
            "numAppliedRoutePolicies": dict(policies),
            "numParentRouteTables": parents,
            "numAllowedVirtualGateways": allowed,
        }
    return ObjectReport(
        generation=table.metadata.generation,
        findings=tuple(dict.fromkeys(findings)),
        counts=counts,
        nodes=nodes or frozenset(),
    )
