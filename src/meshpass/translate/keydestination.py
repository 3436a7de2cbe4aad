"""The destination of a remote key set: a Service, an ExternalService or a VirtualDestination → where to connect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from meshpass.api.common import DestinationKind, DestinationReference, ObjectSelector, PortSelector
from meshpass.api.external import ExternalEndpoint, ExternalService
from meshpass.api.objectset import ObjectKey
from meshpass.api.virtualdestination import VirtualDestination
from meshpass.ir import Endpoint
from meshpass.translate.destination import DestinationProblem, resolve_destination
from meshpass.translate.service import EndpointIndex, Services
from meshpass.translate.socketaddress import is_port
from meshpass.translate.workspace import WorkspaceIndex


class KeyDestination(NamedTuple):
    """Where the requests of a key set go."""

    name: str
    endpoints: tuple[Endpoint, ...]
    """IP addresses or host names, which are resolved when a request is made."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Destinations:
    """All that a destination may be."""

    services: Services
    endpoints: EndpointIndex
    external_services: Mapping[ObjectKey, ExternalService]
    external_endpoints: Mapping[ObjectKey, ExternalEndpoint]
    virtual_destinations: Mapping[ObjectKey, VirtualDestination]
    workspaces: WorkspaceIndex


def resolve_key_destination(
    reference: DestinationReference, referrer: ObjectKey, path: str, known: Destinations
) -> KeyDestination | DestinationProblem:
    """Where the requests go; missing parts of the reference are the referrer's own. Its workspace has to own it."""
    if reference.kind is DestinationKind.SERVICE:
        found = resolve_destination(reference, referrer, path, known.services)
        if isinstance(found, DestinationProblem):
            return found
        service = found.service.key
        place = (service.cluster, service.namespace, service.name, found.port.name)
        return KeyDestination(found.backend, known.endpoints.get(place, ()))
    if reference.ref is None or not reference.ref.name:
        return DestinationProblem(f"{path}.ref.name", "names no object")
    kind = "ExternalService" if reference.kind is DestinationKind.EXTERNAL_SERVICE else "VirtualDestination"
    key = ObjectKey(
        kind,
        reference.ref.cluster or referrer.cluster,
        reference.ref.namespace or referrer.namespace,
        reference.ref.name,
    )
    item = known.external_services.get(key) or known.virtual_destinations.get(key)
    if item is None or known.workspaces.owner(key) != known.workspaces.owner(referrer):
        place_text = f"namespace {key.namespace} of cluster {key.cluster}"
        return DestinationProblem(
            f"{path}.ref", f"there is no {kind} {key.name} of the policy's workspace in {place_text}"
        )
    ports = {port.number: port.target_port for port in item.spec.ports}
    names = {port.name: port.number for port in item.spec.ports} if isinstance(item, ExternalService) else {}
    number = _choose_port(reference.port, tuple(ports), names)
    if number is None:
        told = ", ".join(map(str, sorted(ports)))
        return DestinationProblem(f"{path}.port", f"is needed, and to be one of {kind} {key.name}: {told}")
    find = _external if isinstance(item, ExternalService) else _virtual
    endpoints = find(key, item, number, ports[number], known)  # type: ignore[arg-type]
    return KeyDestination(f"{kind}/{key.cluster}/{key.namespace}/{key.name}:{number}", tuple(sorted(set(endpoints))))


def _choose_port(wanted: PortSelector | None, ports: tuple[int, ...], names: Mapping[str, int]) -> int | None:
    if wanted is None or (wanted.number is None and wanted.name is None):
        return ports[0] if len(ports) == 1 else None
    number = wanted.number if wanted.number is not None else names.get(wanted.name or "")
    return number if number in ports else None


def _external(
    key: ObjectKey, service: ExternalService, number: int, target: PortSelector | None, known: Destinations
) -> Iterable[Endpoint]:
    """Its ExternalEndpoints; without any, its addresses or hosts."""
    name = next((port.name for port in service.spec.ports if port.number == number), "")
    port = target.number if target is not None and target.number is not None else number
    chosen = [
        endpoint
        for place, endpoint in known.external_endpoints.items()
        if service.spec.selector
        and known.workspaces.owner(place) == known.workspaces.owner(key)
        and service.spec.selector.items() <= endpoint.metadata.labels.items()
    ]
    for endpoint in chosen:
        named = {one.name: one.number for one in endpoint.spec.ports}
        wanted = (target.name if target is not None and target.name is not None else name) or name
        own = named.get(wanted, next(iter(named.values())) if len(named) == 1 else port)
        if is_port(own) and "/" not in endpoint.spec.address:
            yield Endpoint(endpoint.spec.address, own)
    if not chosen and is_port(port):
        reachable = [one for one in (*service.spec.addresses, *service.spec.hosts) if not set("*/") & set(one)]
        yield from (Endpoint(one, port) for one in reachable)


def _virtual(
    key: ObjectKey, destination: VirtualDestination, number: int, target: PortSelector | None, known: Destinations
) -> Iterable[Endpoint]:
    """The endpoints of the Services behind it, of its workspace."""
    owner = known.workspaces.owner(key)
    for service in known.services.values():
        if known.workspaces.owner(service.key) != owner:
            continue
        if not any(_selects(one, service.key, service.labels, owner or "") for one in destination.spec.services):
            continue
        wanted = target or PortSelector(number=number)
        for port in service.ports:
            if port.number == wanted.number or (wanted.name is not None and port.name == wanted.name):
                place = (service.key.cluster, service.key.namespace, service.key.name, port.name)
                yield from known.endpoints.get(place, ())


def _selects(selector: ObjectSelector, key: ObjectKey, labels: Mapping[str, str], workspace: str) -> bool:
    return (
        selector.name in {"", key.name}
        and selector.namespace in {"", key.namespace}
        and selector.cluster in {"", key.cluster}
        and selector.workspace in {"", workspace}
        and selector.labels.items() <= labels.items()
    )
