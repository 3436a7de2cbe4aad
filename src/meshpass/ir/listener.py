"""Listeners: where a proxy accepts connections."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from meshpass.ir.access import AccessRules
from meshpass.ir.route import WeightedBackend


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundListener:
    """Where a workload sends its own requests: an HTTP forward proxy (RFC 9112 §3.2.2, absolute-form)."""

    name: str
    address: str
    port: int
    route_configuration: str


class MutualTlsMode(StrEnum):
    """Whether callers show who they are."""

    DISABLE = "disable"
    """They cannot: plain text only."""
    PERMISSIVE = "permissive"
    """They may."""
    STRICT = "strict"
    """They must."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundListener:
    """Where others reach a workload; every request goes to one backend, the application."""

    name: str
    address: str
    port: int
    backend: str
    selection_class: str
    """Names the port of this pod: the policies of all destinations that lead here hold on it."""
    tcp: bool = False
    """True: what comes is no HTTP, and is passed on as it is."""
    mutual_tls: MutualTlsMode = MutualTlsMode.DISABLE
    callers: str = ""
    """Who may connect by mutual TLS: name of a ``TrustedAuthorities`` of the proxy; empty: ``CALLERS``."""
    access: AccessRules | None = None
    """Where ``tcp``: who may connect; None: everybody. Of what is HTTP the policies of its class say so."""


class TlsVersion(StrEnum):
    """A version of TLS."""

    TLS_1_0 = "1.0"
    TLS_1_1 = "1.1"
    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class DownstreamTls:
    """TLS that a proxy ends."""

    certificate: str
    """What it shows of itself: name of a ``TlsCertificate`` of the proxy."""
    authorities: str = ""
    """Clients must show a certificate from these: name of a ``TrustedAuthorities`` of the proxy; empty: none is asked for."""
    subject_alt_names: tuple[str, ...] = ()
    """A client's certificate must have one of these names; empty: any."""
    minimum_version: TlsVersion = TlsVersion.TLS_1_2
    maximum_version: TlsVersion = TlsVersion.TLS_1_3
    cipher_suites: tuple[str, ...] = ()
    """Up to TLS 1.2; empty: the proxy's default ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpChain:
    """Connections that speak HTTP, in plain text or inside of TLS."""

    name: str
    route_configuration: str
    server_names: tuple[str, ...] = ()
    """Only connections that ask for one of these names (SNI, RFC 6066 §3); ``*.`` may begin one. Empty: any."""
    tls: DownstreamTls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpChain:
    """Connections that are passed on as they are: plain TCP, or TLS that the destination ends."""

    name: str
    backends: tuple[WeightedBackend, ...]
    """Empty: connections are closed, and come to no other chain."""
    server_names: tuple[str, ...] = ()
    """As in ``HttpChain``; the TLS is looked into for its server name only."""
    only_tls: bool = False
    """True: only connections that speak TLS, also where no server name is asked for."""
    tls: DownstreamTls | None = None
    """TLS that the proxy ends before passing on what is inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayListener:
    """A port of a gateway. A connection that no chain is for is closed."""

    name: str
    address: str
    port: int
    chains: tuple[HttpChain | TcpChain, ...]
    """No two are for the same server name."""


Listener = OutboundListener | InboundListener | GatewayListener
