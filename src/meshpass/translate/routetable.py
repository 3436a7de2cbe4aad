"""RouteTable → routes, with the properties that policies select them by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meshpass.api.objectset import ObjectKey
from meshpass.api.routetable import ForwardTo, HTTPRoute, RouteTable
from meshpass.ir import DirectResponse, Forward, Route, RouteAction, RouteMatch, WeightedBackend
from meshpass.translate.destination import Destination, DestinationProblem, resolve_destination
from meshpass.translate.finding import NO_EFFECT_YET, Finding, Reason, Severity, no_effect
from meshpass.translate.host import host_problem, normalize_host
from meshpass.translate.matcher import MatcherProblem, translate_matcher
from meshpass.translate.selection_class import REQUIRE_AUTH, RouteProperties
from meshpass.translate.service import Services
from meshpass.translate.weight import share_weights

REPLACED = DirectResponse(status=500, body="this route is misconfigured; its RouteTable's status says how")
"""What a route that cannot be built answers (failure mode ROUTE_REPLACEMENT, behaviour §5.8)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRoutes:
    """What one RouteTable comes to."""

    key: ObjectKey
    workspace: str
    hosts: tuple[str, ...]
    routes: tuple[Route, ...]
    classes: Mapping[str, RouteProperties]
    """The selection classes of the routes."""
    route_counts: Mapping[str, int]
    """Selection class → number of the table's routes in it."""
    requires_auth: bool
    """True for a table with the label that asks for denial by default."""
    destinations: tuple[Destination, ...]
    """Each Service port that the routes send to, once."""
    findings: tuple[Finding, ...]


def translate_table(
    key: ObjectKey, table: RouteTable, workspace: str, services: Services, problems: tuple[str, ...]
) -> TableRoutes:
    """All routes of a table. A route that is wrong is answered 500; the others are not touched by it.

    A table with ``problems`` is wrong as a whole: what could not be read may have been the label that a policy selects
    by, or a condition of a matcher.
    """
    unreadable = [("", "no route of a table that cannot be read whole is served")] if problems else []
    findings: list[Finding] = []
    routes: list[Route] = []
    classes: dict[str, RouteProperties] = {}
    counts: Counter[str] = Counter()
    used: dict[str, Destination] = {}
    broken = 0
    for index, (name, http) in enumerate(zip(_route_names(table.spec.http), table.spec.http, strict=True)):
        path = f"spec.http[{index}]"
        action, destinations, action_problems = _translate_action(http, key, path, table, services)
        matches, match_problems = _translate_matchers(http, path)
        wrong = [*unreadable, *action_problems, *match_problems]
        properties = RouteProperties(
            workspace=workspace,
            cluster=key.cluster,
            namespace=key.namespace,
            labels=tuple(sorted({**table.metadata.labels, **http.labels}.items())),
            destinations=tuple(sorted({(found.service.key, found.port.number) for found in destinations})),
        )
        selection_class = properties.selection_class
        classes[selection_class] = properties
        counts[selection_class] += 1
        used.update({found.backend: found for found in destinations})
        broken += bool(wrong)
        findings.extend(_finding(key, Severity.WARNING, *problem) for problem in wrong)
        routes.extend(
            Route(
                name=f"{name}.{key.name}.{key.namespace}.{key.cluster}",
                match=match,
                action=REPLACED if wrong else action,
                selection_class=selection_class,
            )
            for match in matches
        )
    if broken and broken == len(table.spec.http):
        findings.append(_finding(key, Severity.INVALID, "spec.http", "no route of this table can be built"))
    hosts, host_findings = _translate_hosts(key, table)
    return TableRoutes(
        key=key,
        workspace=workspace,
        hosts=hosts,
        routes=tuple(routes),
        classes=classes,
        route_counts=counts,
        requires_auth=REQUIRE_AUTH in table.metadata.labels.items(),
        destinations=tuple(used.values()),
        findings=(*findings, *host_findings),
    )


def _finding(key: ObjectKey, severity: Severity, path: str, message: str) -> Finding:
    if message == NO_EFFECT_YET:
        return no_effect(key, path, severity)
    reason = Reason.BACKEND_NOT_FOUND if ".destinations[" in path else Reason.INVALID
    return Finding(key=key, severity=severity, reason=reason, path=path, message=message)


def _route_names(routes: Iterable[HTTPRoute]) -> list[str]:
    """Unique names (behaviour §5.9): ``insecure-`` is cut off, repeats become ``duplicate-<name>-<n>``."""
    seen: Counter[str] = Counter()
    names = []
    for index, route in enumerate(routes):
        name = route.name.removeprefix("insecure-") or f"route-{index}"
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"duplicate-{name}-{seen[name] - 1}")
    return names


def _translate_hosts(key: ObjectKey, table: RouteTable) -> tuple[tuple[str, ...], list[Finding]]:
    findings = []
    hosts = []
    for index, host in enumerate(table.spec.hosts):
        problem = host_problem(host)
        if problem is None:
            hosts.append(normalize_host(host))
        else:
            path = f"spec.hosts[{index}]"
            findings.append(
                Finding(key=key, severity=Severity.INVALID, reason=Reason.INVALID_HOST, path=path, message=problem)
            )
    return tuple(dict.fromkeys(hosts)), findings


def _translate_matchers(http: HTTPRoute, path: str) -> tuple[list[RouteMatch], list[tuple[str, str]]]:
    if not http.matchers:
        return [RouteMatch()], []
    matches: list[RouteMatch] = []
    problems: list[tuple[str, str]] = []
    for index, matcher in enumerate(http.matchers):
        match translate_matcher(matcher, f"{path}.matchers[{index}]"):
            case MatcherProblem(where, message):
                problems.append((where, message))
            case RouteMatch() as found:
                matches.append(found)
    # A route none of whose matchers can be built matches nothing: it takes no request from the routes below it.
    return matches, problems


def _translate_action(
    http: HTTPRoute, key: ObjectKey, path: str, table: RouteTable, services: Services
) -> tuple[RouteAction, list[Destination], list[tuple[str, str]]]:
    if http.forward_to is not None:
        return _translate_forward(http.forward_to, key, f"{path}.forwardTo", table, services)
    if http.direct_response is not None:
        answer = http.direct_response
        if not 200 <= answer.status <= 599:
            return REPLACED, [], [(f"{path}.directResponse.status", "is outside of 200 to 599")]
        return DirectResponse(status=answer.status, body=answer.body), [], []
    actions = {"delegate": http.delegate, "redirect": http.redirect, "graphql": http.graphql}
    used = [name for name, value in actions.items() if value is not None]
    message = NO_EFFECT_YET if used else "has no action; set forwardTo"
    return REPLACED, [], [(f"{path}.{used[0]}" if used else path, message)]


def _translate_forward(
    forward: ForwardTo, key: ObjectKey, path: str, table: RouteTable, services: Services
) -> tuple[RouteAction, list[Destination], list[tuple[str, str]]]:
    rewrites = {
        "pathRewrite": forward.path_rewrite,
        "regexRewrite": forward.regex_rewrite,
        "hostRewrite": forward.host_rewrite,
        "autoHostRewrite": forward.auto_host_rewrite or None,
    }
    problems = [(f"{path}.{name}", NO_EFFECT_YET) for name, value in rewrites.items() if value is not None]
    references = [(f"{path}.destinations[{i}]", reference) for i, reference in enumerate(forward.destinations)]
    if not references and table.spec.default_destination is not None:
        references = [("spec.defaultDestination", table.spec.default_destination)]
    if not references:
        problems.append((f"{path}.destinations", "names no destination, and the table has no defaultDestination"))
    found: list[Destination] = []
    for where, reference in references:
        match resolve_destination(reference, key, where, services):
            case DestinationProblem(field, message):
                problems.append((field, message))
            case Destination() as destination:
                found.append(destination)
    weights = share_weights([reference.weight for _, reference in references]) if references else ()
    if isinstance(weights, str):
        problems.append((f"{path}.destinations", weights))
    if problems or isinstance(weights, str):
        return REPLACED, found, problems
    shares = Counter[str]()
    for destination, weight in zip(found, weights, strict=True):
        shares[destination.backend] += weight
    backends = tuple(WeightedBackend(backend=name, weight=weight) for name, weight in shares.items() if weight)
    return Forward(backends=backends), found, []
