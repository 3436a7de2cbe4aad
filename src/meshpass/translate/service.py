"""Services and their endpoints, indexed for route translation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from meshpass.api.core import EndpointSlice, Service
from meshpass.api.objectset import ObjectKey
from meshpass.ir import Backend, Endpoint
from meshpass.translate.socketaddress import is_port, make_endpoint

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
CLUSTER_DOMAIN = "cluster.local"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """One port of a Service."""

    name: str
    number: int

    def backend(self, service: ObjectKey) -> str:
        """The name of the backend that this port stands for."""
        return f"{service.cluster}/{service.namespace}/{service.name}:{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """What routes need to know of a Service."""

    key: ObjectKey
    labels: Mapping[str, str]
    ports: tuple[ServicePort, ...]

    def hostnames(self, namespace: str) -> tuple[str, ...]:
        """The names by which workloads of ``namespace`` know this Service (decision 28)."""
        qualified = f"{self.key.name}.{self.key.namespace}".lower()
        names = (qualified, f"{qualified}.svc", f"{qualified}.svc.{CLUSTER_DOMAIN}")
        return (self.key.name.lower(), *names) if namespace == self.key.namespace else names


Services = Mapping[ObjectKey, ServiceEntry]
EndpointIndex = Mapping[tuple[str, str, str, str], tuple[Endpoint, ...]]
"""(cluster, namespace, Service, port name) → ready endpoints."""


def index_services(services: Mapping[ObjectKey, Service]) -> Services:
    """Every Service with its TCP ports. It does not depend on endpoints, so routes need not follow those."""
    return {
        key: ServiceEntry(
            key=key,
            labels=service.metadata.labels,
            ports=_index_ports(service),
        )
        for key, service in sorted(services.items())
    }


def _index_ports(service: Service) -> tuple[ServicePort, ...]:
    """The TCP ports, each number once."""
    ports: dict[int, ServicePort] = {}
    for port in service.spec.ports:
        if port.protocol == "TCP" and is_port(port.port):
            ports.setdefault(port.port, ServicePort(name=port.name, number=port.port))
    return tuple(ports.values())


def index_endpoints(slices: Mapping[ObjectKey, EndpointSlice]) -> EndpointIndex:
    """The ready endpoints of every Service port, each once, sorted."""
    found: dict[tuple[str, str, str, str], set[Endpoint]] = defaultdict(set)
    for key, endpoint_slice in slices.items():
        service = endpoint_slice.metadata.labels.get(SERVICE_NAME_LABEL)
        if service is None:
            continue
        ready = [
            address
            for endpoint in endpoint_slice.endpoints
            if endpoint.conditions.ready is not False
            for address in endpoint.addresses
        ]
        for port in endpoint_slice.ports:
            if port.port is not None:
                place = (key.cluster, key.namespace, service, port.name)
                made = (make_endpoint(address, port.port) for address in ready)
                found[place].update(endpoint for endpoint in made if endpoint is not None)
    return {place: tuple(sorted(endpoints)) for place, endpoints in found.items()}


def translate_backend(service: ServiceEntry, port: ServicePort, endpoints: tuple[Endpoint, ...]) -> Backend:
    """The backend of one Service port."""
    return Backend(name=port.backend(service.key), endpoints=endpoints)
