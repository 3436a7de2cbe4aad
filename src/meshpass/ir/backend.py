"""Backend: a named set of addresses that requests can be sent to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Endpoint(NamedTuple):
    """One address that accepts connections."""

    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTls:
    """How a proxy speaks TLS to a backend."""

    sni: str = ""
    """The server name that is asked for; empty: none."""
    verify: bool = True
    """False: whoever answers is believed."""
    authorities: str = ""
    """Whom the server's certificate must be from: name of a ``TrustedAuthorities`` of the proxy, or"""
    authorities_file: str = ""
    """path of the PEM file with the authorities of the system that the proxy runs on."""
    subject_alt_names: tuple[str, ...] = ()
    """The server's certificate must have one of these names; empty: that of ``sni``."""
    certificate: str = ""
    """What the proxy shows of itself: name of a ``TlsCertificate`` of the proxy; empty: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A named set of endpoints, used in turn. Without endpoints its requests are answered 503.

    Only endpoints may change under a name: whatever else differs is told by another name, so that a proxy has both
    until its routes have moved.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    """IP addresses; host names if ``resolve``."""
    resolve: bool = False
    """True: the proxy looks the endpoints' host names up, again and again (DNS)."""
    http2: bool = False
    """True: spoken to in HTTP/2 (gRPC needs that), else in HTTP/1.1."""
    tls: UpstreamTls | None = None
