"""What there is to say about tables that ask for gateways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from meshpass.api.objectset import ObjectKey
from meshpass.translate.binding import Binding
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.gateway import Gateways
from meshpass.translate.gatewayhost import EVERY_TABLE, allowed_hosts
from meshpass.translate.gatewayserver import GatewayServer, JudgedGateway
from meshpass.translate.sharing import Sharing
from meshpass.translate.tableroutes import TableRoutes


def gateway_findings(
    tables: Iterable[TableRoutes], bindings: Mapping[ObjectKey, Binding], gateways: Gateways, sharing: Sharing
) -> Mapping[ObjectKey, tuple[Finding, ...]]:
    """Table → the VirtualGateways that it names in vain, or that do not let it serve all of its hosts."""
    doors = {key: _open(judged) for key, judged in gateways.virtual_gateways.items()}
    found = {table.key: tuple(_judge(table, bindings[table.key], doors, sharing)) for table in tables}
    return {key: findings for key, findings in found.items() if findings}


class _Door(NamedTuple):
    """A VirtualGateway as tables see it."""

    workspace: str
    is_wide: bool
    """True if some listener lets in every table."""
    servers: tuple[GatewayServer, ...]


def _open(judged: JudgedGateway) -> _Door:
    servers = tuple(listener.server for listener in judged.listeners if listener.server.is_open)
    return _Door(judged.workspace, any(server.allowed is EVERY_TABLE for server in servers), servers)


def _judge(
    table: TableRoutes, binding: Binding, doors: Mapping[ObjectKey, _Door], sharing: Sharing
) -> Iterator[Finding]:
    for index, key in enumerate(binding.gateways):
        path = f"spec.virtualGateways[{index}]"
        door = doors.get(key)
        if door is None:
            message = f"there is no VirtualGateway {_place(key)} that workspace {table.workspace} has"
            yield _warn(table.key, path, message)
        elif not sharing.shares(table.key, table.labels, table.workspace, door.workspace):
            reason = sharing.why_not(table.key, table.labels, table.workspace, door.workspace)
            yield _warn(table.key, path, f"VirtualGateway {_place(key)} does not serve this table, which {reason}")
        elif not door.is_wide and (refused := _refused(table, door.servers)):
            message = f"no listener of VirtualGateway {_place(key)} lets this table serve {', '.join(refused)}"
            yield _warn(table.key, path, message)


def _place(key: ObjectKey) -> str:
    return f"{key.name} in namespace {key.namespace} of cluster {key.cluster}"


def _refused(table: TableRoutes, servers: tuple[GatewayServer, ...]) -> list[str]:
    return [host for host in table.hosts if not any(_lets_in(server, table, host) for server in servers)]


def _lets_in(server: GatewayServer, table: TableRoutes, host: str) -> bool:
    return bool(allowed_hosts(server.allowed, table.key, table.workspace, table.labels, (host,)))


def _warn(key: ObjectKey, path: str, message: str) -> Finding:
    return Finding(key=key, severity=Severity.WARNING, reason=Reason.TARGET_NOT_FOUND, path=path, message=message)
