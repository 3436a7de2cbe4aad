"""GatewayServer: one listener of a VirtualGateway."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from meshpass.api.objectset import ObjectKey
from meshpass.api.virtualgateway import ListenerTls
from meshpass.ir import DownstreamTls
from meshpass.translate.finding import Finding
from meshpass.translate.gatewayhost import AllowedTables


class ServerKind(StrEnum):
    """What a listener does with a connection."""

    HTTP = "http"
    HTTPS = "https"
    """TLS ends here, and what is inside is HTTP."""
    TCP = "tcp"
    TLS = "tls"
    """TLS ends here, and what is inside is passed on."""
    PASSTHROUGH = "passthrough"
    """TLS is passed on by its server name."""

    @property
    def manner(self) -> str:
        """What a port has to be one of: connections of two manners cannot be told apart."""
        return self.value if self in {ServerKind.HTTP, ServerKind.TCP} else "TLS"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayServer:
    """One listener of a VirtualGateway, on the gateways that have its port."""

    key: ObjectKey
    """The VirtualGateway."""
    index: int
    """Which of its listeners."""
    workspace: str
    kind: ServerKind
    allowed: tuple[AllowedTables, ...]
    names: tuple[str, ...]
    """Of the kinds with TLS: the server names that connections come here by; ``*``: any that no other has."""
    https_redirect: bool = False
    tls: DownstreamTls | None = None
    """Where TLS ends here. None although it should: see ``is_open``."""
    is_open: bool = True
    """False: it is wrong, or its certificate is. It serves nothing, and still keeps its server names from others."""

    @property
    def path(self) -> str:
        """The field that it is."""
        return f"spec.listeners[{self.index}]"

    @property
    def label(self) -> str:
        """Its name among all of the mesh, for what is made from it."""
        return f"{self.key.cluster}~{self.key.namespace}~{self.key.name}~{self.index}"


class WantedPort(NamedTuple):
    """A port of a gateway's Service, by number or by name."""

    number: int | None
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedListener:
    """A listener before it is known which gateways have it."""

    server: GatewayServer
    port: WantedPort
    tls: ListenerTls | None
    """What ends TLS, and needs a certificate; None for the other kinds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedGateway:
    """A VirtualGateway before it is known which gateways it selects."""

    workspace: str
    listeners: tuple[JudgedListener, ...]
    findings: tuple[Finding, ...]
