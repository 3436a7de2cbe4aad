"""RouteTable → all that it serves, with the properties that policies select its routes by."""

from __future__ import annotations

from collections.abc import Iterator

from meshpass.api.objectset import ObjectKey
from meshpass.api.routetable import FailureMode, RouteTable
from meshpass.memo import Memo
from meshpass.translate.action import Problem, is_of_destination
from meshpass.translate.branch import translate_branch
from meshpass.translate.catalog import Catalog
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.host import host_problem, normalize_host
from meshpass.translate.routecontext import root_context
from meshpass.translate.selection_class import REQUIRE_AUTH
from meshpass.translate.tableindex import TableIndex
from meshpass.translate.tableroutes import MatchedNames, PlacedRoute, TableRoutes, make_table_classes
from meshpass.translate.tcproute import translate_tcp_routes


def translate_table(  # noqa: PLR0917
    key: ObjectKey,
    table: RouteTable,
    unreadable: tuple[str, ...],
    tables: TableIndex,
    catalog: Catalog,
    memo: Memo,
) -> TableRoutes:
    """All routes of a table with hosts, and of those that it delegates to.

    One without hosts is translated as well, for what there is to say about it; it serves nothing by itself.
    """
    branch = memo(translate_branch, key, table, unreadable, memo(root_context, key, table), tables, catalog, memo)
    hosts, host_findings = _translate_hosts(key, table)
    wrong = (Problem("", "no route of a table that cannot be read whole is served"),) if unreadable else ()
    others = translate_tcp_routes(key, table, hosts, wrong, catalog)
    findings = [*branch.findings, *host_findings]
    findings.extend(_finding(key, problem) for problem in dict.fromkeys(others.problems))
    findings.extend(
        Finding(key=key, severity=Severity.WARNING, reason=Reason.NO_EFFECT, path=path, message=message)
        for path, message in _unused(table)
    )
    routes = tuple(route for leaf in branch.leaves for route in leaf.routes)
    return TableRoutes(
        key=key,
        workspace=tables.workspace,
        labels=table.metadata.labels,
        delegated=not table.spec.hosts,
        hosts=hosts,
        routes=routes,
        tcp=others.tcp,
        tls=others.tls,
        classes=memo(make_table_classes, tuple(sorted(branch.properties.items()))),
        matched=_matched_names(routes),
        restricted=any(placed.workloads for placed in routes),
        requires_auth=REQUIRE_AUTH in table.metadata.labels.items(),
        destinations=tuple(
            {one.backend: one for one in (*branch.destinations.values(), *others.destinations)}.values()
        ),
        parts=branch.parts,
        parents=branch.parents,
        broken=branch.broken
        or others.broken > 0
        or bool(unreadable)
        or any(one.severity is Severity.INVALID for one in host_findings),
        findings=tuple(dict.fromkeys(findings)),
    )


def _unused(table: RouteTable) -> Iterator[Problem]:
    """What a table says that cannot have an effect; API servers that know the rules refuse most of it."""
    spec = table.spec
    if not spec.hosts:
        if spec.tcp or spec.tls:
            message = "has no effect on a table without hosts: only HTTP routes are delegated"
            yield from (Problem(f"spec.{kind}", message) for kind in ("tcp", "tls") if getattr(spec, kind))
        message = "has no effect on a table without hosts: it is for the table that delegates"
        if spec.virtual_gateways:
            yield Problem("spec.virtualGateways", message)
        if spec.failure_mode is not FailureMode.ROUTE_REPLACEMENT:
            yield Problem("spec.failureMode", message)
    if spec.default_destination is not None and not any(http.forward_to is not None for http in spec.http):
        yield Problem("spec.defaultDestination", "has no effect without a route that forwards")


def _matched_names(routes: tuple[PlacedRoute, ...]) -> MatchedNames:
    matches = [placed.route.match for placed in routes]
    headers = frozenset(header.name for match in matches for header in match.headers)
    return headers, frozenset(parameter.name for match in matches for parameter in match.query_parameters)


def _finding(key: ObjectKey, problem: Problem) -> Finding:
    reason = Reason.BACKEND_NOT_FOUND if is_of_destination(problem.path) else Reason.INVALID
    return Finding(key=key, severity=Severity.WARNING, reason=reason, path=problem.path, message=problem.message)


def _translate_hosts(key: ObjectKey, table: RouteTable) -> tuple[tuple[str, ...], list[Finding]]:
    """The hosts in their one form. ``*`` is for gateways: a table that is for sidecars too is told so."""
    findings = []
    hosts = []
    for index, host in enumerate(table.spec.hosts):
        problem = None if host == "*" and table.spec.virtual_gateways else host_problem(host)
        severity = Severity.INVALID
        if problem is None:
            hosts.append(normalize_host(host))
            if host == "*" and table.spec.workload_selectors:
                problem, severity = "the host * is served at gateways, and not to workloads", Severity.WARNING
        if problem is not None:
            path = f"spec.hosts[{index}]"
            findings.append(Finding(key=key, severity=severity, reason=Reason.INVALID_HOST, path=path, message=problem))
    return tuple(dict.fromkeys(hosts)), findings
