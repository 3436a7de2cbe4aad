"""VirtualDestination of ``networking.gloo.solo.io/v2``."""

from __future__ import annotations

from typing import Annotated

from meshpass.api.common import ClientMode, ObjectSelector, Port, PortProtocol, PortSelector
from meshpass.api.metadata import ApiObject
from meshpass.api.status import VirtualDestinationStatus
from meshpass.api.struct import ApiStruct, Rule, doc


class VirtualDestinationPort(ApiStruct):
    """A port of a virtual destination."""

    number: Annotated[Port, doc("Port number that clients use")]
    protocol: Annotated[PortProtocol, doc("Protocol of the port")]
    target_port: Annotated[PortSelector | None, doc("Port behind it; unset is the same number")] = None


class VirtualDestinationSpec(ApiStruct):
    """Hosts of their own for backends in several clusters."""

    needs = (("ports",), ("hosts", "services", "external_services", "external_workloads"))
    rules = (
        Rule(
            "has(self.hosts) || has(self.services) || has(self.externalServices) || has(self.externalWorkloads)",
            "At least one of hosts, services, externalServices, or externalWorkloads must be set.",
            instead_of=("hosts", "services", "external_services", "external_workloads"),
        ),
        Rule(
            "has(self.services) || has(self.externalServices) || has(self.externalWorkloads)"
            " || !self.ports.exists(p, has(p.targetPort))",
            "When using targetPort, at least one of services, externalServices, or externalWorkloads must be set.",
        ),
    )

    hosts: Annotated[tuple[str, ...], doc("Hosts, without wildcards")] = ()
    services: Annotated[tuple[ObjectSelector, ...], doc("Services behind it")] = ()
    external_services: Annotated[tuple[ObjectSelector, ...], doc("External services behind it")] = ()
    external_workloads: Annotated[tuple[ObjectSelector, ...], doc("External workloads behind it")] = ()
    ports: Annotated[tuple[VirtualDestinationPort, ...], doc("Ports that clients use", min_length=1)] = ()
    client_mode: Annotated[ClientMode | None, doc("TLS between clusters; unset is the workspace's")] = None


class VirtualDestination(ApiObject):
    """Gives backends in several clusters one host."""

    spec: Annotated[VirtualDestinationSpec, doc("Hosts and backends")] = VirtualDestinationSpec()
    status: Annotated[VirtualDestinationStatus | None, doc("What became of it; written by the control plane")] = None
