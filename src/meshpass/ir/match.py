"""RouteMatch: the conditions that a request meets to take a route. All parts are ANDed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PathPrefix:
    """The path starts with ``value``."""

    value: str
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class PathExact:
    """The path, without its query, is ``value``."""

    value: str
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class PathRegex:
    """The whole path, without its query, matches the RE2 expression ``value``."""

    value: str


PathMatch = PathPrefix | PathExact | PathRegex


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
    """What a request must be like; without conditions, any request."""

    path: PathMatch = PathPrefix("/")
    headers: tuple[HeaderMatch, ...] = ()
    query_parameters: tuple[QueryMatch, ...] = ()
    method: str | None = None
