"""Secrets: certificates and keys that a proxy is given. They are never printed."""

from __future__ import annotations

from dataclasses import dataclass, field

WORKLOAD_IDENTITY = "workload-identity"
"""The name of the certificate by which a proxy is known in the mesh."""
CALLERS = "callers"
"""The name of the authorities, and of the identities, that may call a workload by mutual TLS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsCertificate:
    """A certificate chain and its key, as PEM; followed under its name, without a new connection or listener."""

    name: str
    chain: str
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedAuthorities:
    """Certificates of authorities, as PEM; followed under its name, without a new connection or listener."""

    name: str
    certificates: str
    """Empty: nobody is believed."""
    identities: tuple[str, ...] | None = None
    """SPIFFE IDs, one of which the certificate must have; one that ends in ``/`` is the beginning of them. Empty: nobody
    is believed. None: whoever refers to it says which names count."""


Secret = TlsCertificate | TrustedAuthorities
