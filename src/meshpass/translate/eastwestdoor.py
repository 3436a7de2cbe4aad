"""Door: a Service in front of gateways, as the way into its cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from meshpass.api.admin import EastWestGateway
from meshpass.api.common import PortSelector
from meshpass.api.core import Service
from meshpass.api.objectset import ObjectKey
from meshpass.translate.endpointplace import Places
from meshpass.translate.gatewayworkload import Entrance, GatewayWorkload
from meshpass.translate.workspace import WorkspaceIndex

LABELS: Mapping[str, str] = MappingProxyType({"istio": "eastwestgateway"})
"""Of the Services of east-west gateways, where settings do not select them otherwise."""

TakenPorts = Mapping[ObjectKey, frozenset[int]]
"""Gateway pod → the ports on which VirtualGateways have listeners."""


class DoorPort(NamedTuple):
    """A port of a gateway's Service, on one of the pods behind it."""

    pod: ObjectKey
    address: str
    """Of the pod."""
    entrance: Entrance
    is_ready: bool
    """False for a pod that is known to be away."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Door:
    """A Service in front of gateways."""

    key: ObjectKey
    service: Service
    ports: tuple[DoorPort, ...]
    taken: TakenPorts

    def named(self, wanted: PortSelector) -> tuple[DoorPort, ...]:
        """The ports that are wanted."""
        return tuple(
            one
            for one in self.ports
            if wanted.number in {None, one.entrance.number} and wanted.name in {None, one.entrance.name}
        )

    def open(self, wanted: PortSelector) -> tuple[DoorPort, ...]:
        """The ports that are wanted, and free."""
        return tuple(one for one in self.named(wanted) if one.entrance.target not in self.taken.get(one.pod, ()))


def find_doors(
    workloads: tuple[GatewayWorkload, ...], services: Mapping[ObjectKey, Service], places: Places, taken: TakenPorts
) -> tuple[Door, ...]:
    """Every Service in front of a gateway, sorted."""
    behind: dict[ObjectKey, list[DoorPort]] = {}
    for workload in workloads:
        address = workload.pod.status.pod_ip
        for service in workload.services:
            key = service.key
            for entrance in service.entrances:
                known = places.get((key.cluster, key.namespace, key.name, entrance.name))
                is_ready = known is None or any(endpoint.address == address for endpoint, _ in known)
                behind.setdefault(key, []).append(DoorPort(workload.key, address, entrance, is_ready))
    return tuple(
        Door(key=key, service=services[key], ports=tuple(ports), taken=taken) for key, ports in sorted(behind.items())
    )


def is_for_all(service: Service, owner: str | None) -> bool:
    """True for a Service by which every workspace may go, whose workspace ``owner`` is."""
    return owner is not None and LABELS.items() <= service.metadata.labels.items()


def is_selected(selector: EastWestGateway, door: Door, workspace: str, workspaces: WorkspaceIndex) -> bool:
    """True for a door that the settings of a workspace select, among those that it may use.

    Those are what it has or imports, and whatever has the label of east-west gateways: gateways are one team's, and the way
    between clusters is everybody's.
    """
    labels = door.service.metadata.labels
    wanted = selector.selector
    owner = workspaces.place_owner(door.key)
    if not is_for_all(door.service, owner) and not workspaces.sharing.shares(door.key, labels, owner, workspace):
        return False
    if wanted is None:
        return LABELS.items() <= labels.items()
    return (
        wanted.name in {"", door.key.name}
        and wanted.namespace in {"", door.key.namespace}
        and wanted.cluster in {"", door.key.cluster}
        and wanted.workspace in {"", owner}
        and wanted.labels.items() <= labels.items()
    )
