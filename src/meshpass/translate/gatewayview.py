"""GatewayView: what one gateway listens on and serves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from meshpass.api.objectset import ObjectKey
from meshpass.ir import DownstreamTls, GatewayListener, HttpChain, RouteConfiguration, Secret, TcpChain
from meshpass.memo import Memo
from meshpass.translate.binding import Binding
from meshpass.translate.finding import Finding
from meshpass.translate.gateway import Gateway, GatewayPort
from meshpass.translate.gatewayhost import ANY_HOST
from meshpass.translate.gatewayroutes import BoundTables, served_tables, translate_plain, translate_secure
from meshpass.translate.gatewayserver import ServerKind
from meshpass.translate.gatewaytcp import passthrough_chains, plain_chain, terminated_chain
from meshpass.translate.settings import FeatureGates
from meshpass.translate.tableroutes import TableRoutes
from meshpass.translate.workspace import WorkspaceIndex


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GatewayView:
    """What one gateway listens on and serves."""

    listeners: tuple[GatewayListener, ...]
    routes: tuple[RouteConfiguration, ...]
    """Sorted by name; without options."""
    secrets: tuple[Secret, ...]
    tables: tuple[TableRoutes, ...]
    """The tables that some listener lets in, oldest first."""
    served: Mapping[ObjectKey, frozenset[ObjectKey]]
    """Table → the VirtualGateways by which it is served."""
    counts: Mapping[ObjectKey, int]
    """VirtualGateway → number of tables that are served by it."""
    findings: Mapping[ObjectKey, tuple[Finding, ...]]
    """Table → its TCP and TLS routes that an older one keeps from being used."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _PortView:
    """What one port comes to, on whatever gateway."""

    port: int
    chains: tuple[HttpChain | TcpChain, ...] = ()
    routes: tuple[RouteConfiguration, ...] = ()
    findings: tuple[Finding, ...] = ()


def translate_gateway(  # noqa: PLR0917
    gateway: Gateway,
    tables: tuple[TableRoutes, ...],
    bindings: Mapping[ObjectKey, Binding],
    workspaces: WorkspaceIndex,
    gates: FeatureGates,
    memo: Memo,
) -> GatewayView:
    """What the gateway listens on and serves; ``tables`` are all of the mesh, oldest first.

    Gateways with the same ports share all of it but the listeners' addresses.
    """
    bound = memo(_bind, tables, bindings, workspaces)
    ports = tuple(memo(_translate_port, port, bound, gates, memo) for port in gateway.ports)
    served = memo(_find_served, gateway.ports, bound, memo)
    listeners = (memo(_make_listener, gateway.address, port.port, port.chains) for port in ports if port.chains)
    return GatewayView(
        listeners=tuple(listeners),
        routes=tuple(sorted((one for port in ports for one in port.routes), key=lambda one: one.name)),
        secrets=gateway.secrets,
        tables=memo(_used, tables, served),
        served=served,
        counts=memo(_count, served),
        findings=memo(_group, tuple(finding for port in ports for finding in port.findings)),
    )


def _bind(
    tables: tuple[TableRoutes, ...], bindings: Mapping[ObjectKey, Binding], workspaces: WorkspaceIndex
) -> BoundTables:
    bound: dict[ObjectKey, list[TableRoutes]] = {}
    for table in tables:
        if table.hosts:
            for key in dict.fromkeys(bindings[table.key].gateways):
                if workspaces.sharing.shares(table.key, table.labels, table.workspace, workspaces.owner(key)):
                    bound.setdefault(key, []).append(table)
    return {key: tuple(of_gateway) for key, of_gateway in bound.items()}


def _translate_port(port: GatewayPort, bound: BoundTables, gates: FeatureGates, memo: Memo) -> _PortView:
    match port.servers[0].kind:
        case ServerKind.HTTP:
            return _translate_http(port, bound, gates, memo)
        case ServerKind.TCP:
            tcp = plain_chain(port, bound, memo)
            return _PortView(port=port.port, chains=tcp.chains, findings=tcp.findings)
        case ServerKind.HTTPS | ServerKind.TLS | ServerKind.PASSTHROUGH:
            return _translate_tls(port, bound, gates, memo)


def _translate_http(port: GatewayPort, bound: BoundTables, gates: FeatureGates, memo: Memo) -> _PortView:
    if not any(server.is_open for server in port.servers):
        return _PortView(port=port.port)
    routes = translate_plain(port, bound, gates, memo)
    chain = memo(_http_chain, routes.name, (), None)
    return _PortView(port=port.port, chains=(chain,), routes=(routes,))


def _translate_tls(port: GatewayPort, bound: BoundTables, gates: FeatureGates, memo: Memo) -> _PortView:
    chains: list[HttpChain | TcpChain] = []
    routes: list[RouteConfiguration] = []
    findings: list[Finding] = []
    for server in port.servers:
        if not server.is_open:
            continue
        if server.kind is ServerKind.HTTPS:
            own = translate_secure(port, server, bound, gates, memo)
            names = tuple(one for one in server.names if one != ANY_HOST)
            chains.append(memo(_http_chain, own.name, names, server.tls))
            routes.append(own)
        else:
            translate = terminated_chain if server.kind is ServerKind.TLS else passthrough_chains
            found = translate(port, server, bound, memo)
            chains.extend(found.chains)
            findings.extend(found.findings)
    return _PortView(port=port.port, chains=tuple(chains), routes=tuple(routes), findings=tuple(findings))


def _http_chain(name: str, server_names: tuple[str, ...], tls: DownstreamTls | None) -> HttpChain:
    return HttpChain(name=name, route_configuration=name, server_names=server_names, tls=tls)


def _make_listener(address: str, port: int, chains: tuple[HttpChain | TcpChain, ...]) -> GatewayListener:
    return GatewayListener(name=f"gateway-{port}", address=address, port=port, chains=chains)


def _find_served(
    ports: tuple[GatewayPort, ...], bound: BoundTables, memo: Memo
) -> Mapping[ObjectKey, frozenset[ObjectKey]]:
    served: dict[ObjectKey, set[ObjectKey]] = {}
    for server in (server for port in ports for server in port.servers):
        for table, _ in served_tables(server, bound, memo):
            served.setdefault(table.key, set()).add(server.key)
    return MappingProxyType({key: frozenset(gateways) for key, gateways in served.items()})


def _used(tables: tuple[TableRoutes, ...], served: Mapping[ObjectKey, frozenset[ObjectKey]]) -> tuple[TableRoutes, ...]:
    return tuple(table for table in tables if table.key in served)


def _count(served: Mapping[ObjectKey, frozenset[ObjectKey]]) -> Mapping[ObjectKey, int]:
    return Counter(key for gateways in served.values() for key in gateways)


def _group(findings: Iterable[Finding]) -> Mapping[ObjectKey, tuple[Finding, ...]]:
    grouped: dict[ObjectKey, list[Finding]] = {}
    for finding in findings:
        grouped.setdefault(finding.key, []).append(finding)
    return {key: tuple(dict.fromkeys(of_table)) for key, of_table in grouped.items()}
