"""What an east-west gateway passes on: the TLS of the mesh, by the server name that stands for the destination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from meshpass.api.objectset import ObjectKey
from meshpass.ir import Backend, Endpoint, GatewayListener, TcpChain, WeightedBackend
from meshpass.memo import Memo
from meshpass.translate.backend import service_endpoints
from meshpass.translate.catalog import Catalog
from meshpass.translate.destination import Destination, make_destination
from meshpass.translate.eastwest import EastWest
from meshpass.translate.endpointindex import EndpointIndex
from meshpass.translate.gatewaynode import Gateway
from meshpass.translate.peer import make_peer
from meshpass.translate.tableroutes import TableRoutes
from meshpass.translate.virtualentry import VirtualPort

Exposed = Mapping[str, Destination]
"""Server name → destination; sorted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exposure:
    """What other clusters may ask for. The same object as long as nothing of it changed."""

    places: Mapping[tuple[str, str], Exposed] = field(default_factory=lambda: MappingProxyType({}))
    """(workspace, cluster) → what it has there."""


NO_EXPOSURE = Exposure()


class EastWestView(NamedTuple):
    """What one gateway listens on for other clusters, and where that leads."""

    listeners: tuple[GatewayListener, ...] = ()
    backends: tuple[Backend, ...] = ()
    """Sorted by name."""


def find_exposure(tables: Mapping[ObjectKey, TableRoutes], catalog: Catalog, memo: Memo) -> Exposure:
    """What each workspace shows of each of its clusters; to be called through the memo.

    That is the Services that it federates, those behind its VirtualDestinations, and what routes of any table send to:
    proxies of all clusters may use these routes. Nothing else of a cluster can be asked for.
    """
    found: dict[tuple[str, str], dict[str, Destination]] = {}
    sent = (destination for table in tables.values() for destination in table.destinations)
    for destination in dict.fromkeys((*_known(catalog), *sent)):
        peer = make_peer(destination)
        owner = catalog.workspaces.place_owner(destination.key)
        if peer is not None and owner is not None:
            for cluster in _clusters(destination, catalog):
                found.setdefault((owner, cluster), {}).setdefault(peer.sni, destination)
    return memo(_freeze, tuple((place, tuple(sorted(exposed.items()))) for place, exposed in sorted(found.items())))


def _freeze(places: tuple[tuple[tuple[str, str], tuple[tuple[str, Destination], ...]], ...]) -> Exposure:
    return Exposure(places={place: dict(exposed) for place, exposed in places})


def _known(catalog: Catalog) -> Iterator[Destination]:
    for workspace in catalog.federation.workspaces.values():
        for service, ports, _ in workspace.services.values():
            yield from (make_destination(service, port) for port in service.ports if port.number in ports)
    for entry in catalog.virtual_destinations.values():
        yield from (make_destination(entry, port) for port in entry.ports)


def _clusters(destination: Destination, catalog: Catalog) -> tuple[str, ...]:
    """The clusters whose pods are behind a destination."""
    return tuple(dict.fromkeys(service.cluster for service, _ in _services(destination, catalog)))


def _services(destination: Destination, catalog: Catalog) -> tuple[tuple[ObjectKey, int], ...]:
    entry = catalog.get(destination.key)
    port = entry.port(destination.port) if entry is not None else None
    if isinstance(port, VirtualPort):
        return port.services
    return () if port is None else ((destination.key, destination.port),)


def translate_east_west(  # noqa: PLR0917
    gateway: Gateway, east_west: EastWest, exposure: Exposure, catalog: Catalog, endpoints: EndpointIndex, memo: Memo
) -> EastWestView:
    """The ports of one gateway that other clusters come by. A connection that asks for anything else is closed."""
    listeners: list[GatewayListener] = []
    backends: dict[str, Backend] = {}
    for port, workspaces in east_west.ports.get(gateway.key, ()):
        exposed = {
            name: destination
            for workspace in workspaces
            for name, destination in exposure.places.get((workspace, gateway.key.cluster), {}).items()
        }
        names = tuple(sorted(exposed))
        if names:
            listeners.append(memo(_make_listener, gateway.address, port, names))
        for name in names:
            ready = _ready(exposed[name], gateway.key.cluster, catalog, endpoints)
            backends[name] = memo(_make_backend, name, ready)
    return EastWestView(tuple(listeners), tuple(backends[name] for name in sorted(backends)))


def _ready(destination: Destination, cluster: str, catalog: Catalog, endpoints: EndpointIndex) -> tuple[Endpoint, ...]:
    """The pods of a cluster that end the TLS of the mesh. To others it would mean nothing, and they would be open to all."""
    found: set[Endpoint] = set()
    for key, number in _services(destination, catalog):
        if key.cluster == cluster:
            pods = service_endpoints(key, number, destination.subset, catalog, endpoints)
            found.update(Endpoint(one.address, one.port) for one in pods if one.mutual_tls)
    return tuple(sorted(found))


def _make_listener(address: str, port: int, names: tuple[str, ...]) -> GatewayListener:
    return GatewayListener(
        name=f"east-west-{port}",
        address=address,
        port=port,
        chains=tuple(
            TcpChain(
                name=name,
                backends=(WeightedBackend(backend=_backend_name(name), weight=100),),
                server_names=(name,),
                only_tls=True,
            )
            for name in names
        ),
    )


def _make_backend(name: str, endpoints: tuple[Endpoint, ...]) -> Backend:
    return Backend(name=_backend_name(name), endpoints=endpoints)


def _backend_name(name: str) -> str:
    return f"east-west/{name}"
