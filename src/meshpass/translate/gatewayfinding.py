"""What there is to say about tables that ask for gateways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from meshpass.api.objectset import ObjectKey
from meshpass.translate.binding import Binding
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.gateway import Gateways
from meshpass.translate.gatewayhost import allowed_hosts
from meshpass.translate.gatewayserver import GatewayServer, JudgedGateway
from meshpass.translate.tableroutes import TableRoutes


def gateway_findings(
    tables: Iterable[TableRoutes], bindings: Mapping[ObjectKey, Binding], gateways: Gateways
) -> Mapping[ObjectKey, tuple[Finding, ...]]:
    """Table → the VirtualGateways that it names in vain, or that do not let it serve all of its hosts."""
    found = {table.key: tuple(_judge(table, bindings[table.key], gateways)) for table in tables}
    return {key: findings for key, findings in found.items() if findings}


def _judge(table: TableRoutes, binding: Binding, gateways: Gateways) -> Iterator[Finding]:
    for index, key in enumerate(binding.gateways):
        path = f"spec.virtualGateways[{index}]"
        judged = gateways.virtual_gateways.get(key)
        place = f"namespace {key.namespace} of cluster {key.cluster}"
        if judged is None or judged.workspace != table.workspace:
            message = f"there is no VirtualGateway {key.name} in {place} that workspace {table.workspace} has"
            yield _warn(table.key, Reason.TARGET_NOT_FOUND, path, message)
            continue
        refused = _refused(table, judged)
        if refused:
            message = f"no listener of VirtualGateway {key.name} in {place} lets this table serve {', '.join(refused)}"
            yield _warn(table.key, Reason.TARGET_NOT_FOUND, path, message)


def _refused(table: TableRoutes, judged: JudgedGateway) -> list[str]:
    servers = [listener.server for listener in judged.listeners if listener.server.is_open]
    return [host for host in table.hosts if not any(_lets_in(server, table, host) for server in servers)]


def _lets_in(server: GatewayServer, table: TableRoutes, host: str) -> bool:
    return bool(allowed_hosts(server.allowed, table.key, table.workspace, table.labels, (host,)))


def _warn(key: ObjectKey, reason: Reason, path: str, message: str) -> Finding:
    return Finding(key=key, severity=Severity.WARNING, reason=reason, path=path, message=message)
