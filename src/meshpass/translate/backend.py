"""Destination → Backend: where its requests go now, and how they are sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshpass.api.core import Secret
from meshpass.api.objectset import ObjectKey
from meshpass.ir import Backend, Endpoint, OutlierDetection, PeerTls, UpstreamTls
from meshpass.ir import Secret as ProxySecret
from meshpass.memo import Memo
from meshpass.translate.catalog import Catalog
from meshpass.translate.connection import Connection
from meshpass.translate.credential import authorities_name, make_authorities, make_certificate, named_secret
from meshpass.translate.destination import Destination, make_destination
from meshpass.translate.endpointindex import EndpointIndex
from meshpass.translate.endpointplace import PodEndpoint
from meshpass.translate.externalentry import ExternalPort
from meshpass.translate.filecredential import FileCredentials, FileProblem
from meshpass.translate.peer import make_peer
from meshpass.translate.service import ServicePort
from meshpass.translate.socketaddress import is_address, is_loopback
from meshpass.translate.viewer import Viewer
from meshpass.translate.virtualentry import VirtualPort


def translate_backend(
    destination: Destination, catalog: Catalog, endpoints: EndpointIndex, memo: Memo, viewer: Viewer | None = None
) -> Backend:
    """The backend that a destination names, as proxies of the viewer's cluster have it. The same object as long as it is equal.

    A frozen route may name what is gone by now, or must not be sent to any more: its backend has no endpoints.
    """
    found = find_endpoints(destination, catalog, endpoints, viewer)
    connection = find_connection(destination, catalog) or Connection()
    peer, anywhere = None, False
    if endpoints.has_identities:
        peer = make_peer(destination) if connection.tls is None else None
        anywhere = _is_anywhere(destination, catalog, found)
    port = _find_port(destination, catalog)
    return memo(
        _make_backend,
        destination.backend,
        found,
        connection.http2,
        connection.resolve or any(one.mutual_tls and not is_address(one.address) for one in found),
        connection.tls,
        peer,
        anywhere,
        isinstance(port, VirtualPort) and port.failover,
    )


def _make_backend(  # noqa: PLR0917
    name: str,
    endpoints: tuple[Endpoint, ...],
    http2: bool,
    resolve: bool,
    tls: UpstreamTls | None,
    peer: PeerTls | None,
    anywhere: bool,
    failover: bool,
) -> Backend:
    return Backend(
        name=name,
        endpoints=endpoints,
        http2=http2,
        resolve=resolve,
        tls=tls,
        peer=peer,
        outlier=OutlierDetection() if failover else None,
        anywhere=anywhere,
    )


def _is_anywhere(destination: Destination, catalog: Catalog, endpoints: tuple[Endpoint, ...]) -> bool:
    """True for what has addresses that are no pods'."""
    port = _find_port(destination, catalog)
    outside = isinstance(port, ExternalPort) or (isinstance(port, VirtualPort) and bool(port.external_services))
    # From a pod on loopback a gateway that is elsewhere cannot be reached; from one elsewhere it makes no difference.
    return outside or any(one.mutual_tls and not is_loopback(one.address) for one in endpoints)


def find_connection(destination: Destination, catalog: Catalog) -> Connection | None:
    """How the backend of a destination is spoken to; None if nothing may be sent there."""
    match _find_port(destination, catalog):
        case None:
            return None
        case ServicePort() as port:
            return port.connection
        case port:
            return port.tunnel if destination.tunnel else port.requests


def _find_port(destination: Destination, catalog: Catalog) -> ServicePort | ExternalPort | VirtualPort | None:
    """The port, if it is there and may be sent to."""
    entry = catalog.get(destination.key)
    port = entry.port(destination.port) if entry is not None else None
    if port is None or isinstance(port, ServicePort):
        return port
    return None if port.why_not(http=not destination.tunnel) else port


def find_endpoints(
    destination: Destination, catalog: Catalog, endpoints: EndpointIndex, viewer: Viewer | None = None
) -> tuple[Endpoint, ...]:
    """Where the requests of a destination go now; sorted, each once. Without a viewer, to pods wherever they are."""
    match _find_port(destination, catalog):
        case None:
            return ()
        case ServicePort():
            pods = service_endpoints(destination.key, destination.port, destination.subset, catalog, endpoints)
            owner = catalog.workspaces.place_owner(destination.key)
            return pods if viewer is None else viewer.reach(owner, destination.key.cluster, pods)
        case VirtualPort() as port:
            return _virtual_endpoints(port, destination, catalog, endpoints, viewer)
        case port:
            by_name = catalog.external_services[destination.key].by_name and destination.host
            return tuple(one for one in port.endpoints if not by_name or one.address == destination.host)


def _virtual_endpoints(
    port: VirtualPort, destination: Destination, catalog: Catalog, endpoints: EndpointIndex, viewer: Viewer | None
) -> tuple[Endpoint, ...]:
    """Those of the viewer's own cluster come first; others have what these leave."""
    owner = catalog.virtual_destinations[destination.key].workspace
    found: set[Endpoint] = set()
    for key, number in port.services:
        pods = service_endpoints(key, number, destination.subset, catalog, endpoints)
        reached = pods if viewer is None else viewer.reach(owner, key.cluster, pods)
        is_far = viewer is not None and key.cluster != viewer.cluster
        found.update(one._replace(priority=1) if is_far else one for one in reached)
    for key, number in port.external_services:
        service = catalog.external_services[key]
        behind = service.port(number)
        if behind is not None:
            one = make_destination(service, behind, http=not destination.tunnel)
            found.update(find_endpoints(one, catalog, endpoints))
    return tuple(sorted(found))


def service_endpoints(
    key: ObjectKey, number: int, subset: tuple[tuple[str, str], ...], catalog: Catalog, endpoints: EndpointIndex
) -> tuple[Endpoint, ...]:
    """The ready pods behind a port of a Service, of those with these labels; sorted, each once."""
    found = endpoints.places.get((key.cluster, key.namespace, key.name, catalog.port_name(key, number)), ())
    if subset:
        found = tuple(one for one in found if _is_in_subset(one, key, endpoints, dict(subset)))
    return tuple(dict.fromkeys(endpoint for endpoint, _ in found))


def _is_in_subset(one: PodEndpoint, service: ObjectKey, endpoints: EndpointIndex, labels: Mapping[str, str]) -> bool:
    """True when the pod behind an endpoint has these labels; false for one behind which no pod is known."""
    pod = endpoints.pods.get(ObjectKey("Pod", service.cluster, service.namespace, one.pod)) if one.pod else None
    pod = pod or endpoints.pods_by_address.get((service.cluster, one.endpoint.address))
    return pod is not None and labels.items() <= pod.metadata.labels.items()


def backend_secrets(
    destinations: Iterable[Destination],
    catalog: Catalog,
    secrets: Mapping[ObjectKey, Secret],
    files: FileCredentials,
    memo: Memo,
) -> tuple[ProxySecret, ...]:
    """The certificates that the backends of these destinations name; sorted by name."""
    found: dict[str, ProxySecret] = {}
    for destination in destinations:
        connection = find_connection(destination, catalog)
        tls = connection.tls if connection is not None else None
        for name in (tls.certificate, tls.authorities) if tls is not None else ():
            if name and name not in found:
                made = files.found.get(name) or _make_secret(name, secrets, memo)
                if made is not None and not isinstance(made, FileProblem):
                    found[name] = made
    return tuple(found[name] for name in sorted(found))


def _make_secret(name: str, secrets: Mapping[ObjectKey, Secret], memo: Memo) -> ProxySecret | None:
    key = named_secret(name)
    return memo(make_authorities if name == authorities_name(key) else make_certificate, key, secrets[key])
