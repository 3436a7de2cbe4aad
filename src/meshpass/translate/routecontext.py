"""RouteContext: what a table takes over from the routes that delegate to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from meshpass.api.objectset import ObjectKey
from meshpass.api.routetable import HTTPRoute, RouteTable
from meshpass.translate.action import Problem
from meshpass.translate.binding import translate_binding
from meshpass.translate.matcher import MatcherProblem, translate_matcher
from meshpass.translate.placedmatch import ANY_REQUEST, PlacedMatch, conjoin
from meshpass.translate.tableroutes import LabelSet

MAX_MATCHES = 10_000
"""Of one route, after its matchers have been combined with those of all routes above it."""
MAX_TABLES = 5_000
"""That one root may come to by delegation, a table counted for each way to it: two routes to the next table each, over
thirty tables, are a thousand million ways."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RouteContext:
    """What holds for every route of a table; a root table's is empty but for its labels."""

    matches: tuple[PlacedMatch, ...] = (ANY_REQUEST,)
    """Any of these is met by whatever comes here."""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Of the routes above and of the root table (decision 19)."""
    selectors: tuple[LabelSet, ...] = ((),)
    """Labels of the workloads that come here, one set or another."""
    workloads: tuple[tuple[LabelSet, ...], ...] = ()
    """What the tables between the root and this one ask of workloads."""
    ancestors: tuple[ObjectKey, ...] = ()
    """The tables above, the root first."""
    budget: int = MAX_TABLES
    """How many tables may be come to from here; what delegates side by side has equal shares."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RouteHead:
    """What is known of one route before its action: which requests, and under which labels."""

    matches: tuple[PlacedMatch, ...]
    labels: Mapping[str, str]
    problems: tuple[Problem, ...]
    impossible: bool
    """True when none of its matchers can be met by what comes here."""


def root_context(key: ObjectKey, table: RouteTable) -> RouteContext:
    """The context of a table by itself. One without hosts serves nothing then, and is looked at less deeply."""
    budget = MAX_TABLES if table.spec.hosts else MAX_TABLES // 10
    return RouteContext(labels=table.metadata.labels, selectors=_own_selectors(key, table), budget=budget)


def table_context(key: ObjectKey, table: RouteTable, above: RouteContext) -> tuple[RouteContext, tuple[Problem, ...]]:
    """The context within a delegated table: workloads have to meet its own selectors too (behaviour §5.2)."""
    if not table.spec.workload_selectors or not above.selectors:
        return above, ()  # without selectors above, the routes are for gateways alone, which are chosen otherwise
    own = _own_selectors(key, table)
    both = tuple(
        tuple(sorted({*upper, *lower}))
        for upper in above.selectors
        for lower in own
        if not any(dict(upper).get(name, value) != value for name, value in lower)
    )
    if not both:
        message = "ask of a workload label another value than the table that delegates here: no workload has both"
        return above, (Problem("spec.workloadSelectors", message),)
    within = RouteContext(
        matches=above.matches,
        labels=above.labels,
        selectors=both,
        workloads=(*above.workloads, own),
        ancestors=above.ancestors,
        budget=above.budget,
    )
    return within, ()


def _own_selectors(key: ObjectKey, table: RouteTable) -> tuple[LabelSet, ...]:
    return tuple(tuple(sorted(wanted.items())) for wanted in translate_binding(key, table).label_sets)


def route_head(http: HTTPRoute, path: str, context: RouteContext) -> RouteHead:
    """The conditions of a route, combined with those of the routes above it."""
    own, problems = _translate_matchers(http, path)
    labels = {**context.labels, **http.labels} if http.labels else context.labels
    if len(own) * len(context.matches) > MAX_MATCHES:
        message = f"come to more than {MAX_MATCHES} matchers with those of the routes that delegate here"
        return RouteHead(
            matches=context.matches,
            labels=labels,
            problems=(*problems, Problem(f"{path}.matchers", message)),
            impossible=False,
        )
    pairs = (conjoin(above, one) for above in context.matches for one in own)
    found = tuple(dict.fromkeys(pair for pair in pairs if pair is not None))
    return RouteHead(matches=found, labels=labels, problems=problems, impossible=bool(own) and not found)


def _translate_matchers(http: HTTPRoute, path: str) -> tuple[tuple[PlacedMatch, ...], tuple[Problem, ...]]:
    if not http.matchers:
        return (ANY_REQUEST,), ()
    matches: list[PlacedMatch] = []
    problems: list[Problem] = []
    for index, matcher in enumerate(http.matchers):
        match translate_matcher(matcher, f"{path}.matchers[{index}]"):
            case MatcherProblem(where, message):
                problems.append(Problem(where, message))
            case PlacedMatch() as found:
                matches.append(found)
    # A route none of whose matchers can be built matches nothing: it takes no request from the routes below it.
    return tuple(matches), tuple(problems)


def child_context(head: RouteHead, key: ObjectKey, above: RouteContext, ways: int) -> RouteContext:
    """The context of the tables that a route of the table ``key`` delegates to, of so many ``ways`` on from the table."""
    return RouteContext(
        matches=head.matches,
        labels=head.labels,
        selectors=above.selectors,
        workloads=above.workloads,
        ancestors=(*above.ancestors, key),
        budget=above.budget // max(ways, 1),
    )
