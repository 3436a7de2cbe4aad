"""PolicySet: everything on one side of a proxy that depends on policies, keyed by selection class or payload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from meshpass.ir.access import AccessRules
from meshpass.ir.claim import PayloadRules
from meshpass.ir.ref import ObjectRef


class Phase(StrEnum):
    """When a token is verified, relative to other authorization (AccessPolicy)."""

    PRE_AUTHZ = "pre"
    POST_AUTHZ = "post"


class Allow(StrEnum):
    """What passes without a valid token."""

    NOTHING = "nothing"
    MISSING = "missing"
    MISSING_OR_FAILED = "missing-or-failed"


@dataclass(frozen=True, slots=True)
class TokenHeader:
    """A header that may carry a token after ``prefix`` (case-sensitive, with its trailing space if it has one)."""

    name: str
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtProvider:
    """One accepted issuer of tokens. ``name`` ends in a hash of all the rest."""

    name: str
    issuer: str
    """Empty: the ``iss`` claim is not checked."""
    audiences: tuple[str, ...]
    """Empty: the ``aud`` claim is not checked."""
    jwks: str = field(repr=False)
    """A JSON Web Key Set (RFC 7517 §5). Empty: the keys could not be fetched yet, so no token verifies."""
    headers: tuple[TokenHeader, ...]
    query_parameters: tuple[str, ...]
    keep_token: bool
    clock_skew_seconds: int
    payload_header: str
    """Request header that gets the whole payload as base64url; empty: none."""
    payload_key: str
    """Where later filters find the verified payload: a hash of what they do with it, of nothing else, so that an edit of
    keys or issuer leaves those filters as they are."""
    lax_group: str = ""
    """Providers of one policy that lets failed tokens pass have the same; empty on all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtRequirement:
    """A token that any one of the providers accepts is required, or what ``allow`` lets pass."""

    providers: tuple[str, ...]
    allow: Allow = Allow.NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedToken:
    """Where a token that failed and may pass all the same was found; it is not sent on."""

    alternatives: tuple[str, ...]
    """Providers any of which may have accepted the token after all."""
    keeping: tuple[str, ...]
    """Those of the alternatives that leave what they accepted in the request."""
    headers: tuple[str, ...]
    query_parameters: tuple[str, ...]
    all_headers: tuple[str, ...]
    """Where any of the alternatives looks for tokens."""
    all_query_parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasePolicies:
    """The policies of one phase."""

    providers: tuple[JwtProvider, ...] = ()
    """Sorted by name; each name once."""
    requirements: Mapping[str, tuple[JwtRequirement, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Selection class → requirements, all of which must hold. A class that is not in it is refused by Envoy: nothing is
    open by omission."""
    payloads: Mapping[str, PayloadRules] = field(default_factory=lambda: MappingProxyType({}))
    """Payload key → what is done with a payload that was verified under it."""
    failed: Mapping[str, FailedToken] = field(default_factory=lambda: MappingProxyType({}))
    """Provider → what is removed when its token failed and the request passes."""
    stripped: frozenset[tuple[str, ...]] = frozenset()
    """Query parameters, as providers have them, that are taken out of the query once such a provider has accepted a token.
    Not by provider, so that an edit of keys or issuer leaves it as it is."""
    rerouted: frozenset[str] = frozenset()
    """Payload keys after which the route is chosen again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySet:
    """The policies of one side of a proxy."""

    pre: PhasePolicies = field(default_factory=PhasePolicies)
    post: PhasePolicies = field(default_factory=PhasePolicies)
    denied: frozenset[str] = frozenset()
    """Classes that every request is refused on with 403."""
    access: Mapping[str, AccessRules] = field(default_factory=lambda: MappingProxyType({}))
    """Selection class → who may call, between the phases; classes that all may call are not in it."""
    sources: frozenset[ObjectRef] = frozenset()
    """The policies that were used."""

    def of(self, phase: Phase) -> PhasePolicies:
        """The policies of one phase."""
        return self.pre if phase is Phase.PRE_AUTHZ else self.post
