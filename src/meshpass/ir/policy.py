"""PolicySet: everything about the routes of a proxy that depends on policies, keyed by selection class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from meshpass.ir.ref import ObjectRef


@dataclass(frozen=True, slots=True)
class TokenHeader:
    """A header that may carry a token after ``prefix`` (case-sensitive, with its trailing space if it has one)."""

    name: str
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimHeader:
    """A top-level claim of a verified token, written to a request header. An absent claim writes nothing."""

    claim: str
    header: str
    append: bool
    """True keeps what the client sent in the same header, before the claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtProvider:
    """One accepted issuer of tokens. ``name`` ends in a hash of all the rest."""

    name: str
    issuer: str
    """Empty: the ``iss`` claim is not checked."""
    audiences: tuple[str, ...]
    """Empty: the ``aud`` claim is not checked."""
    jwks: str
    """A JSON Web Key Set (RFC 7517 §5) with public keys only."""
    headers: tuple[TokenHeader, ...]
    query_parameters: tuple[str, ...]
    keep_token: bool
    clock_skew_seconds: int
    claim_headers: tuple[ClaimHeader, ...]
    payload_key: str
    """Where the verified payload is found by later filters: a hash of ``claim_headers``, empty if there are none.

    It does not depend on keys or issuer, so that editing those leaves the later filters as they are.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtRequirement:
    """A token that any one of the providers accepts is required; without providers, nothing is required."""

    providers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySet:
    """The policies of one proxy. A class that is not here is refused by Envoy: nothing is open by omission."""

    providers: tuple[JwtProvider, ...] = ()
    """Sorted by name; each name once."""
    requirements: Mapping[str, JwtRequirement] = field(default_factory=lambda: MappingProxyType({}))
    """Selection class → requirement."""
    claim_headers: Mapping[str, tuple[ClaimHeader, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Payload key → what is written to headers from a payload under that key."""
    denied: frozenset[str] = frozenset()
    """Classes whose policy cannot be built: every request is answered 403."""
    sources: frozenset[ObjectRef] = frozenset()
    """The policies that were used."""
