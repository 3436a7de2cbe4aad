"""The objects that the benchmarks store: routes, and policies on them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from meshpass.cli.jose import Algorithm, PrivateKey, generate_key, public_pem, sign_token

NAMESPACE = "httpbin"
HOST = "bench.example.com"
UPSTREAM = "upstream"
UPSTREAM_PORT = 9000
ROUTES_PER_TABLE = 100
POLICY = "bench"
ISSUERS = ("https://a.example.com", "https://b.example.com")
AUDIENCE = "bench"
OPEN_PATH = "/open"

Raw = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteShape:
    """How many protected routes there are, and whether policies can tell one from the other."""

    routes: int
    own_labels: bool = False
    """True: every route has a label of its own, so each is a selection class of its own."""

    @property
    def classes(self) -> int:
        return self.routes if self.own_labels else 1

    @property
    def last_path(self) -> str:
        """The path of the last route: the one for which Envoy looks longest."""
        return f"/route/{self.routes - 1}/"


def upstream_objects(port: int) -> Iterator[Raw]:
    """A Service whose only endpoint is the upstream at 127.0.0.1:``port``, without a sidecar in between."""
    ports = [{"name": "http", "port": UPSTREAM_PORT, "protocol": "TCP"}]
    yield make_object("v1", "Service", UPSTREAM, {"spec": {"ports": ports}})
    yield make_object(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        UPSTREAM,
        {
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        },
        {"kubernetes.io/service-name": UPSTREAM},
    )


def route_tables(shape: RouteShape) -> Iterator[Raw]:
    """Tables of 100 protected routes each, and one with the open route."""
    for first in range(0, shape.routes, ROUTES_PER_TABLE):
        numbers = range(first, min(first + ROUTES_PER_TABLE, shape.routes))
        yield _table(f"bench-{first:05}", [_protected_route(number, shape) for number in numbers])
    yield _table("bench-open", [_route("open", OPEN_PATH, {"guard": "none"})])


def _protected_route(number: int, shape: RouteShape) -> Raw:
    own = {"route": str(number)} if shape.own_labels else {}
    return _route(f"route-{number}", f"/route/{number}/", {"guard": "token", **own})


def _route(name: str, prefix: str, labels: dict[str, str]) -> Raw:
    return {"name": name, "labels": labels, "matchers": [{"uri": {"prefix": prefix}}], "forwardTo": forward()}


def forward() -> Raw:
    """The action of a route: to the upstream."""
    destination = {"ref": {"name": UPSTREAM, "namespace": NAMESPACE}, "port": {"number": UPSTREAM_PORT}}
    return {"destinations": [destination]}


def _table(name: str, routes: list[Raw]) -> Raw:
    spec = {"hosts": [HOST], "workloadSelectors": [{}], "http": routes}
    return make_table(name, spec, {"bench": "routes"})


def make_table(name: str, spec: Raw, labels: dict[str, str]) -> Raw:
    """A RouteTable in the benchmark's namespace."""
    return make_object("networking.gloo.solo.io/v2", "RouteTable", name, {"spec": spec}, labels)


def policy(providers: Raw) -> Raw:
    """The one policy, on every protected route."""
    spec = {
        "applyToRoutes": [{"route": {"labels": {"guard": "token"}}}],
        "config": {"phase": {"preAuthz": {}}, "providers": providers},
    }
    return make_object("security.policy.gloo.solo.io/v2", "JWTPolicy", POLICY, {"spec": spec})


def issuer_policy(issuer: str) -> Raw:
    """A policy that takes the tokens of one issuer."""
    return policy({"bench": provider(issuer=issuer)})


def equivalent_policies() -> tuple[Raw, ...]:
    """Policies that differ in what they are made of and not in what they let through: the token of issuer A."""
    both = public_pem(signing_key()), public_pem(other_key())
    return (
        policy({"bench": provider()}),
        policy({"bench": provider() | {"audiences": [AUDIENCE]}}),
        policy({"bench": provider() | {"claimsToHeaders": [{"claim": "iss", "header": "x-issuer"}]}}),
        policy({"bench": provider() | {"local": {"inline": "".join(both)}}}),
        policy({"bench": provider() | {"local": {"inline": "".join(reversed(both))}, "keepToken": True}}),
        policy({"renamed": provider() | {"claimsToHeaders": [{"claim": "iss", "header": "x-other", "append": True}]}}),
        policy({"bench": provider(), "another": provider(issuer=ISSUERS[1])}),
    )


def provider(*, issuer: str = ISSUERS[0]) -> Raw:
    return {"issuer": issuer, "local": {"inline": public_pem(signing_key())}}


def token() -> str:
    """A token of issuer A that every equivalent policy takes."""
    now = int(time.time())
    claims = {"iss": ISSUERS[0], "aud": AUDIENCE, "sub": "bench", "iat": now, "exp": now + 3600}
    return sign_token(signing_key(), claims)


@lru_cache(maxsize=1)
def signing_key() -> PrivateKey:
    return generate_key(Algorithm.RS256)


@lru_cache(maxsize=1)
def other_key() -> PrivateKey:
    return generate_key(Algorithm.RS256)


def make_object(api_version: str, kind: str, name: str, rest: Raw, labels: dict[str, str] | None = None) -> Raw:
    """An object in the benchmark's namespace; ``rest`` is all but its metadata."""
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels or {}}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}
