"""GatewayPort: the listeners of VirtualGateways that share a port of a gateway, and which of them keeps what."""

from __future__ import annotations

from dataclasses import dataclass, replace

from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.gatewayhost import choose_server_name
from meshpass.translate.gatewayserver import GatewayServer


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPort:
    """A port that a gateway listens on."""

    number: int
    """The Service's port, which is the one that clients know."""
    port: int
    """The pod's port."""
    servers: tuple[GatewayServer, ...]
    """Those of the older VirtualGateway first. All are of one manner, and no two have the same server name."""

    def owner(self, host: str) -> GatewayServer | None:
        """The server that TLS connections for a host come to; None if none takes them."""
        owners = {name: server for server in self.servers for name in server.names}
        name = choose_server_name(host, owners)
        return owners[name] if name is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledPort:
    """A port, and what is said to those who did not get what they asked for."""

    port: GatewayPort
    findings: tuple[Finding, ...]


def assemble_port(port: int, numbers: tuple[int, ...], servers: tuple[GatewayServer, ...]) -> AssembledPort:
    """The port with those of the servers that can share it; each has the Service's port of ``numbers``.

    The first one, which is the oldest, decides what the port is for, whether it is open or not: nothing that was to be
    in TLS is ever served in plain text because its certificate is missing.
    """
    first, number = servers[0], numbers[0]
    kept: list[GatewayServer] = []
    findings: list[Finding] = []
    taken: dict[str, GatewayServer] = {}
    for server, own in zip(servers, numbers, strict=True):
        if own != number:
            message = f"port {own} leads to port {port} of the gateway, as port {number} does, which {_name(first)} has"
            findings.append(_conflict(server, f"{server.path}.port", message))
        elif server.kind.manner != first.kind.manner:
            message = f"port {number} is for {first.kind.manner}: the older {_name(first)} has it"
            findings.append(_conflict(server, f"{server.path}.port", message))
        elif server.kind.manner != "TLS":
            kept.append(server)
        else:
            free = tuple(name for name in server.names if name not in taken)
            lost = [name for name in server.names if name in taken]
            if lost:
                message = f"TLS connections for {', '.join(lost)} belong to the older {_name(taken[lost[0]])}"
                findings.append(_conflict(server, server.path, message))
            taken.update(dict.fromkeys(free, server))
            if free:
                kept.append(replace(server, names=free) if lost else server)
    return AssembledPort(
        port=GatewayPort(number=number, port=port, servers=tuple(kept)),
        findings=tuple(findings),
    )


def _conflict(server: GatewayServer, path: str, message: str) -> Finding:
    return Finding(key=server.key, severity=Severity.WARNING, reason=Reason.CONFLICTED, path=path, message=message)


def _name(server: GatewayServer) -> str:
    return f"listener {server.index} of VirtualGateway {server.key.namespace}/{server.key.name}"
