"""Services, as routes see them: names, labels, ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshpass.api.core import Service
from meshpass.api.objectset import ObjectKey
from meshpass.translate.age import age
from meshpass.translate.clusterdomain import DEFAULT_DOMAIN
from meshpass.translate.connection import Connection
from meshpass.translate.protocol import Protocol, service_protocol
from meshpass.translate.socketaddress import is_port


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """One port of a Service."""

    name: str
    number: int
    protocol: Protocol = Protocol.HTTP

    @property
    def connection(self) -> Connection:
        """How its pods are spoken to."""
        return Connection(http2=self.protocol is Protocol.HTTP2)

    def backend(self, service: ObjectKey, subset: str = "") -> str:
        """The name of the backend that this port stands for, or of a subset of it."""
        place = f"{service.cluster}/{service.namespace}/{service.name}:{self.number}"
        return f"{place}{subset}{self.connection.suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """What routes need to know of a Service."""

    key: ObjectKey
    labels: Mapping[str, str]
    ports: tuple[ServicePort, ...]
    age: tuple[str, str, str, str] = ("", "", "", "")
    """Sorts the oldest first."""
    domain: str = DEFAULT_DOMAIN
    """What the full names of its cluster end in."""

    @property
    def host(self) -> str:
        """Its full name."""
        return f"{self.key.name}.{self.key.namespace}.svc.{self.domain}".lower()

    def port(self, number: int) -> ServicePort | None:
        """The port of this number; None if it has none."""
        return next((port for port in self.ports if port.number == number), None)

    def hostnames(self, namespace: str) -> tuple[str, ...]:
        """The names by which workloads of ``namespace`` know this Service (decision 28)."""
        qualified = f"{self.key.name}.{self.key.namespace}".lower()
        names = (qualified, f"{qualified}.svc", self.host)
        return (self.key.name.lower(), *names) if namespace == self.key.namespace else names


Services = Mapping[ObjectKey, ServiceEntry]


def make_service_entry(key: ObjectKey, service: Service, domain: str = DEFAULT_DOMAIN) -> ServiceEntry:
    """A Service with its TCP ports, each number once. It does not depend on endpoints, so routes need not follow those.

    ``domain`` is that of its cluster.
    """
    ports: dict[int, ServicePort] = {}
    for port in service.spec.ports:
        if port.protocol == "TCP" and is_port(port.port):
            ports.setdefault(port.port, ServicePort(name=port.name, number=port.port, protocol=service_protocol(port)))
    return ServiceEntry(
        key=key, labels=service.metadata.labels, ports=tuple(ports.values()), age=age(key, service), domain=domain
    )
