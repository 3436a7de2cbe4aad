"""VirtualEntry: what routes need to know of a VirtualDestination."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshpass.api.objectset import ObjectKey
from meshpass.translate.connection import Connection
from meshpass.translate.finding import Finding
from meshpass.translate.protocol import Protocol
from meshpass.translate.selection_class import DestinationPort


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualPort:
    """One port of a VirtualDestination."""

    number: int
    protocol: Protocol
    requests: Connection
    """How single HTTP requests are sent."""
    tunnel: Connection
    """How connections are passed on."""
    services: tuple[DestinationPort, ...]
    """The Service ports behind it."""
    external_services: tuple[DestinationPort, ...]
    """The ports of ExternalServices behind it."""
    failover: bool = False
    """True: there are Services of several clusters behind it, of which those of the caller's own come first."""
    problem: str = ""
    """Why nothing may be sent there; empty if all is well."""
    requests_problem: str = ""
    """Why proxies may not send requests of their own there; connections may still be passed on."""

    def why_not(self, *, http: bool) -> str:
        """Why HTTP requests may not be sent there, or connections not be passed on; empty if they may."""
        return self.problem or (self.requests_problem if http else "")

    @property
    def name(self) -> str:
        """Ports of VirtualDestinations have none."""
        return ""

    def backend(self, destination: ObjectKey, subset: str = "", *, http: bool) -> str:
        """The name of the backend that HTTP requests are sent to, or that connections are passed on to."""
        place = f"{destination.cluster}/{destination.namespace}/{destination.name}:{self.number}"
        connection = self.requests if http else self.tunnel
        return f"virtual/{place}{subset}{connection.suffix}{'~failover' if self.failover else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualEntry:
    """What routes need to know of a VirtualDestination."""

    key: ObjectKey
    labels: Mapping[str, str]
    age: tuple[str, str, str, str]
    workspace: str
    names: tuple[str, ...]
    """Its hosts, in their one form."""
    ports: tuple[VirtualPort, ...]
    findings: tuple[Finding, ...]
    service_count: int

    @property
    def host(self) -> str:
        """Its first host; empty if it has none."""
        return next(iter(self.names), "")

    def port(self, number: int) -> VirtualPort | None:
        """The port of this number; None if it has none."""
        return next((port for port in self.ports if port.number == number), None)
