"""ExternalEntry: what routes need to know of an ExternalService."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshpass.api.objectset import ObjectKey
from meshpass.ir import Endpoint
from meshpass.translate.connection import Connection
from meshpass.translate.finding import Finding
from meshpass.translate.protocol import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalPort:
    """One port of an ExternalService."""

    name: str
    number: int
    protocol: Protocol
    requests: Connection
    """How single HTTP requests are sent: with TLS where the port speaks it."""
    tunnel: Connection
    """How connections are passed on: whoever uses a port that speaks TLS speaks it, unless the mesh is told to."""
    endpoints: tuple[Endpoint, ...]
    problem: str = ""
    """Why nothing may be sent there; empty if all is well."""
    requests_problem: str = ""
    """Why proxies may not send requests of their own there; connections may still be passed on."""

    def why_not(self, *, http: bool) -> str:
        """Why HTTP requests may not be sent there, or connections not be passed on; empty if they may."""
        return self.problem or (self.requests_problem if http else "")

    def backend(self, service: ObjectKey, name: str = "", *, http: bool) -> str:
        """The name of the backend that HTTP requests are sent to, or that connections are passed on to.

        ``name`` is the one of the service's names that is meant, where each has an address of its own.
        """
        connection = self.requests if http else self.tunnel
        place = f"{service.cluster}/{service.namespace}/{service.name}:{self.number}"
        return f"external/{place}{{{name}}}{connection.suffix}" if name else f"external/{place}{connection.suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalEntry:
    """What routes need to know of an ExternalService."""

    key: ObjectKey
    labels: Mapping[str, str]
    age: tuple[str, str, str, str]
    workspace: str
    names: tuple[str, ...]
    """Its hosts, in their one form, or its addresses."""
    ports: tuple[ExternalPort, ...]
    by_name: bool
    """True where each name has addresses of its own: without ExternalEndpoints, and with several names."""
    findings: tuple[Finding, ...]
    endpoint_count: int

    @property
    def host(self) -> str:
        """Its first name without a wildcard; empty if there is none."""
        return next((name for name in self.names if "*" not in name), "")

    def port(self, number: int) -> ExternalPort | None:
        """The port of this number; None if it has none."""
        return next((port for port in self.ports if port.number == number), None)
