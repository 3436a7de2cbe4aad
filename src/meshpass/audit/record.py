"""DecisionRecord: what one proxy decided about one request."""

from __future__ import annotations

from enum import Enum

import msgspec

from meshpass.envoy.filters import Side


class Verdict(Enum):
    """What became of a request, as far as policies go."""

    ALLOWED = "allowed"
    """A policy holds on the route and let the request pass, whatever the application answered then."""
    DENIED = "denied"
    """The JWT filter or the authorization filter refused it."""
    OPEN = "open"
    """No policy holds, or no route was found: nothing was asked."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A token that a provider did not accept."""

    provider: str
    reason: str


UNKNOWN_KEY_REASONS = frozenset({"Jwks doesn't have key to match kid or alg from Jwt", "Jwt verification fails"})
"""What Envoy says of a token that a newer key set of the issuer may verify."""


# A Struct, not a dataclass: one is made for every request of the mesh, and it is what goes over the wire.
class DecisionRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """One request. No part of a token is in any field; every field is bounded in length."""

    time: float
    """When the request came, in seconds since 1970."""
    duration: float
    """Seconds until the answer was sent."""
    proxy: str
    """Node id: ``sidecar~<cluster>~<namespace>~<pod>``."""
    side: Side
    method: str
    host: str
    path: str
    """Without the query."""
    route: str
    selection_class: str
    policy: str
    """The policy that holds on the route; empty where there is none."""
    provider: str
    """The provider that verified the token, or the only one that refused it; empty if there was no token."""
    kid: str
    """The key's id in the verified token's header."""
    subject_hash: str
    """Issuer and subject of the verified token, hashed (`SubjectHasher`)."""
    verdict: Verdict
    status: int
    """HTTP status of the answer; 0 if there was none."""
    reason: str
    """Why it was denied, in Envoy's words. With a request that was let pass without a verified token: why."""
    failures: tuple[Failure, ...] = ()
    """Each provider that refused a token."""
    trial: str = ""
    """What entries of AccessPolicies with ``dryRun`` would have done: ``allowed`` or ``denied``; empty where there are none."""

    @property
    def unknown_key_providers(self) -> tuple[str, ...]:
        """Providers whose key sets may be out of date: they know no key that verifies the token."""
        return tuple(one.provider for one in self.failures if one.reason in UNKNOWN_KEY_REASONS)

    @property
    def size(self) -> int:
        """About how many bytes of memory the record takes."""
        names = len(self.proxy) + len(self.route) + len(self.policy) + len(self.provider) + len(self.kid)
        request = len(self.method) + len(self.host) + len(self.path) + len(self.reason)
        return _OVERHEAD + names + request + _FAILURE_OVERHEAD * len(self.failures)


_OVERHEAD = 1100
"""The object, its numbers, and its texts' own overhead."""
_FAILURE_OVERHEAD = 300
