"""RouteOptions: what is done with the requests of a route beside matching, tokens and sending."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OriginKind(StrEnum):
    """How an allowed origin compares."""

    EXACT = "exact"
    PREFIX = "prefix"
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class OriginMatch:
    """An origin that may read answers (Fetch standard, CORS)."""

    kind: OriginKind
    value: str
    """``*`` as an exact value is any origin."""
    ignore_case: bool = False
    """Means nothing to a regular expression."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Answers of this route may be read by pages of other origins."""

    allow_origins: tuple[OriginMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age_seconds: int | None = None
    allow_credentials: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """A request that fails is sent again."""

    attempts: int
    """How often it is sent again at most; 0: never, whatever else would be done."""
    per_try_timeout_milliseconds: int | None = None
    retry_on: str = ""
    """Envoy's conditions, joined by commas; with ``retriable-status-codes`` where ``status_codes`` count."""
    status_codes: tuple[int, ...] = ()
    """Statuses of answers that count as failures, beside the other conditions."""
    elsewhere: bool = False
    """True: it is sent to where it has not failed yet, if there is such a place; and what another proxy of the mesh answers
    because it does not reach its application is such a failure too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """Some requests wait before they are sent."""

    percent: float
    milliseconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort:
    """Some requests are answered with this status and not sent."""

    percent: float
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderValue:
    """A header that is written; ``append`` keeps what is there under the same name."""

    name: str
    value: str
    """Literally so: a percent sign is a percent sign."""
    append: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderChanges:
    """Headers that are removed, then written: of the request as it is sent on, of the answer as it is given."""

    add_to_request: tuple[HeaderValue, ...] = ()
    remove_from_request: tuple[str, ...] = ()
    add_to_response: tuple[HeaderValue, ...] = ()
    remove_from_response: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteOptions:
    """All of it for one selection class."""

    cors: Cors | None = None
    timeout_milliseconds: int | None = None
    """Until when the whole answer must be there; None: as long as it takes."""
    retries: Retries | None = None
    delay: Delay | None = None
    abort: Abort | None = None
    headers: HeaderChanges | None = None
