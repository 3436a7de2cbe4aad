"""A large mesh: 10,000 routes in 1,000 tables under a few policies, and the edits that are made of it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from bench.objects import AUDIENCE, ISSUERS, Raw, forward, make_object, make_table, provider

TABLES = 1000
ROUTES_PER_TABLE = 10
ROUTES = TABLES * ROUTES_PER_TABLE
ROOT_HOST = "root.example.com"
TIERS = ("bronze", "silver", "gold")
OPEN_TIER = "open"
"""The label of the last route of each table, which no JWT policy selects."""


class Layout(Enum):
    """How requests find the tables."""

    FLAT = "tables with hosts of their own"
    DELEGATED = "tables delegated from one root"


def large_objects(layout: Layout) -> Iterator[Raw]:
    """All tables and policies of the mesh."""
    yield from policies()
    if layout is Layout.DELEGATED:
        delegate = {"routeTables": [{"labels": {"bench": "large"}}]}
        spec = {
            "hosts": [ROOT_HOST],
            "workloadSelectors": [{}],
            "http": [{"name": "all", "matchers": [{"uri": {"prefix": "/"}}], "delegate": delegate}],
        }
        yield make_table("large-root", spec, {})
    for number in range(TABLES):
        yield large_table(number, layout)


def large_table(number: int, layout: Layout = Layout.FLAT, *, moved: int = 0) -> Raw:
    """A table of ten routes; where the last one is depends on how often it was moved."""
    bound = {"hosts": [host(number)], "workloadSelectors": [{}]} if layout is Layout.FLAT else {}
    routes = [_route(number, index) for index in range(ROUTES_PER_TABLE - 1)]
    last = {
        "name": "open",
        "labels": {"tier": OPEN_TIER},
        "matchers": [{"uri": {"prefix": open_path(number, moved)}}],
        "forwardTo": forward(),
    }
    return make_table(f"large-{number:04}", {**bound, "http": [*routes, last]}, {"bench": "large"})


def host(number: int) -> str:
    """The host of a table that has its own."""
    return f"table-{number:04}.example.com"


def open_path(number: int, moved: int = 0) -> str:
    """Where the last route of a table is."""
    return f"/{number:04}/open-{moved}/"


def policies(*, edited: int = 0) -> Iterator[Raw]:
    """Three JWT policies, the first edited so often, and one each of two other kinds."""
    for number, tier in enumerate(TIERS):
        audiences = [AUDIENCE, *([f"edit-{edited}"] if edited and not number else [])]
        config = {
            "phase": {"preAuthz": {}},
            "providers": {tier: provider(issuer=ISSUERS[0]) | {"audiences": audiences}},
        }
        yield _policy("security.policy.gloo.solo.io/v2", "JWTPolicy", tier, config)
    cors = {"allowOrigins": [{"exact": "https://shop.example"}], "allowMethods": ["GET", "POST"], "maxAge": "60s"}
    yield _policy("security.policy.gloo.solo.io/v2", "CORSPolicy", "gold", cors)
    yield _policy("resilience.policy.gloo.solo.io/v2", "RetryTimeoutPolicy", "silver", {"requestTimeout": "5s"})


def _policy(api_version: str, kind: str, tier: str, config: Raw) -> Raw:
    spec = {"applyToRoutes": [{"route": {"labels": {"tier": tier}}}], "config": config}
    return make_object(api_version, kind, f"large-{tier}", {"spec": spec})


def _route(number: int, index: int) -> Raw:
    """One of the shapes that users' routes have, in turns."""
    path = f"/{number:04}/{index}"
    forwarding = forward()
    match index % 4:
        case 0:
            matchers: list[Raw] = [{"uri": {"prefix": f"{path}/"}}]
        case 1:
            matchers = [{"uri": {"exact": path}, "method": method} for method in ("GET", "POST")]
        case 2:
            matchers = [{"uri": {"prefix": f"{path}/"}, "headers": [{"name": "x-version", "value": "2"}]}]
        case _:
            matchers = [{"uri": {"prefix": f"{path}/"}, "queryParameters": [{"name": "debug", "value": "1"}]}]
            forwarding = {**forwarding, "pathRewrite": "/"}
    return {
        "name": f"route-{index}",
        "labels": {"tier": TIERS[index % len(TIERS)]},
        "matchers": matchers,
        "forwardTo": forwarding,
    }
