"""What a RouteConfiguration of the IR means for one request, told without Envoy and without the project's own code.

verdict = judge(proxy.routes[0], Asked(authority="www.example.com", path="/get"))
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from meshpass.ir import (
    DirectResponse,
    Forward,
    HeaderMatch,
    PathExact,
    PathMatch,
    PathPrefix,
    PathRegex,
    PrefixRewrite,
    QueryMatch,
    Redirect,
    RegexRewrite,
    Route,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)

CONNECT = "CONNECT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request. ``path`` is without the query; headers and query may repeat a name."""

    authority: str
    path: str = "/"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()

    @property
    def target(self) -> str:
        """Path and query."""
        return self.path + ("?" + self.query_text if self.query else "")

    @property
    def query_text(self) -> str:
        """The query without its question mark."""
        return "&".join(f"{name}={value}" for name, value in self.query)


@dataclass(frozen=True, slots=True)
class Sent:
    """The request goes to one of these backends, each with the Host that it then has, under this path and query."""

    backends: frozenset[tuple[str, str]]
    target: str


@dataclass(frozen=True, slots=True)
class Moved:
    """The client is told to go elsewhere."""

    status: int
    location: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The proxy answers by itself."""

    status: int
    body: str


Verdict = Sent | Moved | Answered
NOT_FOUND = Answered(404, "")


def judge(routes: RouteConfiguration, asked: Asked) -> Verdict:
    """What happens to a request, its route's policies aside."""
    route = choose_route(routes, asked)
    return NOT_FOUND if route is None else act(route, asked)


def choose_route(routes: RouteConfiguration, asked: Asked) -> Route | None:
    """The first route of the request's virtual host that matches."""
    host = _choose_host(routes, asked.authority)
    return next((route for route in host.routes if _matches(route.match, asked)), None) if host else None


def _choose_host(routes: RouteConfiguration, authority: str) -> VirtualHost | None:
    """Envoy: an exact domain, else the longest ``*end``, else the longest ``start*``, else ``*``; case does not count."""
    name = authority.lower()
    if routes.ignore_port:
        name = re.sub(r":\d+$", "", name)
    by_rank: dict[tuple[int, int], VirtualHost] = {}
    for host in routes.virtual_hosts:
        for domain in host.domains:
            rank = _rank_domain(domain.lower(), name)
            if rank is not None:
                assert rank not in by_rank, f"{domain} is there twice"
                by_rank[rank] = host
    return by_rank[min(by_rank)] if by_rank else None


def _rank_domain(domain: str, name: str) -> tuple[int, int] | None:
    if domain == "*":
        return 3, 0
    if domain == name:
        return 0, 0
    rest = domain.strip("*")
    if domain.startswith("*") and name.endswith(rest) and len(name) > len(rest):
        return 1, -len(rest)
    if domain.endswith("*") and name.startswith(rest) and len(name) > len(rest):
        return 2, -len(rest)
    return None


def _matches(match: RouteMatch, asked: Asked) -> bool:
    if match.connect or asked.method == CONNECT:
        return match.connect and asked.method == CONNECT
    return (
        match.method in {None, asked.method}
        and all(path_matches(path, asked.path) for path in (match.path, *match.also))
        and all(_header_matches(header, asked.headers) for header in match.headers)
        and all(_query_matches(parameter, asked.query) for parameter in match.query_parameters)
    )


def path_matches(condition: PathMatch, path: str) -> bool:
    """True when a path, without its query, meets a condition."""
    match condition:
        case PathRegex(value):
            return re.fullmatch(value, path) is not None
        case PathExact(value, ignore_case) | PathPrefix(value, ignore_case):
            if ignore_case:
                value, path = value.lower(), path.lower()
            return path == value if isinstance(condition, PathExact) else path.startswith(value)


def _header_matches(condition: HeaderMatch, headers: Iterable[tuple[str, str]]) -> bool:
    values = [value for name, value in headers if name.lower() == condition.name.lower()]
    # Envoy 1.40 looks at each line by itself, not at what they are when joined by commas (RFC 9110 §5.3).
    return any(_value_matches(condition, value) for value in values) != condition.invert


def _query_matches(condition: QueryMatch, query: Iterable[tuple[str, str]]) -> bool:
    return _value_matches(condition, next((value for name, value in query if name == condition.name), None))


def _value_matches(condition: HeaderMatch | QueryMatch, found: str | None) -> bool:
    if found is None or condition.value is None:
        return found is not None
    return re.fullmatch(condition.value, found) is not None if condition.regex else found == condition.value


def act(route: Route, asked: Asked) -> Verdict:
    """What a route does with a request that it matches."""
    match route.action:
        case DirectResponse():
            return Answered(
                route.action.status, route.action.body + (asked.authority if route.action.names_host else "")
            )
        case Redirect():
            return _move(route.action, asked)
        case Forward():
            backends = frozenset((one.backend, one.host_rewrite or asked.authority) for one in route.action.backends)
            path = _rewrite(route, route.action, asked.path)
            return Sent(backends, path + asked.target[len(asked.path) :])


def _move(redirect: Redirect, asked: Asked) -> Moved:
    target = asked.target
    if redirect.path is not None:
        target = redirect.path
        if asked.query and "?" not in redirect.path:
            target += "?" + asked.query_text
    return Moved(redirect.status, f"http://{redirect.host or asked.authority}{target}")


def _rewrite(route: Route, action: Forward, path: str) -> str:
    match action.path_rewrite:
        case None:
            return path
        case RegexRewrite(pattern, substitution):
            return re.sub(pattern, substitution, path)
        case PrefixRewrite(value):
            assert not isinstance(route.match.path, PathRegex)
            return value + path[len(route.match.path.value) :]


def domains(routes: RouteConfiguration) -> Iterator[str]:
    """Every domain of a configuration."""
    for host in routes.virtual_hosts:
        yield from host.domains
