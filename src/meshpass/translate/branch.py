"""Branch: the routes of one table in one context, with those of all tables that it delegates to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from meshpass.api.objectset import ObjectKey
from meshpass.api.routetable import Delegate, HTTPRoute, RouteTable, SortMethod
from meshpass.ir import Route, RouteAction
from meshpass.memo import Memo
from meshpass.translate.action import REPLACED, Problem, is_of_destination, translate_action
from meshpass.translate.catalog import Catalog
from meshpass.translate.destination import Destination
from meshpass.translate.finding import NO_EFFECT_YET, Finding, Reason, Severity, no_effect
from meshpass.translate.placedmatch import specificity
from meshpass.translate.routecontext import (
    MAX_TABLES,
    RouteContext,
    RouteHead,
    child_context,
    route_head,
    table_context,
)
from meshpass.translate.routename import route_names
from meshpass.translate.selection_class import RouteProperties
from meshpass.translate.tableindex import KnownTable, TableIndex, choose_children, without_tables
from meshpass.translate.tableroutes import PlacedRoute

MAX_DEPTH = 32


class Leaf(NamedTuple):
    """The routes that one HTTPRoute comes to; they stay together however leaves are sorted."""

    routes: tuple[PlacedRoute, ...]
    specificity: tuple[int, int]
    """Of its most specific matcher."""


@dataclass(slots=True, kw_only=True, eq=False)
class Branch:
    """What a table comes to in its context. Filled while it is translated, and not changed afterwards."""

    leaves: list[Leaf] = field(default_factory=list)
    properties: Counter[RouteProperties] = field(default_factory=Counter)
    """Of the routes, with the number of routes that have them."""
    destinations: dict[str, Destination] = field(default_factory=dict)
    parts: dict[ObjectKey, frozenset[str]] = field(default_factory=dict)
    parents: dict[ObjectKey, frozenset[ObjectKey]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    broken: bool = False
    impossible: str = ""
    """A route whose matchers cannot be met together with those above it."""

    def add(self, other: Branch) -> None:
        """Take in what a delegated table comes to, but its leaves."""
        self.properties.update(other.properties)
        self.destinations.update(other.destinations)
        for key, classes in other.parts.items():
            self.parts[key] = self.parts.get(key, frozenset()) | classes
        for key, parents in other.parents.items():
            self.parents[key] = self.parents.get(key, frozenset()) | parents
        self.findings.extend(other.findings)
        self.broken = self.broken or other.broken


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Place:
    """What is the same for all routes of a table."""

    key: ObjectKey
    table: RouteTable
    workspace: str
    context: RouteContext
    catalog: Catalog
    problems: tuple[Problem, ...]
    delegating: int
    """How many of its routes delegate."""


def translate_branch(  # noqa: PLR0917
    key: ObjectKey,
    table: RouteTable,
    unreadable: tuple[str, ...],
    above: RouteContext,
    tables: TableIndex,
    catalog: Catalog,
    memo: Memo,
) -> Branch:
    """The routes of a table. One that is wrong is answered 500; the others are not touched by it.

    A table that could not be read whole is wrong as a whole: what could not be read may have been the label that a
    policy selects by, or a condition of a matcher.
    """
    context, problems = table_context(key, table, above) if above.ancestors else (above, ())
    if unreadable:
        problems = (Problem("", "no route of a table that cannot be read whole is served"), *problems)
    place = _Place(
        key=key,
        table=table,
        workspace=tables.workspace,
        context=context,
        catalog=catalog,
        problems=problems,
        delegating=sum(http.delegate is not None for http in table.spec.http),
    )
    branch = Branch()
    own: set[str] = set()
    wrong = 0
    for index, (name, http) in enumerate(zip(route_names(table.spec.http), table.spec.http, strict=True)):
        path = f"spec.http[{index}]"
        if http.delegate is None:
            selection_class, route_problems = _add_leaf(branch, place, name, http, path)
        else:
            selection_class, route_problems = _add_delegate(branch, place, index, name, http, tables, memo)
        own.add(selection_class)
        wrong += bool(route_problems)
        branch.findings.extend(_finding(key, Severity.WARNING, problem) for problem in dict.fromkeys(route_problems))
    if wrong and wrong == len(table.spec.http):
        message = "no route of this table can be built"
        branch.findings.append(_finding(key, Severity.INVALID, Problem("spec.http", message)))
    branch.parts[key] = branch.parts.get(key, frozenset()) | own
    branch.broken = branch.broken or wrong > 0
    return branch


def _add_leaf(branch: Branch, place: _Place, name: str, http: HTTPRoute, path: str) -> tuple[str, tuple[Problem, ...]]:
    """Add the routes of an HTTPRoute that does not delegate; its selection class, and what is wrong."""
    head = route_head(http, path, place.context)
    if head.impossible:
        branch.impossible = branch.impossible or f"{path} of {place.key.namespace}/{place.key.name}"
        head = _with_problem(head, place, Problem(f"{path}.matchers", "none can be met by what is delegated here"))
    action, destinations, action_problems = translate_action(
        http, place.key, path, place.table, head.matches, place.catalog
    )
    branch.destinations.update({found.backend: found for found in destinations})
    problems = (*place.problems, *action_problems, *head.problems)
    selection_class = _classify(branch, place, head, destinations)
    branch.leaves.append(_leaf(place, name, head, REPLACED if problems else action, selection_class))
    return selection_class, problems


def _with_problem(head: RouteHead, place: _Place, problem: Problem) -> RouteHead:
    return RouteHead(
        matches=place.context.matches, labels=head.labels, problems=(*head.problems, problem), impossible=True
    )


def _classify(branch: Branch, place: _Place, head: RouteHead, destinations: Iterable[Destination]) -> str:
    properties = RouteProperties(
        workspace=place.workspace,
        cluster=place.key.cluster,
        namespace=place.key.namespace,
        labels=tuple(sorted(head.labels.items())),
        destinations=tuple(sorted({(found.key, found.port) for found in destinations})),
    )
    branch.properties[properties] += 1
    return properties.selection_class


def _leaf(place: _Place, name: str, head: RouteHead, action: RouteAction, selection_class: str) -> Leaf:
    key, workloads = place.key, place.context.workloads
    full_name = f"{name}.{key.name}.{key.namespace}.{key.cluster}"
    return Leaf(
        tuple(
            PlacedRoute(
                placed.port,
                Route(name=full_name, match=placed.match, action=action, selection_class=selection_class),
                workloads,
            )
            for placed in head.matches
        ),
        min(map(specificity, head.matches), default=(3, 0)),
    )


def _add_delegate(  # noqa: PLR0917
    branch: Branch, place: _Place, index: int, name: str, http: HTTPRoute, tables: TableIndex, memo: Memo
) -> tuple[str, tuple[Problem, ...]]:
    """Add the routes of the tables that an HTTPRoute delegates to, or its 500; its class, and what is wrong."""
    delegate, path = http.delegate or Delegate(), f"spec.http[{index}]"
    children = choose_children(delegate, tables)
    head, within = memo(
        _delegated_context, place.key, place.table, index, place.context, place.delegating * len(children)
    )
    problems = (*place.problems, *head.problems)
    if head.impossible:
        branch.impossible = branch.impossible or f"{path} of {place.key.namespace}/{place.key.name}"
        head = _with_problem(head, place, Problem(f"{path}.matchers", "none can be met by what is delegated here"))
        problems = (*problems, *head.problems[-1:])
    problems = (*problems, *_child_problems(children, within, f"{path}.delegate.routeTables"))
    if delegate.allowed_routes:
        # It limits cloud functions, and a route that calls one is answered 500 whatever it says.
        branch.findings.append(no_effect(place.key, f"{path}.delegate.allowedRoutes"))
    leaves: list[Leaf] = []
    if not problems:
        found = [
            memo(
                translate_branch,
                child.key,
                child.table,
                child.problems,
                within,
                # What is delegated to another workspace is that one's: its policies hold, and it sees what it sees itself.
                tables.peers[child.workspace] if child.delegates else memo(without_tables, child.workspace),
                place.catalog,
                memo,
            )
            for child in children
        ]
        problems = tuple(
            Problem(
                f"{path}.delegate",
                f"{one.impossible} asks for what this route never gets: their matchers exclude each other",
            )
            for one in found
            if one.impossible
        )
        for child, one in zip(children, found, strict=True):
            branch.parents[child.key] = branch.parents.get(child.key, frozenset()) | {place.key}
            if problems:
                branch.findings.extend(one.findings)
                continue
            branch.add(one)
            leaves.extend(one.leaves)
    selection_class = _classify(branch, place, head, ())
    if problems:
        leaves = [_leaf(place, name, head, REPLACED, selection_class)]
    elif delegate.sort_method is SortMethod.ROUTE_SPECIFICITY:
        leaves.sort(key=lambda leaf: leaf.specificity)
    branch.leaves.extend(leaves)
    return selection_class, problems


def _delegated_context(
    key: ObjectKey, table: RouteTable, index: int, context: RouteContext, ways: int
) -> tuple[RouteHead, RouteContext]:
    head = route_head(table.spec.http[index], f"spec.http[{index}]", context)
    return head, child_context(head, key, context, ways)


def _child_problems(children: tuple[KnownTable, ...], within: RouteContext, path: str) -> Iterator[Problem]:
    if not children:
        yield Problem(path, "select no table without hosts of its own that this workspace has or imports")
    if len(within.ancestors) >= MAX_DEPTH:
        yield Problem(path, f"lead deeper than {MAX_DEPTH} tables")
    if within.budget < 1:
        yield Problem(path, f"lead, with what delegates beside them and above, to more than {MAX_TABLES} tables")
    for child in children:
        if child.key in within.ancestors:
            start = within.ancestors.index(child.key)
            circle = (*within.ancestors[start:], child.key)
            names = " → ".join(f"{one.namespace}/{one.name}" for one in circle)
            yield Problem(path, f"lead in a circle: {names}")
        elif child.table.spec.hosts:
            message = f"name {child.key.namespace}/{child.key.name}, which has hosts of its own and is no table to delegate to"
            yield Problem(path, message)


def _finding(key: ObjectKey, severity: Severity, problem: Problem) -> Finding:
    if problem.message == NO_EFFECT_YET:
        return no_effect(key, problem.path, severity)
    missing = is_of_destination(problem.path) or problem.path.endswith(".delegate.routeTables")
    reason = Reason.BACKEND_NOT_FOUND if missing else Reason.INVALID
    return Finding(key=key, severity=severity, reason=reason, path=problem.path, message=problem.message)
