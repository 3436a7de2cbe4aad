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
from meshpass.translate.action import REPLACED
from meshpass.translate.backend import translate_backend
from meshpass.translate.catalog import Catalog
from meshpass.translate.destination import Destination, own_retries
from meshpass.translate.endpointindex import EndpointIndex
from meshpass.translate.frozendestination import is_current
from meshpass.translate.knownhost import KnownHost, known_hosts
from meshpass.translate.selection_class import UNSELECTED, RouteProperties
from meshpass.translate.settings import FeatureGates
from meshpass.translate.sidecar import ROUTE_CONFIGURATION
from meshpass.translate.tableroutes import MatchedNames, TableClasses, TableRoutes, TcpRoute
from meshpass.translate.tableset import TableSet
from meshpass.translate.viewer import Viewer

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
    on all its ports that it has routes for. Of several tables with one host the older comes first.
    """
    names: dict[str, Mapping[str, Group]] = {}
    reachable = {_group(one, name) for one in known for name in one.names}
    of_known: dict[Group, list[TableRoutes]] = {}
    of_host: dict[str, list[TableRoutes]] = {}
    for table in tables.tables:
        namespace = table.key.namespace
        own_names = names.get(namespace)
        if own_names is None:
            own_names = names[namespace] = memo(_known_names, memo(known_hosts, cluster, namespace, catalog))
        named = {own_names[host] for host in table.hosts if own_names.get(host) in reachable}
        for group in sorted(named):
            of_known.setdefault(group, []).append(table)
        # A TLS route of a wildcard host may be for one name of it.
        asked = dict.fromkeys((*table.hosts, *(name for route in table.tls for name in route.server_names)))
        for host in asked:
            if own_names.get(host) not in reachable and host != "*":
                of_host.setdefault(host, []).append(table)
    deny = gates.GatewayDefaultDenyAllHTTPRequests
    hosts: list[VirtualHost] = []
    for group, several in _by_group(known, of_known).items():
        bound = of_known.get(group)
        if bound is None:
            hosts.extend(memo(_known_host, one) for one in several)
        else:
            hosts.extend(memo(_table_hosts, tuple(several), tuple(bound), deny))
    named_hosts = {host: tuple(of_host[host]) for host in sorted(of_host)}
    # The known hosts are what this view shares with no other.
    for found in memo.each(_named_hosts, named_hosts, known, deny).values():
        hosts.extend(found)
    return RouteConfiguration(name=ROUTE_CONFIGURATION, virtual_hosts=(*_unique_domains(hosts), NO_HOST))


Group = tuple[ObjectKey, str]
"""Names that mean one thing: all those of a Service in its cluster; any other by itself, with that name."""

_UNBOUND = "*"
"""In place of a name: all those that would be by themselves if a table were for them. No host is called so."""


def _group(known: KnownHost, name: str) -> Group:
    return known.destination.key, name if known.apart else ""


def _known_names(known: tuple[KnownHost, ...]) -> Mapping[str, Group]:
    return {name: _group(one, name) for one in reversed(known) for name in one.names}


def _by_group(known: tuple[KnownHost, ...], bound: Mapping[Group, object]) -> Mapping[Group, list[KnownHost]]:
    """The ports of each group. Names that no table is for stay together."""
    found: dict[Group, list[KnownHost]] = {}
    for one in known:
        parts: dict[Group, list[str]] = {}
        for name in one.names:
            group = _group(one, name)
            parts.setdefault((group[0], _UNBOUND) if one.apart and group not in bound else group, []).append(name)
        for group, names in parts.items():
            found.setdefault(group, []).append(one._replace(names=tuple(names)))
    return found


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
    """What a request for these names on a port (None: any) has as its authority; port 80 may be left out.

    Envoy has no domain that begins and ends in anything: for a wildcard, any port is 443, that of TLS.
    """
    if port is None:
        return tuple(f"{name}:443" if name.startswith("*") else f"{name}:*" for name in names)
    with_port = tuple(f"{name}:{port}" for name in names)
    return (*names, *with_port) if port == HTTP_PORT else with_port


def _known_host(known: KnownHost) -> VirtualHost:
    """A host without any table: every request to it goes where it leads."""
    route = _known_route(known)
    name = f"{known.names[-1]}:{known.port}" if known.apart and known.destination.key.kind == "Service" else route.name
    return VirtualHost(name=name, domains=_domains(known.names, known.port), routes=(route,))


def _known_route(known: KnownHost) -> Route:
    backend = known.destination.backend
    forward = Forward(
        backends=(WeightedBackend(backend=backend, weight=100),), retries=own_retries((known.destination,))
    )
    match = RouteMatch(connect=not known.destination.http)
    return Route(name=backend, match=match, action=forward, selection_class=UNSELECTED)


Places = list[tuple[int | None, tuple[str, ...]]]
"""A port (None: any that has no other place), and the domains of the host on it."""


def _table_hosts(
    several: tuple[KnownHost, ...], tables: tuple[TableRoutes, ...], deny_by_default: bool
) -> tuple[VirtualHost, ...]:
    """The ports of one known host, under tables."""
    names = several[0].names
    places: Places = [(one.port, _domains(one.names, one.port)) for one in several]
    left = {one.port: _known_route(one) for one in several if _is_left(one, tables)}
    return _make_hosts(names, places, tables, tables, deny_by_default, left)


def _is_left(known: KnownHost, tables: tuple[TableRoutes, ...]) -> bool:
    """True for a port that tables leave as it is: HTTP, where they have TCP and TLS routes only, and the other way round."""
    if known.destination.http:
        return not any(table.classes.counts or table.broken for table in tables)
    return not any(_is_for(route, known.port) for table in tables for route in (*table.tcp, *table.tls))


def _named_hosts(
    host: str, tables: tuple[TableRoutes, ...], _known: tuple[KnownHost, ...], deny_by_default: bool
) -> tuple[VirtualHost, ...]:
    """A host that only tables know: HTTP on port 80, and what its TCP and TLS routes are for."""
    http = tuple(table for table in tables if host in table.hosts)
    ports: dict[int | None, None] = {HTTP_PORT: None} if any(table.routes for table in http) else {}
    for table in tables:
        for route in (*table.tcp, *table.tls):
            if host in _tunnel_names(route, table):
                ports.update(dict.fromkeys(route.ports or (None,)))
    places: Places = [(port, _domains((host,), port)) for port in ports]
    return _make_hosts((host,), places, tables, http, deny_by_default, {})


def _tunnel_names(route: TcpRoute, table: TableRoutes) -> tuple[str, ...]:
    """The hosts whose connections a TCP or TLS route is for. The authority of CONNECT stands for the server name."""
    return route.server_names or table.hosts


def _make_hosts(  # noqa: PLR0917
    names: tuple[str, ...],
    places: Places,
    tables: tuple[TableRoutes, ...],
    http: tuple[TableRoutes, ...],
    deny_by_default: bool,
    left: Mapping[int, Route],
) -> tuple[VirtualHost, ...]:
    """One virtual host for all ports that have the same routes: those of HTTP from ``http``, tunnels from all tables."""
    name = names[-1]
    denied = deny_by_default and any(table.requires_auth for table in http)
    by_routes: dict[tuple[int | None, ...], tuple[tuple[Route, ...], list[str]]] = {}
    special = {placed.port for table in http for placed in table.routes} - {None}
    special |= {port for table in tables for route in (*table.tcp, *table.tls) for port in route.ports}
    for port, domains in places:
        alone = port is None or port in special or port in left
        which = (port,) if alone else ()
        if which not in by_routes:
            own = (left[port],) if port is not None and port in left else ()
            routes = (*_http_routes(http, port), *((DENIED,) if denied else ()), *_tunnels(tables, names, port), *own)
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
        if domains
    )


def _http_routes(tables: tuple[TableRoutes, ...], port: int | None) -> Iterable[Route]:
    if port is None:
        return ()
    return (placed.route for table in tables for placed in table.routes if placed.port in {None, port})


def _tunnels(tables: tuple[TableRoutes, ...], names: tuple[str, ...], port: int | None) -> Iterable[Route]:
    """What a CONNECT request to the host gets: the first route that is for it."""
    for table in tables:
        for route in (*table.tcp, *table.tls):
            if _is_for(route, port) and not (route.server_names and set(names).isdisjoint(_tunnel_names(route, table))):
                action = Forward(backends=route.backends) if route.backends else REPLACED
                yield Route(name=route.name, match=RouteMatch(connect=True), action=action, selection_class=UNSELECTED)
                return


def _is_for(route: TcpRoute, port: int | None) -> bool:
    return not route.ports or port in route.ports


def translate_backends(  # noqa: PLR0917
    known: tuple[KnownHost, ...],
    tables: TableSet,
    catalog: Catalog,
    endpoints: EndpointIndex,
    viewer: Viewer,
    memo: Memo,
) -> tuple[Backend, ...]:
    """Every backend that the routes of a view may send to, sorted by name."""
    wanted = {one.destination.backend: one.destination for one in known}
    wanted.update((found.backend, found) for table in tables.tables for found in table.destinations)
    return tuple(
        translate_backend(wanted[name], catalog, endpoints, memo, viewer)
        if is_current(wanted[name], catalog)
        else memo(_empty_backend, name)
        for name in sorted(wanted)
    )


def _empty_backend(name: str) -> Backend:
    return Backend(name=name, endpoints=())


def used_destinations(known: tuple[KnownHost, ...], tables: TableSet, catalog: Catalog) -> tuple[Destination, ...]:
    """Whatever the routes of a view may send to and is there, each once."""
    found = dict.fromkeys(one.destination for one in known)
    found.update(dict.fromkeys(found for table in tables.tables for found in table.destinations))
    return tuple(one for one in found if is_current(one, catalog))


def selection_classes(tables: tuple[TableClasses, ...]) -> Mapping[str, RouteProperties | None]:
    """The classes that the routes of tables carry, in a fixed order, with their properties."""
    known = {name: properties for classes in tables for name, properties in classes.properties.items()}
    return {UNSELECTED: None, **{name: known[name] for name in sorted(known)}}


def matched_names(tables: tuple[MatchedNames, ...]) -> MatchedNames:
    """The headers and query parameters that routes of tables match on."""
    headers = frozenset[str]().union(*(headers for headers, _ in tables))
    return headers, frozenset[str]().union(*(parameters for _, parameters in tables))
