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
from meshpass.translate.policyset import MatchedNames
from meshpass.translate.routetable import TableRoutes
from meshpass.translate.selection_class import UNSELECTED, RouteProperties
from meshpass.translate.service import EndpointIndex, ServiceEntry, Services, translate_backend
from meshpass.translate.settings import FeatureGates
from meshpass.translate.sidecar import ROUTE_CONFIGURATION
from meshpass.translate.tableset import TableSet

HTTP_PORT = 80

NO_HOST = VirtualHost(
    name="*",
    domains=("*",),
    routes=(
        Route(
            name="no-route-in-the-mesh",
            match=RouteMatch(),
            action=DirectResponse(status=502, body="no route in the mesh for ", names_host=True),
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


def services_of(services: Services, cluster: str) -> tuple[ServiceEntry, ...]:
    """The Services of one cluster, sorted."""
    return tuple(service for key, service in services.items() if key.cluster == cluster)


def translate_routes(
    namespace: str,
    services: tuple[ServiceEntry, ...],
    tables: TableSet,
    gates: FeatureGates,
    memo: Memo,
) -> RouteConfiguration:
    """All hosts that sidecars of a namespace know: the tables', the Services', and the answer to any other.

    A table whose host is a name of a Service, as workloads of the table's namespace know it, takes that Service's place
    on all its ports. Of several tables with one host the older comes first.
    """
    of_service: dict[ObjectKey, list[TableRoutes]] = {}
    of_host: dict[str, list[TableRoutes]] = {}
    for table in tables.tables:
        by_name = memo(_services_by_name, services, table.key.namespace)
        named = {by_name[host] for host in table.hosts if host in by_name}
        for key in sorted(named):
            of_service.setdefault(key, []).append(table)
        for host in table.hosts:
            if host not in by_name:
                of_host.setdefault(host, []).append(table)
    deny = gates.GatewayDefaultDenyAllHTTPRequests
    hosts: list[VirtualHost] = []
    for service in services:
        names = service.hostnames(namespace)
        bound = of_service.get(service.key)
        if bound is not None:
            domains = tuple(domain for port in service.ports for domain in _domains(names, port.number))
            hosts.append(memo(_table_host, names[-1], domains, tuple(bound), deny))
        else:
            hosts.extend(memo(_service_hosts, service, names))
    hosts.extend(memo(_table_host, host, _host_domains(host), tuple(of_host[host]), deny) for host in sorted(of_host))
    return RouteConfiguration(name=ROUTE_CONFIGURATION, virtual_hosts=(*_unique_domains(hosts), NO_HOST))


def _services_by_name(services: tuple[ServiceEntry, ...], namespace: str) -> Mapping[str, ObjectKey]:
    return {name: service.key for service in reversed(services) for name in service.hostnames(namespace)}


def _unique_domains(hosts: Iterable[VirtualHost]) -> Iterable[VirtualHost]:
    """The hosts, each domain with the first that has it: Envoy refuses all routes if a domain is there twice."""
    taken: set[str] = set()
    for host in hosts:
        free = tuple(domain for domain in host.domains if domain not in taken)
        taken.update(free)
        if free:
            yield host if free == host.domains else replace(host, domains=free)


def _host_domains(host: str) -> tuple[str, ...]:
    return _domains((host,), HTTP_PORT)


def _domains(names: Iterable[str], port: int) -> tuple[str, ...]:
    """What a request for these names on a port has in its Host header; port 80 may be left out."""
    with_port = tuple(f"{name}:{port}" for name in names)
    return (*names, *with_port) if port == HTTP_PORT else with_port


def _table_host(
    name: str, domains: tuple[str, ...], tables: tuple[TableRoutes, ...], deny_by_default: bool
) -> VirtualHost:
    denied = deny_by_default and any(table.requires_auth for table in tables)
    return VirtualHost(
        name=name,
        domains=domains,
        routes=(*(route for table in tables for route in table.routes), *((DENIED,) if denied else ())),
        sources=frozenset(ObjectRef(*table.key) for table in tables),
    )


def _service_hosts(service: ServiceEntry, names: tuple[str, ...]) -> tuple[VirtualHost, ...]:
    """A Service's own names, without any table: every request goes to it."""
    hosts = []
    for port in service.ports:
        backend = port.backend(service.key)
        forward = Forward(backends=(WeightedBackend(backend=backend, weight=100),))
        route = Route(name=backend, match=RouteMatch(), action=forward, selection_class=UNSELECTED)
        hosts.append(VirtualHost(name=backend, domains=_domains(names, port.number), routes=(route,)))
    return tuple(hosts)


def translate_backends(
    services: tuple[ServiceEntry, ...], tables: TableSet, endpoints: EndpointIndex, memo: Memo
) -> tuple[Backend, ...]:
    """Every backend that the routes of a view may send to, sorted by name."""
    wanted: dict[str, Backend] = {}
    places = [(service, port) for service in services for port in service.ports]
    places.extend((found.service, found.port) for table in tables.tables for found in table.destinations)
    for service, port in places:
        key = service.key
        found = endpoints.get((key.cluster, key.namespace, key.name, port.name), ())
        wanted[port.backend(key)] = memo(translate_backend, service, port, found)
    return tuple(wanted[name] for name in sorted(wanted))


def selection_classes(tables: TableSet) -> Mapping[str, RouteProperties | None]:
    """The classes that the routes of a view carry, in a fixed order, with their properties."""
    known = {name: properties for table in tables.tables for name, properties in table.classes.items()}
    return {UNSELECTED: None, **{name: known[name] for name in sorted(known)}}


def matched_names(tables: TableSet) -> MatchedNames:
    """The headers and query parameters that routes of a view match on."""
    matches = [route.match for table in tables.tables for route in table.routes]
    headers = frozenset(header.name for match in matches for header in match.headers)
    return headers, frozenset(parameter.name for match in matches for parameter in match.query_parameters)
