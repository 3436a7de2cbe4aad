"""Destination → Backend: where its requests go now, and how they are sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from meshpass.api.core import EndpointSlice, Pod, Secret
from meshpass.api.objectset import ObjectKey
from meshpass.ir import Backend, Endpoint, UpstreamTls
from meshpass.ir import Secret as ProxySecret
from meshpass.memo import Memo
from meshpass.translate.catalog import Catalog
from meshpass.translate.connection import Connection
from meshpass.translate.credential import authorities_name, make_authorities, make_certificate, named_secret
from meshpass.translate.destination import Destination, make_destination
from meshpass.translate.externalentry import ExternalPort
from meshpass.translate.filecredential import FileCredentials, FileProblem
from meshpass.translate.service import ServicePort
from meshpass.translate.socketaddress import make_endpoint
from meshpass.translate.virtualentry import VirtualPort

SERVICE_NAME_LABEL = "kubernetes.io/service-name"

ServicePlace = tuple[str, str, str, str]
"""(cluster, namespace, Service, port name)."""


class PodEndpoint(NamedTuple):
    """An address, and the name of the pod behind it as far as that is known."""

    endpoint: Endpoint
    pod: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EndpointIndex:
    """The ready endpoints of every Service port, and the pods behind them."""

    places: Mapping[ServicePlace, tuple[PodEndpoint, ...]]
    """Each once, sorted."""
    pods: Mapping[ObjectKey, Pod]
    pods_by_address: Mapping[tuple[str, str], Pod]
    """(cluster, IP address) → pod."""


def index_endpoints(
    slices: Mapping[ObjectKey, EndpointSlice], pods: Mapping[ObjectKey, Pod], memo: Memo
) -> EndpointIndex:
    """The ready endpoints; to be called through the memo. What did not change keeps its identity."""
    return EndpointIndex(places=memo(_index_places, slices, memo), pods=pods, pods_by_address=memo(_by_address, pods))


def _index_places(
    slices: Mapping[ObjectKey, EndpointSlice], memo: Memo
) -> Mapping[ServicePlace, tuple[PodEndpoint, ...]]:
    found: dict[ServicePlace, list[tuple[PodEndpoint, ...]]] = defaultdict(list)
    for key in sorted(slices):
        for place, endpoints in memo(_read_slice, key, slices[key]):
            found[place].append(endpoints)
    return {place: several[0] if len(several) == 1 else _join(several) for place, several in found.items()}


def _read_slice(
    key: ObjectKey, endpoint_slice: EndpointSlice
) -> tuple[tuple[ServicePlace, tuple[PodEndpoint, ...]], ...]:
    service = endpoint_slice.metadata.labels.get(SERVICE_NAME_LABEL)
    if service is None:
        return ()
    ready = [
        (address, one.target_ref.name if one.target_ref is not None and one.target_ref.kind == "Pod" else "")
        for one in endpoint_slice.endpoints
        if one.conditions.ready is not False
        for address in one.addresses
    ]
    return tuple(
        ((key.cluster, key.namespace, service, port.name), tuple(sorted(set(_pod_endpoints(ready, port.port)))))
        for port in endpoint_slice.ports
        if port.port is not None
    )


def _pod_endpoints(ready: Iterable[tuple[str, str]], port: int) -> Iterable[PodEndpoint]:
    for address, pod in ready:
        endpoint = make_endpoint(address, port)
        if endpoint is not None:
            yield PodEndpoint(endpoint, pod)


def _join(several: Iterable[tuple[PodEndpoint, ...]]) -> tuple[PodEndpoint, ...]:
    return tuple(sorted({endpoint for endpoints in several for endpoint in endpoints}))


def _by_address(pods: Mapping[ObjectKey, Pod]) -> Mapping[tuple[str, str], Pod]:
    """Pods that have ended have left their address to others."""
    return {
        (key.cluster, pod.status.pod_ip): pod
        for key, pod in pods.items()
        if pod.status.pod_ip and pod.status.phase not in {"Succeeded", "Failed"}
    }


def translate_backend(destination: Destination, catalog: Catalog, endpoints: EndpointIndex, memo: Memo) -> Backend:
    """The backend that a destination names. The same object as long as it is equal.

    A frozen route may name what is gone by now, or must not be sent to any more: its backend has no endpoints.
    """
    found = find_endpoints(destination, catalog, endpoints)
    connection = find_connection(destination, catalog) or Connection()
    return memo(_make_backend, destination.backend, found, connection.http2, connection.resolve, connection.tls)


def _make_backend(
    name: str, endpoints: tuple[Endpoint, ...], http2: bool, resolve: bool, tls: UpstreamTls | None
) -> Backend:
    return Backend(name=name, endpoints=endpoints, http2=http2, resolve=resolve, tls=tls)


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


def find_endpoints(destination: Destination, catalog: Catalog, endpoints: EndpointIndex) -> tuple[Endpoint, ...]:
    """Where the requests of a destination go now; sorted, each once."""
    match _find_port(destination, catalog):
        case None:
            return ()
        case ServicePort():
            return _service_endpoints(destination.key, destination.port, destination.subset, catalog, endpoints)
        case VirtualPort() as port:
            return _virtual_endpoints(port, destination, catalog, endpoints)
        case port:
            by_name = catalog.external_services[destination.key].by_name and destination.host
            return tuple(one for one in port.endpoints if not by_name or one.address == destination.host)


def _virtual_endpoints(
    port: VirtualPort, destination: Destination, catalog: Catalog, endpoints: EndpointIndex
) -> tuple[Endpoint, ...]:
    found: set[Endpoint] = set()
    for key, number in port.services:
        found.update(_service_endpoints(key, number, destination.subset, catalog, endpoints))
    for key, number in port.external_services:
        service = catalog.external_services[key]
        behind = service.port(number)
        if behind is not None:
            one = make_destination(service, behind, http=not destination.tunnel)
            found.update(find_endpoints(one, catalog, endpoints))
    return tuple(sorted(found))


def _service_endpoints(
    key: ObjectKey, number: int, subset: tuple[tuple[str, str], ...], catalog: Catalog, endpoints: EndpointIndex
) -> tuple[Endpoint, ...]:
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
