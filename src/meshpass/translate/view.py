"""View: the routes that some sidecars share, being in the same place and bound to the same tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from meshpass.api.objectset import ObjectKey
from meshpass.ir import (
    Backend,
    DirectResponse,
    Forward,
    ObjectRef,
    Route,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
    WeightedBackend,
)
from meshpass.memo import Memo
from meshpass.translate.backend import EndpointIndex, translate_backend
from meshpass.translate.catalog import Catalog
from meshpass.translate.destination import Destination
from meshpass.translate.knownhost import KnownHost, known_hosts
from meshpass.translate.selection_class import UNSELECTED, RouteProperties
from meshpass.translate.settings import FeatureGates
from meshpass.translate.sidecar import ROUTE_CONFIGURATION
from meshpass.translate.tableroutes import MatchedNames, TableClasses, TableRoutes, TcpRoute
from meshpass.translate.tableset import TableSet

HTTP_PORT = 80

_NO_ROUTE = DirectResponse(status=502, body="no route in the mesh for ", names_host=True)
NO_HOST = VirtualHost(
    name="*",
    domains=("*",),
    routes=(
        Route(name="no-route-in-the-mesh", match=RouteMatch(), action=_NO_ROUTE, selection_class=UNSELECTED),
        Route(
            name="no-tunnel-in-the-mesh",
            match=RouteMatch(connect=True),
            action=_NO_ROUTE,
            selection_class=UNSELECTED,
        ),
    ),
)


DENIED = Route(
    name="denied",
    match=RouteMatch(),
    action=DirectResponse(status=403, body="RBAC: access denied"),
    selection_class=UNSELECTED,
)
"""What a path that no route matches is answered, on hosts of a table that asks for denial by default."""

CLOSED = DirectResponse(status=500, body="this route is misconfigured; its RouteTable's status says how")
"""The answer to CONNECT where a TCP or TLS route cannot be built."""


def translate_routes(  # noqa: PLR0917
    cluster: str,
    known: tuple[KnownHost, ...],
    tables: TableSet,
    catalog: Catalog,
    gates: FeatureGates,
    memo: Memo,
) -> RouteConfiguration:
    """All hosts that sidecars of a place know: the tables', those known without them, and the answer to any other.

    A table whose host is a name of a known host, as workloads of the table's namespace know it, takes that one's place
    on all its ports. Of several tables with one host the older comes first.
    """
    names: dict[str, Mapping[str, ObjectKey]] = {}
    ports: dict[ObjectKey, list[KnownHost]] = {}
    for one in known:
        ports.setdefault(one.destination.key, []).append(one)
    of_known: dict[ObjectKey, list[TableRoutes]] = {}
    of_host: dict[str, list[TableRoutes]] = {}
    for table in tables.tables:
        namespace = table.key.namespace
        own_names = names.get(namespace)
        if own_names is None:
            own_names = names[namespace] = memo(_known_names, memo(known_hosts, cluster, namespace, catalog))
        named = {own_names[host] for host in table.hosts if own_names.get(host) in ports}
        for key in sorted(named):
            of_known.setdefault(key, []).append(table)
        for host in table.hosts:
            if own_names.get(host) not in ports and host != "*":
                of_host.setdefault(host, []).append(table)
    deny = gates.GatewayDefaultDenyAllHTTPRequests
    hosts: list[VirtualHost] = []
    for key, several in ports.items():
        bound = of_known.get(key)
        if bound is None:
            hosts.extend(memo(_known_host, one) for one in several)
        else:
            hosts.extend(memo(_table_hosts, tuple(several), tuple(bound), deny))
    named_hosts = {host: tuple(of_host[host]) for host in sorted(of_host)}
    # The known hosts are what this view shares with no other.
    for found in memo.each(_named_hosts, named_hosts, known, deny).values():
        hosts.extend(found)
    return RouteConfiguration(name=ROUTE_CONFIGURATION, virtual_hosts=(*_unique_domains(hosts), NO_HOST))


def _known_names(known: tuple[KnownHost, ...]) -> Mapping[str, ObjectKey]:
    return {name: one.destination.key for one in reversed(known) for name in one.names}


def _unique_domains(hosts: Iterable[VirtualHost]) -> Iterable[VirtualHost]:
    """The hosts, each domain with the first that has it: Envoy refuses all routes if a domain is there twice."""
    taken: set[str] = set()
    for host in hosts:
        if taken.isdisjoint(host.domains):
            taken.update(host.domains)
            yield host
            continue
        free = tuple(domain for domain in host.domains if domain not in taken)
        taken.update(free)
        if free:
            yield replace(host, domains=free)


def _domains(names: Iterable[str], port: int | None) -> tuple[str, ...]:
    """What a request for these names on a port (None: any) has as its authority; port 80 may be left out."""
    if port is None:
        return tuple(f"{name}:*" for name in names if not name.startswith("*"))
    with_port = tuple(f"{name}:{port}" for name in names)
    return (*names, *with_port) if port == HTTP_PORT else with_port


def _known_host(known: KnownHost) -> VirtualHost:
    """A host without any table: every request to it goes where it leads."""
    backend = known.destination.backend
    forward = Forward(backends=(WeightedBackend(backend=backend, weight=100),))
    match = RouteMatch(connect=not known.destination.http)
    route = Route(name=backend, match=match, action=forward, selection_class=UNSELECTED)
    return VirtualHost(name=backend, domains=_domains(known.names, known.port), routes=(route,))


Places = list[tuple[int | None, tuple[str, ...]]]
"""A port (None: any that has no other place), and the domains of the host on it."""


def _table_hosts(
    several: tuple[KnownHost, ...], tables: tuple[TableRoutes, ...], deny_by_default: bool
) -> tuple[VirtualHost, ...]:
    """The ports of one known host, under tables."""
    names = several[0].names
    places: Places = [(one.port, _domains(one.names, one.port)) for one in several]
    return _make_hosts(names[-1], places, tables, deny_by_default)


def _named_hosts(
    host: str, tables: tuple[TableRoutes, ...], _known: tuple[KnownHost, ...], deny_by_default: bool
) -> tuple[VirtualHost, ...]:
    """A host that only tables know: HTTP on port 80, and what its TCP and TLS routes are for."""
    ports: dict[int | None, None] = {HTTP_PORT: None} if any(table.routes for table in tables) else {}
    for table in tables:
        for route in (*table.tcp, *table.tls):
            if host in _tunnel_names(route, table):
                ports.update(dict.fromkeys(route.ports or (None,)))
    places: Places = [(port, _domains((host,), port)) for port in ports]
    return _make_hosts(host, places, tables, deny_by_default)


def _tunnel_names(route: TcpRoute, table: TableRoutes) -> tuple[str, ...]:
    """The hosts whose connections a TCP or TLS route is for. The authority of CONNECT stands for the server name."""
    return route.server_names or table.hosts


def _make_hosts(
    name: str, places: Places, tables: tuple[TableRoutes, ...], deny_by_default: bool
) -> tuple[VirtualHost, ...]:
    """One virtual host for all ports that have the same routes."""
    denied = deny_by_default and any(table.requires_auth for table in tables)
    by_routes: dict[tuple[int | None, ...], tuple[tuple[Route, ...], list[str]]] = {}
    special = {placed.port for table in tables for placed in table.routes} - {None}
    special |= {port for table in tables for route in (*table.tcp, *table.tls) for port in route.ports}
    for port, domains in places:
        which = (port,) if port in special or port is None else ()
        if which not in by_routes:
            routes = (*_http_routes(tables, port), *((DENIED,) if denied else ()), *_tunnels(tables, name, port))
            by_routes[which] = routes, []
        by_routes[which][1].extend(domains)
    sources = frozenset(ObjectRef(*key) for table in tables for key in table.parts)
    return tuple(
        VirtualHost(
            name=name if len(by_routes) == 1 else ":".join((name, *map(str, which))),
            domains=tuple(domains),
            routes=routes,
            sources=sources,
        )
        for which, (routes, domains) in by_routes.items()
        if domains and (routes or not any(table.tcp or table.tls for table in tables))
    )


def _http_routes(tables: tuple[TableRoutes, ...], port: int | None) -> Iterable[Route]:
    if port is None:
        return ()
    return (placed.route for table in tables for placed in table.routes if placed.port in {None, port})


def _tunnels(tables: tuple[TableRoutes, ...], name: str, port: int | None) -> Iterable[Route]:
    """What a CONNECT request to the host gets: the first route that is for it."""
    for table in tables:
        for route in (*table.tcp, *table.tls):
            if (not route.ports or port in route.ports) and (
                name in _tunnel_names(route, table) or not route.server_names
            ):
                action = Forward(backends=route.backends) if route.backends else CLOSED
                yield Route(name=route.name, match=RouteMatch(connect=True), action=action, selection_class=UNSELECTED)
                return


def translate_backends(
    known: tuple[KnownHost, ...],
    tables: TableSet,
    catalog: Catalog,
    endpoints: EndpointIndex,
    memo: Memo,
) -> tuple[Backend, ...]:
    """Every backend that the routes of a view may send to, sorted by name."""
    wanted = {one.destination.backend: one.destination for one in known}
    wanted.update((found.backend, found) for table in tables.tables for found in table.destinations)
    return tuple(translate_backend(wanted[name], catalog, endpoints, memo) for name in sorted(wanted))


def used_destinations(known: tuple[KnownHost, ...], tables: TableSet) -> tuple[Destination, ...]:
    """Whatever the routes of a view may send to, each once."""
    found = dict.fromkeys(one.destination for one in known)
    found.update(dict.fromkeys(found for table in tables.tables for found in table.destinations))
    return tuple(found)


def selection_classes(tables: tuple[TableClasses, ...]) -> Mapping[str, RouteProperties | None]:
    """The classes that the routes of tables carry, in a fixed order, with their properties."""
    known = {name: properties for classes in tables for name, properties in classes.properties.items()}
    return {UNSELECTED: None, **{name: known[name] for name in sorted(known)}}


def matched_names(tables: tuple[MatchedNames, ...]) -> MatchedNames:
    """The headers and query parameters that routes of tables match on."""
    headers = frozenset[str]().union(*(headers for headers, _ in tables))
    return headers, frozenset[str]().union(*(parameters for _, parameters in tables))
