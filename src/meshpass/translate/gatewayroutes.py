"""Route configurations of a gateway: the hosts that tables may serve on a port, and what belongs to other listeners."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from meshpass.api.objectset import ObjectKey
from meshpass.ir import DirectResponse, ObjectRef, Route, RouteConfiguration, RouteMatch, VirtualHost
from meshpass.memo import Memo
from meshpass.translate.gatewayhost import ANY_HOST, EVERY_TABLE, allowed_hosts
from meshpass.translate.gatewayport import GatewayPort
from meshpass.translate.gatewayserver import GatewayServer
from meshpass.translate.selection_class import UNSELECTED
from meshpass.translate.settings import FeatureGates
from meshpass.translate.tableroutes import TableRoutes
from meshpass.translate.view import DENIED

BoundTables = Mapping[ObjectKey, tuple[TableRoutes, ...]]
"""VirtualGateway → the tables that name it, oldest first: those that its workspace has or imports."""

MISDIRECTED = Route(
    name="misdirected",
    match=RouteMatch(),
    action=DirectResponse(status=421, body="this host is served on another connection"),
    selection_class=UNSELECTED,
)
"""RFC 9110 §15.5.20: the client is to connect anew, with the server name of the host that it wants."""


Served = tuple[tuple[TableRoutes, tuple[str, ...]], ...]
"""Tables, oldest first, each with those of its hosts that it may serve: at least one."""


def served_hosts(server: GatewayServer, table: TableRoutes) -> tuple[str, ...]:
    """The hosts of a table that a listener lets it serve."""
    if server.allowed is EVERY_TABLE:
        return table.hosts
    return allowed_hosts(server.allowed, table.key, table.workspace, table.labels, table.hosts)


def served_tables(server: GatewayServer, bound: BoundTables, memo: Memo) -> Served:
    """What a listener serves; nothing if it is closed."""
    return memo(_served_tables, server, bound, memo) if server.is_open else ()


def _served_tables(server: GatewayServer, bound: BoundTables, memo: Memo) -> Served:
    found = ((table, memo(served_hosts, server, table)) for table in bound.get(server.key, ()))
    return tuple((table, hosts) for table, hosts in found if hosts)


def translate_plain(port: GatewayPort, bound: BoundTables, gates: FeatureGates, memo: Memo) -> RouteConfiguration:
    """The hosts of all plain listeners of a port; a host redirects as soon as one of them asks for that."""
    tables: dict[str, dict[ObjectKey, TableRoutes]] = {}
    redirected: set[str] = set()
    for server in port.servers:
        redirects = server.is_open and server.https_redirect
        if redirects:
            redirected.update(entry.host for entry in server.allowed)
        for table, hosts in served_tables(server, bound, memo):
            for host in hosts:
                tables.setdefault(host, {})[table.key] = table
            if redirects:
                redirected.update(hosts)
    deny = gates.GatewayDefaultDenyAllHTTPRequests
    virtual_hosts = tuple(
        memo(_virtual_host, host, tuple(tables.get(host, {}).values()), port.number, host in redirected, deny)
        for host in sorted({*tables, *redirected})
    )
    return RouteConfiguration(name=f"http-{port.port}", virtual_hosts=virtual_hosts, ignore_port=True)


def translate_secure(
    port: GatewayPort, server: GatewayServer, bound: BoundTables, gates: FeatureGates, memo: Memo
) -> RouteConfiguration:
    """The hosts of one listener that ends TLS.

    A client chooses the listener by the server name, and the host by what it says inside of TLS; so hosts whose
    connections come to another listener are not served here, whatever that one asks of its clients.
    """
    tables: dict[str, list[TableRoutes]] = {}
    for table, served in served_tables(server, bound, memo):
        for host in served:
            if port.owner(host) is server:
                tables.setdefault(host, []).append(table)
    deny = gates.GatewayDefaultDenyAllHTTPRequests
    hosts = [memo(_virtual_host, host, tuple(tables[host]), port.number, False, deny) for host in sorted(tables)]
    others = sorted({one for other in port.servers if other is not server for one in other.names} - {ANY_HOST})
    foreign = (memo(_misdirected, tuple(others)),) if others else ()
    name = f"https-{port.port}~{server.label}"
    return RouteConfiguration(name=name, virtual_hosts=(*hosts, *foreign), ignore_port=True)


def _virtual_host(
    host: str, tables: tuple[TableRoutes, ...], number: int, redirect: bool, deny_by_default: bool
) -> VirtualHost:
    denied = deny_by_default and any(table.requires_auth for table in tables)
    return VirtualHost(
        name=host,
        domains=(host,),
        routes=(*_routes(tables, number), *((DENIED,) if denied else ())),
        sources=frozenset(ObjectRef(*table.key) for table in tables),
        redirect_to_https=redirect,
    )


def _routes(tables: Iterable[TableRoutes], number: int) -> Iterator[Route]:
    for table in tables:
        for placed in table.routes:
            if placed.port is None or placed.port == number:
                yield placed.route


def _misdirected(names: tuple[str, ...]) -> VirtualHost:
    return VirtualHost(name="misdirected", domains=names, routes=(MISDIRECTED,))
