"""What is done with the payload of a verified token: conditions on claims, and claims to headers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimHeader:
    """A top-level claim that is written to a request header. An absent claim writes nothing."""

    claim: str
    header: str
    append: bool
    """True keeps what the client sent in the same header, before the claim."""
    delimiter: str = ","
    """What joins the two on append; a comma is the same as a second header line (RFC 9110 §5.3)."""


class PatternKind(StrEnum):
    """How a pattern compares."""

    ANY = "any"
    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"


@dataclass(frozen=True, slots=True)
class ClaimPattern:
    """A value that a claim may have; a list matches if any of its elements does."""

    kind: PatternKind
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRule:
    """A condition on one claim: any of ``values`` (if there are any), none of ``not_values``."""

    path: tuple[str, ...]
    values: tuple[ClaimPattern, ...] = ()
    not_values: tuple[ClaimPattern, ...] = ()
    words: bool = False
    """True for a claim that is a list of words in one text, as ``scope`` is (RFC 8693 §4.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadRules:
    """All that is done with one verified payload."""

    claim_headers: tuple[ClaimHeader, ...] = ()
    payload_header: str = ""
    """Request header that gets the whole payload as base64url; empty: none."""
    rules: tuple[ClaimRule, ...] = ()
    """All must hold; a payload that breaks one is refused with 403."""
    clear_route_cache: bool = False
    """True: the route is chosen again with the request as it is then."""
