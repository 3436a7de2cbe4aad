"""Pods → sidecars: where each proxy listens, and what it sends to its own application."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter

import msgspec

from meshpass.api.core import Pod, Service
from meshpass.api.objectset import ObjectKey
from meshpass.ir import Backend, Endpoint, InboundListener, Listener, OutboundListener
from meshpass.translate.podport import is_running, selects, target_ports
from meshpass.translate.protocol import Protocol, service_protocol, speaks_grpc
from meshpass.translate.selection_class import DestinationPort, inbound_class
from meshpass.translate.socketaddress import is_port, make_endpoint

PROXY_ANNOTATION = "meshpass.dev/proxy"
"""``sidecar`` on every pod that has one."""
APP_ADDRESSES_ANNOTATION = "meshpass.dev/app-addresses"
"""JSON: container port → real address of the application, where that is not the port on 127.0.0.1."""
OUTBOUND_PORT = 15001
ROUTE_CONFIGURATION = "outbound"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """One proxy beside a workload."""

    node: str
    key: ObjectKey
    labels: Mapping[str, str]
    listeners: tuple[Listener, ...]
    application: tuple[Backend, ...]
    inbound: Mapping[str, tuple[DestinationPort, ...]]
    """Selection class of an inbound listener → the Service ports that lead to it."""
    grpc: frozenset[int]
    """The ports of which every Service says that gRPC is spoken there."""


def find_sidecars(pods: Mapping[ObjectKey, Pod], services: Mapping[ObjectKey, Service]) -> tuple[Sidecar, ...]:
    """Every sidecar of a pod that runs and has an address, sorted by node."""
    # By one label of each selector: a pod is compared with the Services that it may be behind, not with all.
    by_label: dict[tuple[str, str, tuple[str, str]], list[tuple[ObjectKey, Service]]] = {}
    for key, service in services.items():
        for label in islice(service.spec.selector.items(), 1):
            by_label.setdefault((key.cluster, key.namespace, label), []).append((key, service))
    return tuple(
        _translate_pod(
            key,
            pod,
            sorted(
                (one for label in pod.metadata.labels.items() for one in by_label.get((*key[1:3], label), ())),
                key=itemgetter(0),
            ),
        )
        for key, pod in sorted(pods.items())
        if pod.metadata.annotations.get(PROXY_ANNOTATION) == "sidecar"
        and is_running(pod)
        and make_endpoint(pod.status.pod_ip, OUTBOUND_PORT) is not None
    )


def _translate_pod(key: ObjectKey, pod: Pod, services: Iterable[tuple[ObjectKey, Service]]) -> Sidecar:
    address = pod.status.pod_ip
    leading: dict[int, list[DestinationPort]] = {}
    protocols: dict[int, set[Protocol]] = {}
    not_grpc: set[int] = set()
    for service_key, service in services:
        if selects(service, pod):
            for port, target in target_ports(service, pod):
                if not is_port(port.port) or not is_port(target) or target == OUTBOUND_PORT:
                    continue
                leading.setdefault(target, []).append((service_key, port.port))
                protocols.setdefault(target, set()).add(service_protocol(port))
                if not speaks_grpc(port):
                    not_grpc.add(target)
    applications = _app_addresses(pod)
    classes = {port: inbound_class(key, port) for port in leading}
    outbound = OutboundListener(
        name="outbound", address=address, port=OUTBOUND_PORT, route_configuration=ROUTE_CONFIGURATION
    )
    # What differs but for the address has another name: a cluster does not change under its name.
    backends = {
        port: f"inbound:{port}:http2" if Protocol.HTTP2 in spoken else f"inbound:{port}"
        for port, spoken in protocols.items()
    }
    inbound = (
        InboundListener(
            name=f"inbound-{port}",
            address=address,
            port=port,
            backend=backends[port],
            selection_class=classes[port],
            tcp=not any(spoken.http for spoken in protocols[port]),
        )
        for port in sorted(leading)
    )
    return Sidecar(
        node=f"sidecar~{key.cluster}~{key.namespace}~{key.name}",
        key=key,
        labels=pod.metadata.labels,
        listeners=(outbound, *inbound),
        application=tuple(
            Backend(
                name=backends[port],
                endpoints=(applications.get(port, Endpoint("127.0.0.1", port)),),
                http2=Protocol.HTTP2 in protocols[port],
            )
            for port in sorted(leading)
        ),
        inbound={classes[port]: tuple(destinations) for port, destinations in leading.items()},
        grpc=frozenset(leading.keys() - not_grpc),
    )


def _app_addresses(pod: Pod) -> Mapping[int, Endpoint]:
    text = pod.metadata.annotations.get(APP_ADDRESSES_ANNOTATION)
    if text is None:
        return {}
    try:
        addresses = msgspec.json.decode(text, type=dict[int, str])
    except msgspec.MsgspecError:
        return {}
    found = {}
    for port, address in addresses.items():
        host, _, number = address.rpartition(":")
        endpoint = make_endpoint(host, int(number)) if number.isascii() and number.isdecimal() else None
        if endpoint is not None:
            found[port] = endpoint
    return found
