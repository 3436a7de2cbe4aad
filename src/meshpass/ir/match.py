"""RouteMatch: the conditions that a request meets to take a route. All parts are ANDed."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


class PathPrefix(msgspec.Struct, frozen=True, tag=True):
    """The path starts with ``value``."""

    value: str
    ignore_case: bool = False


class PathExact(msgspec.Struct, frozen=True, tag=True):
    """The path, without its query, is ``value``."""

    value: str
    ignore_case: bool = False


class PathRegex(msgspec.Struct, frozen=True, tag=True):
    """The whole path, without its query, matches the RE2 expression ``value``."""

    value: str


PathMatch = PathPrefix | PathExact | PathRegex
ANY_PATH = PathPrefix("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderMatch:
    """A header is present (``value`` is None), equals ``value``, or matches it as an RE2 expression."""

    name: str
    value: str | None = None
    regex: bool = False
    invert: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryMatch:
    """A query parameter is present (``value`` is None), equals ``value``, or matches it as an RE2 expression."""

    name: str
    value: str | None = None
    regex: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteMatch:
    """What a request must be like; without conditions, any request but CONNECT."""

    path: PathMatch = ANY_PATH
    also: tuple[PathMatch, ...] = ()
    """Further conditions on the same path, where a table and the one that it delegates to both have one that says
    something of its own: a prefix or an expression beside ``path``; never an exact path."""
    headers: tuple[HeaderMatch, ...] = ()
    query_parameters: tuple[QueryMatch, ...] = ()
    method: str | None = None
    connect: bool = False
    """True: CONNECT requests to the host (RFC 9110 §9.3.6), and no others; there are no other conditions then."""
