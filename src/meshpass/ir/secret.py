"""Secrets: certificates and keys that a proxy is given. They are never printed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsCertificate:
    """A certificate chain and its key, as PEM; followed under its name, without a new connection or listener."""

    name: str
    chain: str
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedAuthorities:
    """Certificates of authorities, as PEM."""

    name: str
    certificates: str


Secret = TlsCertificate | TrustedAuthorities
