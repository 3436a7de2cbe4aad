"""Backend: a named set of addresses that requests can be sent to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Endpoint(NamedTuple):
    """One address that accepts connections."""

    address: str
    port: int
    mutual_tls: bool = False
    """True: a proxy of the mesh ends the TLS that ``Backend.peer`` says; False: it gets plain text."""
    priority: int = 0
    """Requests go to healthy endpoints of the lowest number that has any."""


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
class PeerTls:
    """Mutual TLS between proxies of the mesh, each showing the identity of its workload."""

    sni: str
    """Names the destination, for gateways between clusters."""
    peers: str
    """Who may answer: name of a ``TrustedAuthorities`` of the proxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierDetection:
    """An endpoint that fails again and again is left alone for a while."""

    consecutive_failures: int = 3
    """Answers 502, 503 and 504 and failed connections in a row, until it is left alone."""
    interval_milliseconds: int = 1000
    """How often that is looked at."""
    ejection_milliseconds: int = 5000
    """For how long it is left alone, times how often it was."""


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
    peer: PeerTls | None = None
    """How endpoints with ``mutual_tls`` are spoken to; never beside ``tls``."""
    outlier: OutlierDetection | None = None
    anywhere: bool = False
    """True: its endpoints may be beyond the network of the pods, so connections do not begin at the pod's address."""
