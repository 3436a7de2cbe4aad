"""What RouteTables mean for a request, read from the objects themselves: no translation, no IR.

It knows what ``route_generator`` generates: tables of one namespace and workspace, for every sidecar of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from tests.support.route_generator import PATHS, TAILS
from tests.support.route_oracle import NOT_FOUND, Answered, Asked, Moved, Sent, Verdict

Manifest = Mapping[str, Any]

REPLACED = "this route is misconfigured; its RouteTable's status says how"
DOMAIN = "svc.cluster.local"
STATUSES = {"": 301, "FOUND": 302, "SEE_OTHER": 303, "TEMPORARY_REDIRECT": 307, "PERMANENT_REDIRECT": 308}
ALL_PATHS = sorted({(path + tail).replace("//", "/") for path, tail in product((*PATHS, "/x/2", "/X/22"), TAILS)})
"""Enough of them to tell whether two exact paths or prefixes of the generator can be met by one path."""


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A route that does not delegate, or one that cannot be built, with the matchers of all routes above it."""

    chain: tuple[Sequence[Manifest], ...]
    route: Manifest
    broken: bool = False


class Model:
    """Some RouteTables and the Services ``services``, each with port 8000, in namespace httpbin of cluster1."""

    def __init__(self, tables: Sequence[Manifest], *, services: Sequence[str]) -> None:
        self._tables = sorted(tables, key=lambda table: str(table["metadata"]["creationTimestamp"]))
        self._services = services

    def judge(self, asked: Asked) -> Verdict:
        """What happens to a request of a sidecar in namespace httpbin."""
        name, _, port = asked.authority.lower().partition(":")
        number = int(port or 80)
        service = self._service(name)
        if service is not None and number != 8000:
            service = None
        tables = self._tables_of(name, number, service)
        if service is None and tables is None:
            return Answered(502, f"no route in the mesh for {asked.authority}")
        if tables is None:
            return Sent(frozenset({(_backend(str(service)), asked.authority)}), asked.target)
        for table in tables:
            for leaf in self._leaves(table, ()):
                if all(_any_matches(matchers, asked, number) for matchers in leaf.chain):
                    return _act(leaf, asked, number)
        return NOT_FOUND

    def _service(self, name: str) -> str | None:
        for one in self._services:
            if name in {one, f"{one}.httpbin", f"{one}.httpbin.svc", f"{one}.httpbin.{DOMAIN}"}:
                return one
        return None

    def _tables_of(self, name: str, port: int, service: str | None) -> list[Manifest] | None:
        """The tables that a request goes by; None if there are none for its host."""
        hosts: dict[str, list[Manifest]] = {
            host.lower(): [] for table in self._tables for host in table["spec"].get("hosts", ())
        }
        for table in self._tables:
            for host in dict.fromkeys(host.lower() for host in table["spec"].get("hosts", ())):
                hosts[host].append(table)
        if service is not None:
            found = [table for host, tables in hosts.items() if self._service(host) == service for table in tables]
            return [table for table in self._tables if table in found] or None
        if port != 80:
            return None
        if name in hosts and self._service(name) is None:
            return hosts[name]
        ends = [host for host in hosts if host.startswith("*") and len(name) >= len(host) and name.endswith(host[1:])]
        return hosts[max(ends, key=len)] if ends else None

    def _leaves(self, table: Manifest, above: tuple[Sequence[Manifest], ...]) -> list[_Leaf]:
        found: list[_Leaf] = []
        for route in table["spec"]["http"]:
            chain = (*above, route.get("matchers") or ({},))
            if "delegate" not in route:
                found.append(_Leaf(chain, route, _is_broken(chain, route)))
                continue
            below = [leaf for child in self._children(route["delegate"]) for leaf in self._leaves(child, chain)]
            if any(not _possible(leaf.chain) for leaf in below) or not _possible(chain):
                found.append(_Leaf(chain, route, broken=True))
                continue
            if route["delegate"].get("sortMethod") == "ROUTE_SPECIFICITY":
                below.sort(key=lambda leaf: min(_specificity(one) for one in _combinations(leaf.chain)))
            found += below
        return found

    def _children(self, delegate: Manifest) -> list[Manifest]:
        found: list[tuple[int, int, Manifest]] = []
        for place, selector in enumerate(delegate["routeTables"]):
            for table in self._tables:
                metadata = table["metadata"]
                if "name" in selector:
                    chosen = metadata["name"] == selector["name"]
                else:
                    chosen = metadata["labels"].get("part") == selector["labels"]["part"]
                if chosen:
                    found.append((-table["spec"].get("weight", 0), place, table))
        return [table for _, _, table in sorted(found, key=lambda one: one[:2])]


def _backend(service: str) -> str:
    return f"cluster1/httpbin/{service}:8000"


# Matching


def _any_matches(matchers: Sequence[Manifest], asked: Asked, port: int) -> bool:
    return any(_matches(matcher, asked, port) for matcher in matchers)


def _matches(matcher: Manifest, asked: Asked, port: int) -> bool:
    return (
        matcher.get("port", port) == port
        and matcher.get("method", asked.method) == asked.method
        and _path_matches(matcher.get("uri", {}), asked.path)
        and all(_header(one, asked) for one in matcher.get("headers", ()))
        and all(_parameter(one, asked) for one in matcher.get("queryParameters", ()))
    )


def _path_matches(uri: Manifest, path: str) -> bool:
    if "regex" in uri:
        return re.fullmatch(str(uri["regex"]), path) is not None
    wanted = str(uri.get("exact", uri.get("prefix", "/")))
    if uri.get("ignoreCase"):
        wanted, path = wanted.lower(), path.lower()
    return path == wanted if "exact" in uri else path.startswith(wanted)


def _header(condition: Manifest, asked: Asked) -> bool:
    values = [value for name, value in asked.headers if name.lower() == condition["name"].lower()]
    return any(_value(condition, value) for value in values) != bool(condition.get("invertMatch"))


def _parameter(condition: Manifest, asked: Asked) -> bool:
    values = [value for name, value in asked.query if name == condition["name"]]
    return bool(values) and _value(condition, values[0])


def _value(condition: Manifest, value: str) -> bool:
    wanted = str(condition.get("value", ""))
    if not wanted:
        return True
    return re.fullmatch(wanted, value) is not None if condition.get("regex") else value == wanted


# Combining


def _combinations(chain: Sequence[Sequence[Manifest]]) -> Iterator[tuple[Manifest, ...]]:
    """One matcher of each route, in every way in which they can be met together."""
    return (one for one in product(*chain) if _compatible(one))


def _possible(chain: Sequence[Sequence[Manifest]]) -> bool:
    return next(_combinations(chain), None) is not None


def _compatible(matchers: Sequence[Manifest]) -> bool:
    if len({one["port"] for one in matchers if "port" in one}) > 1:
        return False
    if len({one["method"] for one in matchers if "method" in one}) > 1:
        return False
    uris = [one["uri"] for one in matchers if "uri" in one]
    exact = [uri["exact"] for uri in uris if "exact" in uri and not uri.get("ignoreCase")]
    if exact:
        return all(_path_matches(uri, exact[0]) for uri in uris)
    # Nobody can tell whether two expressions meet, so they count as if they did.
    texts = [uri for uri in uris if "regex" not in uri]
    return any(all(_path_matches(uri, path) for uri in texts) for path in ALL_PATHS)


def _specificity(matchers: Sequence[Manifest]) -> tuple[int, int]:
    """Of a combination, what is decided by the most specific of its paths."""
    return min(_uri_specificity(one.get("uri", {})) for one in matchers)


def _uri_specificity(uri: Manifest) -> tuple[int, int]:
    if "exact" in uri:
        return 0, -len(uri["exact"])
    return (1, 0) if "regex" in uri else (2, -len(uri.get("prefix", "/")))


# Acting


def _is_broken(chain: Sequence[Sequence[Manifest]], route: Manifest) -> bool:
    forward = route.get("forwardTo")
    if forward is None:
        return False
    if any(one["ref"]["name"] == "nobody" for one in forward["destinations"]):
        return True
    # There is no prefix to replace in what an expression decides: that is, where no exact path decides it.
    return "pathRewrite" in forward and any(_specificity(one)[0] == 1 for one in product(*chain) if _compatible(one))


def _act(leaf: _Leaf, asked: Asked, port: int) -> Verdict:
    route = leaf.route
    if leaf.broken:
        return Answered(500, REPLACED)
    if "directResponse" in route:
        return Answered(route["directResponse"]["status"], route["directResponse"]["body"])
    if "redirect" in route:
        return _redirect(route["redirect"], asked)
    forward = route["forwardTo"]
    names = [one["ref"]["name"] for one in forward["destinations"] if one.get("weight", 1)]
    backends = frozenset((_backend(name), _host(forward, name, asked)) for name in names)
    tail = asked.target[len(asked.path) :]
    if "pathRewrite" in forward:
        return Sent(backends, _rewrite_prefix(leaf, forward["pathRewrite"], asked, port) + tail)
    if "regexRewrite" in forward:
        rewrite = forward["regexRewrite"]
        return Sent(backends, re.sub(rewrite["pattern"]["regex"], rewrite["substitution"], asked.path) + tail)
    return Sent(backends, asked.target)


def _host(forward: Manifest, service: str, asked: Asked) -> str:
    if forward.get("autoHostRewrite"):
        return f"{service}.httpbin.{DOMAIN}"
    return str(forward.get("hostRewrite", asked.authority))


def _redirect(redirect: Manifest, asked: Asked) -> Moved:
    host = redirect.get("hostRedirect", asked.authority)
    target = asked.target
    if "pathRedirect" in redirect:
        query = f"?{asked.query_text}" if asked.query and "?" not in redirect["pathRedirect"] else ""
        target = redirect["pathRedirect"] + query
    return Moved(STATUSES[redirect.get("responseCode", "")], f"http://{host}{target}")


def _rewrite_prefix(leaf: _Leaf, value: str, asked: Asked, port: int) -> str:
    """The matched part, of the first combination that matches, is the longest that its matchers ask for."""
    for combination in product(*leaf.chain):
        if _compatible(combination) and all(_matches(one, asked, port) for one in combination):
            uris = [one.get("uri", {}) for one in combination]
            if any("exact" in uri for uri in uris):
                return value
            return value + asked.path[max(len(uri.get("prefix", "/")) for uri in uris) :]
    raise AssertionError("no combination matches")
