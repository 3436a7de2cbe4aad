"""Connections that a gateway passes on as they are: plain, out of TLS that it ends, or by their server name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from meshpass.api.objectset import ObjectKey
from meshpass.ir import TcpChain
from meshpass.memo import Memo
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.gatewayhost import ANY_HOST, narrower, server_name
from meshpass.translate.gatewayport import GatewayPort
from meshpass.translate.gatewayroutes import BoundTables, served_tables
from meshpass.translate.gatewayserver import GatewayServer
from meshpass.translate.tableroutes import TableRoutes, TcpRoute


@dataclass(frozen=True, slots=True, kw_only=True)
class Chains:
    """Filter chains, and what is said to the tables whose routes have none."""

    chains: tuple[TcpChain, ...] = ()
    findings: tuple[Finding, ...] = ()


def plain_chain(port: GatewayPort, bound: BoundTables, memo: Memo) -> Chains:
    """The one chain of a port for plain TCP: all its connections look alike, so one route has them all."""
    served = (
        (table, route)
        for server in port.servers
        for table, _ in served_tables(server, bound, memo)
        for route in _tcp_routes(port, table)
    )
    return _first(served, port, TcpChain(name=f"tcp-{port.port}", backends=()))


def terminated_chain(port: GatewayPort, server: GatewayServer, bound: BoundTables, memo: Memo) -> Chains:
    """The one chain of a listener that ends TLS and passes on what is inside."""
    served = ((table, route) for table, _ in served_tables(server, bound, memo) for route in _tcp_routes(port, table))
    names = tuple(one for one in server.names if one != ANY_HOST)
    chain = TcpChain(name=f"tls-{port.port}~{server.label}", backends=(), server_names=names, tls=server.tls)
    return _first(served, port, chain)


def passthrough_chains(port: GatewayPort, server: GatewayServer, bound: BoundTables, memo: Memo) -> Chains:
    """A chain for each TLS route, with the server names that no older route and no other listener has."""
    chains: list[TcpChain] = []
    findings: list[Finding] = []
    taken: set[str] = set()
    for table, hosts in served_tables(server, bound, memo):
        for index, route in enumerate(table.tls):
            if route.ports and port.number not in route.ports:
                continue
            own = _own_names(route, hosts, port, server)
            free = tuple(one for one in own if one not in taken)
            if len(free) < len(own):
                lost = ", ".join(sorted(taken.intersection(own)))
                message = f"TLS route {route.name}: an older route has {lost} on port {port.number}"
                findings.append(_conflict(table.key, message))
            taken.update(free)
            # Without a backend the route is wrong. It keeps its names: a wider route is not to have its connections.
            if free:
                place = f"{table.key.cluster}~{table.key.namespace}~{table.key.name}~{index}"
                names = () if ANY_HOST in free else free
                chain = TcpChain(
                    name=f"passthrough-{port.port}~{server.label}~{place}",
                    backends=route.backends,
                    server_names=names,
                    only_tls=True,
                )
                chains.append(chain)
    return Chains(chains=tuple(chains), findings=tuple(findings))


def _own_names(route: TcpRoute, hosts: tuple[str, ...], port: GatewayPort, server: GatewayServer) -> tuple[str, ...]:
    """The server names of a route that its table may serve, that come to this listener, and that Envoy can match."""
    common = (narrower(name, host) for name in route.server_names for host in hosts)
    names = dict.fromkeys(name for name in common if name is not None)
    return tuple(name for name in names if server_name(name) == name and port.owner(name) is server)


def _tcp_routes(port: GatewayPort, table: TableRoutes) -> Iterator[TcpRoute]:
    return (route for route in table.tcp if not route.ports or port.number in route.ports)


def _first(served: Iterable[tuple[TableRoutes, TcpRoute]], port: GatewayPort, chain: TcpChain) -> Chains:
    """The chain with the backends of the first route; without backends there is none, and connections are closed."""
    found = list(served)
    if not found:
        return Chains()
    winner, route = found[0]
    message = (
        f"TCP connections to port {port.number} belong to the older table {winner.key.namespace}/{winner.key.name}"
    )
    losers = dict.fromkeys(table.key for table, _ in found if table is not winner)
    findings = tuple(_conflict(key, message) for key in losers)
    return Chains(chains=(replace(chain, backends=route.backends),) if route.backends else (), findings=findings)


def _conflict(key: ObjectKey, message: str) -> Finding:
    return Finding(key=key, severity=Severity.WARNING, reason=Reason.CONFLICTED, message=message)
