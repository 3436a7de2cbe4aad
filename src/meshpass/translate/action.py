"""What a route does: the action of an HTTPRoute → the IR's, with what it sends to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from meshpass.api.common import DestinationReference
from meshpass.api.objectset import ObjectKey
from meshpass.api.routetable import DirectResponse as ApiDirectResponse
from meshpass.api.routetable import ForwardTo, HTTPRoute, RegexMatchAndSubstitute, RouteTable
from meshpass.api.routetable import Redirect as ApiRedirect
from meshpass.ir import (
    DirectResponse,
    Forward,
    PathRegex,
    PathRewrite,
    PrefixRewrite,
    Redirect,
    RegexRewrite,
    RouteAction,
    WeightedBackend,
)
from meshpass.translate.catalog import Catalog
from meshpass.translate.destination import Destination, DestinationProblem, own_retries, resolve_destination
from meshpass.translate.finding import NO_EFFECT_YET
from meshpass.translate.host import host_problem
from meshpass.translate.pattern import regex_problem
from meshpass.translate.placedmatch import PlacedMatch
from meshpass.translate.rewrite import substitution_problem, text_problem
from meshpass.translate.weight import share_weights

REPLACED = DirectResponse(status=500, body="this route is misconfigured; its RouteTable's status says how")
"""What a route that cannot be built answers (failure mode ROUTE_REPLACEMENT, behaviour §5.8)."""

REDIRECT_STATUS = {
    "MOVED_PERMANENTLY": 301,
    "FOUND": 302,
    "SEE_OTHER": 303,
    "TEMPORARY_REDIRECT": 307,
    "PERMANENT_REDIRECT": 308,
}


class Problem(NamedTuple):
    """What is wrong with one field of a route."""

    path: str
    message: str


def is_of_destination(path: str) -> bool:
    """True for the path of a field that names where requests go."""
    return ".destinations[" in path or path.startswith("spec.defaultDestination")


class Action(NamedTuple):
    """What a route does. With problems it does nothing of it, and answers 500."""

    action: RouteAction
    destinations: tuple[Destination, ...] = ()
    """What it would send to, as far as that is known: policies select routes by it."""
    problems: tuple[Problem, ...] = ()


def translate_action(  # noqa: PLR0917
    http: HTTPRoute, key: ObjectKey, path: str, table: RouteTable, matches: Iterable[PlacedMatch], catalog: Catalog
) -> Action:
    """The action of a route that does not delegate."""
    if http.forward_to is not None:
        return _translate_forward(http.forward_to, key, f"{path}.forwardTo", table, matches, catalog)
    if http.direct_response is not None:
        return _translate_direct_response(http.direct_response, f"{path}.directResponse")
    if http.redirect is not None:
        return _translate_redirect(http.redirect, f"{path}.redirect")
    if http.graphql is not None:
        return _wrong(Problem(f"{path}.graphql", NO_EFFECT_YET))
    return _wrong(Problem(path, "has no action; set forwardTo, delegate, redirect or directResponse"))


def _wrong(*problems: Problem, destinations: tuple[Destination, ...] = ()) -> Action:
    return Action(REPLACED, destinations, problems)


def _translate_direct_response(answer: ApiDirectResponse, path: str) -> Action:
    if not 200 <= answer.status <= 599:
        return _wrong(Problem(f"{path}.status", "is outside of 200 to 599"))
    return Action(DirectResponse(status=answer.status, body=answer.body))


def _translate_redirect(redirect: ApiRedirect, path: str) -> Action:
    problems = []
    if redirect.host_redirect:
        host, _, port = redirect.host_redirect.partition(":")
        problem = "is no host to send a client to" if "*" in host else host_problem(host)
        if problem is None and port and not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535):
            problem = f"{port!r} is no port"
        if problem is not None:
            problems.append(Problem(f"{path}.hostRedirect", problem))
    if redirect.path_redirect is not None:
        problem = text_problem(redirect.path_redirect)
        if problem is None and not redirect.path_redirect.startswith("/"):
            problem = "does not start with /"
        if problem is not None:
            problems.append(Problem(f"{path}.pathRedirect", problem))
    if not redirect.host_redirect and redirect.path_redirect is None:
        problems.append(Problem(path, "changes neither host nor path: clients would be sent in a circle"))
    if problems:
        return _wrong(*problems)
    status = REDIRECT_STATUS[redirect.response_code]
    return Action(Redirect(status=status, host=redirect.host_redirect, path=redirect.path_redirect))


def _translate_forward(  # noqa: PLR0917
    forward: ForwardTo, key: ObjectKey, path: str, table: RouteTable, matches: Iterable[PlacedMatch], catalog: Catalog
) -> Action:
    problems = list(_host_problems(forward, path))
    rewrite = _translate_path_rewrite(forward, path, matches)
    if isinstance(rewrite, Problem):
        problems.append(rewrite)
    references = [(f"{path}.destinations[{i}]", reference) for i, reference in enumerate(forward.destinations)]
    if not references and table.spec.default_destination is not None:
        references = [("spec.defaultDestination", table.spec.default_destination)]
    if not references:
        problems.append(
            Problem(f"{path}.destinations", "names no destination, and the table has no defaultDestination")
        )
    found, backends, wrong = share_among(references, key, path, catalog, http=True)
    problems.extend(wrong)
    problems.extend(
        Problem(where, f"{one.key.name}:{one.port} does not speak HTTP; send to it with tcp or tls routes")
        for (where, _), one in zip(references, found, strict=False)
        if not wrong and not one.http
    )
    if problems or isinstance(rewrite, Problem):
        return _wrong(*problems, destinations=found)
    hosts = {one.backend: one.host for one in found} if forward.auto_host_rewrite else {}
    weighted = tuple(
        WeightedBackend(backend=name, weight=weight, host_rewrite=(forward.host_rewrite or hosts.get(name, "")).lower())
        for name, weight in backends.items()
    )
    return Action(Forward(backends=weighted, path_rewrite=rewrite, retries=own_retries(found)), found)


def share_among(
    references: list[tuple[str, DestinationReference]], key: ObjectKey, path: str, catalog: Catalog, *, http: bool
) -> tuple[tuple[Destination, ...], dict[str, int], list[Problem]]:
    """The destinations of a route, the share of each backend (they sum to 100; none has 0), and what is wrong."""
    found: list[Destination] = []
    problems: list[Problem] = []
    for where, reference in references:
        match resolve_destination(reference, key, where, catalog, http=http):
            case DestinationProblem(field, message):
                problems.append(Problem(field, message))
            case Destination() as destination:
                found.append(destination)
    weights = share_weights([reference.weight for _, reference in references]) if references else ()
    if isinstance(weights, str):
        problems.append(Problem(f"{path}.destinations", weights))
        weights = ()
    shares = Counter[str]()
    if not problems:
        for destination, weight in zip(found, weights, strict=True):
            shares[destination.backend] += weight
    return tuple(found), {name: weight for name, weight in shares.items() if weight}, problems


def _host_problems(forward: ForwardTo, path: str) -> Iterator[Problem]:
    if forward.host_rewrite is not None:
        host, _, port = forward.host_rewrite.partition(":")
        problem = "is no host to send" if "*" in host else host_problem(host)
        if problem is None and port and not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535):
            problem = f"{port!r} is no port"
        if problem is not None:
            yield Problem(f"{path}.hostRewrite", problem)


def _translate_path_rewrite(
    forward: ForwardTo, path: str, matches: Iterable[PlacedMatch]
) -> PathRewrite | Problem | None:
    if forward.path_rewrite is not None:
        where = f"{path}.pathRewrite"
        problem = text_problem(forward.path_rewrite)
        if problem is None and not forward.path_rewrite.startswith("/"):
            problem = "does not start with /"
        if problem is None and any(isinstance(one.match.path, PathRegex) for one in matches):
            problem = (
                "has no part of the path to replace where that is matched by a regular expression; use regexRewrite"
            )
        if problem is not None:
            return Problem(where, problem)
        return PrefixRewrite(forward.path_rewrite)
    if forward.regex_rewrite is not None:
        return _translate_regex_rewrite(forward.regex_rewrite, f"{path}.regexRewrite")
    return None


def _translate_regex_rewrite(rewrite: RegexMatchAndSubstitute, path: str) -> RegexRewrite | Problem:
    expression = rewrite.pattern.regex if rewrite.pattern is not None else ""
    problem = regex_problem(expression)
    if problem is not None:
        return Problem(f"{path}.pattern.regex", problem)
    problem = substitution_problem(rewrite.substitution, expression)
    if problem is not None:
        return Problem(f"{path}.substitution", problem)
    return RegexRewrite(expression, rewrite.substitution)
