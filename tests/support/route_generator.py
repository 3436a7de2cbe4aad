"""Random route tables with everything that a route may have, and requests that are likely to meet them.

The vocabulary is small on purpose: conditions of different routes overlap, so that order and combination decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.support.objects import route_table
from tests.support.route_oracle import Asked

Manifest = dict[str, Any]

SERVICES = ("httpbin", "canary")
HOSTS = (
    "www.example.com",
    "api.example.com",
    "*.example.com",
    "*-v2.example.com",
    "Mixed.Example.org",
    "httpbin",
    "canary.httpbin.svc.cluster.local",
)
AUTHORITIES = (
    *("www.example.com", "WWW.Example.com:80", "api.example.com", "api.example.com:80", "other.example.com"),
    *("x-v2.example.com", "a.b.example.com", "mixed.example.org", "example.com", "www.example.com:8080"),
    *("httpbin:8000", "httpbin", "httpbin.httpbin.svc.cluster.local:8000", "canary.httpbin:8000", "guarded:8000"),
)
PATHS = ("/", "/a", "/A", "/a/b", "/A/b", "/ab", "/a/b/c", "/x", "/x/1", "/x/22", "/X/1")
TAILS = ("", "", "", "/", "/c", "b", "/1")
REGEXES = ("/a/[a-z]", "/x/[0-9]+", "/.*", "/a.*", "/(a|x)/.*", "(?i)/a.*")
HEADER_NAMES = ("x-a", "X-B")
VALUES = ("1", "2", "1,2")
VALUE_REGEXES = ("[0-9]", "1.*", "[0-9,]+")
METHODS = ("GET", "POST", "PUT")
REWRITES = (("/a", "/z"), ("^/([a-z])", r"/\1\1"), ("[0-9]+", "n"), ("/", "//"))


@dataclass(frozen=True, slots=True)
class Generated:
    """Some tables, in the order of their age, and requests."""

    tables: tuple[Manifest, ...]
    requests: tuple[Asked, ...]


def generate(seed: int, *, requests: int) -> Generated:
    """Tables and requests; the same for the same seed."""
    random = Random(seed)
    generator = _Generator(random)
    tables = generator.tables()
    return Generated(tables, tuple(generator.request(tables) for _ in range(requests)))


class _Generator:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.names = 0
        self.delegated: list[Manifest] = []

    def one_in(self, count: int) -> bool:
        return self.random.randrange(count) == 0

    def some(self, values: Iterable[Any], most: int) -> list[Any]:
        known = list(values)
        return self.random.sample(known, self.random.randint(0, min(most, len(known))))

    def new_name(self, what: str) -> str:
        self.names += 1
        return f"{what}{self.names}"

    def tables(self) -> tuple[Manifest, ...]:
        roots = [self.root() for _ in range(self.random.randint(1, 4))]
        everything = [*roots, *self.delegated]
        self.random.shuffle(everything)
        for number, one in enumerate(everything):
            one["metadata"]["creationTimestamp"] = f"2024-01-01T00:{number:02}:00Z"
        return tuple(everything)

    def root(self) -> Manifest:
        hosts = self.random.sample(HOSTS, self.random.choice((1, 1, 1, 2)))
        routes = [self.route(depth=0) for _ in range(self.random.randint(1, 6))]
        return route_table(self.new_name("t"), hosts=hosts, http=routes, labels={"table": "root"})

    def route(self, depth: int) -> Manifest:
        route: Manifest = {"name": self.new_name("r")}
        if self.one_in(3):
            route["labels"] = {self.random.choice(("la", "lb")): self.random.choice(("1", "2"))}
        matchers = [self.matcher(short=depth > 0) for _ in range(self.random.choice((0, 1, 1, 1, 2, 3)))]
        if matchers:
            route["matchers"] = matchers
        if depth < 3 and self.one_in(5):
            return {**route, "delegate": self.delegate(depth)}
        return {**route, **self.action(matchers)}

    def delegate(self, depth: int) -> Manifest:
        label = self.new_name("d")
        children = []
        for _ in range(self.random.choice((1, 1, 2))):
            routes = [self.route(depth + 1) for _ in range(self.random.randint(1, 3))]
            child = route_table(self.new_name("t"), http=routes, labels={"part": label})
            if self.one_in(2):
                child["spec"]["weight"] = self.random.randint(-2, 3)
            children.append(child)
        self.delegated += children
        by_label = [{"labels": {"part": label}}]
        by_name = [{"name": child["metadata"]["name"], "namespace": "httpbin"} for child in children]
        found: Manifest = {"routeTables": self.random.choice((by_label, by_name))}
        if self.one_in(2):
            found["sortMethod"] = "ROUTE_SPECIFICITY"
        return found

    def matcher(self, *, short: bool) -> Manifest:
        found: Manifest = {}
        if not self.one_in(4):
            found["uri"] = self.uri()
        if self.one_in(4):
            found["headers"] = [self.header(name) for name in self.some(HEADER_NAMES, 2)]
        if self.one_in(5):
            found["queryParameters"] = [self.condition(name) for name in self.some(("q", "r"), 2)]
        if self.one_in(6 if short else 4):
            found["method"] = self.random.choice(METHODS)
        if self.one_in(12):
            found["port"] = self.random.choice((80, 8000))
        return found

    def uri(self) -> Manifest:
        kind = self.random.choice(("exact", "prefix", "prefix", "regex"))
        if kind == "regex":
            return {"regex": self.random.choice(REGEXES)}
        found: Manifest = {kind: self.random.choice(PATHS)}
        if self.one_in(3):
            found["ignoreCase"] = True
        return found

    def condition(self, name: str) -> Manifest:
        kind = self.random.choice(("present", "value", "regex"))
        if kind == "present":
            return {"name": name}
        if kind == "value":
            return {"name": name, "value": self.random.choice(VALUES)}
        return {"name": name, "value": self.random.choice(VALUE_REGEXES), "regex": True}

    def header(self, name: str) -> Manifest:
        found = self.condition(name)
        if self.one_in(3):
            found["invertMatch"] = True
        return found

    def action(self, matchers: list[Manifest]) -> Manifest:
        kind = self.random.choice(("forward", "forward", "answer", "answer", "redirect", "broken"))
        match kind:
            case "answer":
                answer = {"status": self.random.choice((200, 201, 403, 503)), "body": self.new_name("body")}
                return {"directResponse": answer}
            case "redirect":
                return {"redirect": self.redirect()}
            case "broken" if self.one_in(2):
                return {"forwardTo": {"destinations": [{"ref": {"name": "nobody"}, "port": {"number": 1}}]}}
            case _:
                return {"forwardTo": self.forward(matchers)}

    def redirect(self) -> Manifest:
        found: Manifest = {}
        code = self.random.choice(("", "FOUND", "SEE_OTHER", "TEMPORARY_REDIRECT", "PERMANENT_REDIRECT"))
        if code:
            found["responseCode"] = code
        if self.one_in(2):
            found["pathRedirect"] = self.random.choice(("/moved", "/moved?by=us"))
        if self.one_in(2) or "pathRedirect" not in found:
            found["hostRedirect"] = self.random.choice(("new.example.com", "new.example.com:8443"))
        return found

    def forward(self, matchers: list[Manifest]) -> Manifest:
        services = self.random.sample(SERVICES, self.random.choice((1, 1, 2)))
        found: Manifest = {"destinations": [{"ref": {"name": one}, "port": {"number": 8000}} for one in services]}
        if len(services) == 2 and self.one_in(2):
            weight = self.random.choice((0, 1, 50, 100))
            for destination, share in zip(found["destinations"], (weight, 100 - weight), strict=True):
                destination["weight"] = share
        rewrite = self.random.choice(("none", "path", "regex"))
        if rewrite == "path" and not any("regex" in one.get("uri", {}) for one in matchers):
            found["pathRewrite"] = self.random.choice(("/w", "/w/", "/"))
        elif rewrite == "regex":
            pattern, substitution = self.random.choice(REWRITES)
            found["regexRewrite"] = {"pattern": {"regex": pattern}, "substitution": substitution}
        host = self.random.choice(("none", "none", "fixed", "auto"))
        if host == "fixed":
            found["hostRewrite"] = self.random.choice(("inner.example.com", "inner.example.com:81"))
        elif host == "auto":
            found["autoHostRewrite"] = True
        return found

    def request(self, tables: tuple[Manifest, ...]) -> Asked:
        """A request that meets all conditions of some matcher half of the time, as far as that is simple."""
        authority, path, method = self.random.choice(AUTHORITIES), self.path(), self.random.choice(METHODS)
        headers = [(name, self.random.choice(VALUES)) for name in self.some(("x-a", "x-b", "x-a"), 2)]
        query = [(name, self.random.choice((*VALUES, ""))) for name in self.some(("q", "r", "q"), 2)]
        hosts = [host for table in tables for host in table["spec"].get("hosts", ())]
        if self.one_in(5) is False:
            authority = self.authority(self.random.choice(hosts))
        matchers = [one for table in tables for route in table["spec"]["http"] for one in route.get("matchers", ())]
        if matchers and self.one_in(2):
            wanted = self.random.choice(matchers)
            method = wanted.get("method", method)
            uri = wanted.get("uri", {})
            path = (uri.get("exact") or uri.get("prefix") or path) + ("" if "exact" in uri else self.tail())
            headers += [
                (one["name"], one["value"])
                for one in wanted.get("headers", ())
                if one.get("value") and not one.get("regex")
            ]
            query += [
                (one["name"], one["value"])
                for one in wanted.get("queryParameters", ())
                if one.get("value") and not one.get("regex")
            ]
        return Asked(
            authority=authority,
            path=path.replace("//", "/"),
            method=method,
            headers=tuple(headers),
            query=tuple(query),
        )

    def authority(self, host: str) -> str:
        if "." not in host or host.endswith(".local"):
            return f"{host}:8000"
        name = host.replace("*", self.random.choice(("n", "n.m", "x-v2")))
        return self.random.choice((name, name, name.upper(), f"{name}:80"))

    def path(self) -> str:
        return (self.random.choice(PATHS) + self.tail()).replace("//", "/")

    def tail(self) -> str:
        return self.random.choice(TAILS)
