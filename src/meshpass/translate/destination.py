"""DestinationReference → what it means: a port of a Service, an ExternalService or a VirtualDestination."""

from __future__ import annotations

from typing import NamedTuple

from meshpass.api.common import DestinationKind, DestinationReference
from meshpass.api.objectset import ObjectKey
from meshpass.ir import Retries
from meshpass.translate.catalog import Catalog
from meshpass.translate.externalentry import ExternalEntry, ExternalPort
from meshpass.translate.finding import NO_EFFECT_YET
from meshpass.translate.protocol import Protocol
from meshpass.translate.service import ServiceEntry, ServicePort
from meshpass.translate.socketaddress import is_address
from meshpass.translate.virtualentry import VirtualEntry, VirtualPort

KINDS = {
    DestinationKind.SERVICE: "Service",
    DestinationKind.EXTERNAL_SERVICE: "ExternalService",
    DestinationKind.VIRTUAL_DESTINATION: "VirtualDestination",
}


class Destination(NamedTuple):
    """Something that requests, or connections, are sent to."""

    key: ObjectKey
    """The Service, ExternalService or VirtualDestination."""
    port: int
    backend: str
    """The name of its backend."""
    host: str
    """Its own name, for requests that are to have it; empty if it has none."""
    http: bool
    """True: it takes single requests. False: connections are passed on to it as they are."""
    subset: tuple[tuple[str, str], ...] = ()
    """Only the pods with these labels; sorted. Empty: all."""
    tunnel: bool = False
    """True: reached as for connections that are passed on, which may be without the TLS that requests are sent with."""
    failover: bool = False
    """True: there are others to stand in for those that fail, in other clusters."""


FAILOVER_RETRIES = Retries(attempts=2, retry_on="connect-failure,refused-stream,reset-before-request", elsewhere=True)
"""For requests that no application has seen: they are sent to another cluster. Any other may have been acted on."""


def own_retries(destinations: tuple[Destination, ...]) -> Retries | None:
    """The retries of a route that sends requests there, where no policy says any."""
    return FAILOVER_RETRIES if any(one.failover and one.http for one in destinations) else None


class DestinationProblem(NamedTuple):
    """Why a reference means nothing that can be reached."""

    path: str
    message: str


def resolve_destination(
    reference: DestinationReference,
    referrer: ObjectKey,
    path: str,
    catalog: Catalog,
    *,
    http: bool = True,
    by_proxies: bool = True,
) -> Destination | DestinationProblem:
    """What a reference of ``referrer`` means; missing parts are the referrer's own. Its workspace has it, or imports it.

    ``http`` is false for routes that pass on connections: where the port speaks TLS and the object does not say how,
    it is then the client that speaks it. ``by_proxies`` is false where no proxy sends anything: then it does not matter
    whether the Services of another cluster are federated.
    """
    if reference.aws_lambda is not None:
        return DestinationProblem(f"{path}.awsLambda", NO_EFFECT_YET)
    kind = KINDS[reference.kind]
    if reference.ref is None or not reference.ref.name:
        return DestinationProblem(f"{path}.ref.name", f"names no {kind}")
    key = ObjectKey(
        kind,
        reference.ref.cluster or referrer.cluster,
        reference.ref.namespace or referrer.namespace,
        reference.ref.name,
    )
    entry = catalog.get(key)
    owner, user = catalog.workspaces.place_owner(key), catalog.workspaces.owner(referrer)
    if entry is None or not catalog.workspaces.sharing.shares(key, entry.labels, owner, user):
        return _missing(key, entry, user, path, catalog)
    subset = tuple(sorted(reference.subset.items()))
    if subset and isinstance(entry, ExternalEntry):
        return DestinationProblem(f"{path}.subset", f"{kind} {key.name} has no pods, and so no subsets of them")
    wanted = reference.port
    known = ", ".join(f"{port.number} ({port.name})" if port.name else str(port.number) for port in entry.ports)
    if wanted is None or (wanted.number is None and wanted.name is None):
        found = entry.ports[0] if len(entry.ports) == 1 else None
        message = f"is needed: {kind} {key.name} has the ports {known}"
    else:
        found = next((port for port in entry.ports if _is_wanted(port, wanted.number, wanted.name)), None)
        named = wanted.number if wanted.number is not None else wanted.name
        message = f"{kind} {key.name} has no port {named}; it has {known}"
    if found is None:
        return DestinationProblem(f"{path}.port", message)
    if isinstance(found, ServicePort):
        # Configuration is kept in the management cluster for all clusters: what it refers to is of another one always.
        across = by_proxies and key.cluster != referrer.cluster != catalog.workspaces.management_cluster
        problem = _why_not_federated(key, found, owner, path, catalog) if across else None
    else:
        problem = _why_not(key, found, path, subset, http=http)
    if problem is not None:
        return problem
    return make_destination(entry, found, subset, http=http)


def _why_not_federated(
    key: ObjectKey, port: ServicePort, owner: str | None, path: str, catalog: Catalog
) -> DestinationProblem | None:
    reason = catalog.federation.why_not(key, port.number, owner)
    message = f"Service {key.name} of {_place(key)}, port {port.number}, {reason}"
    return DestinationProblem(f"{path}.ref.cluster", message) if reason else None


def _why_not(
    key: ObjectKey, port: ExternalPort | VirtualPort, path: str, subset: tuple[tuple[str, str], ...], *, http: bool
) -> DestinationProblem | None:
    if subset and isinstance(port, VirtualPort) and port.external_services:
        message = f"{key.kind} {key.name} has ExternalServices behind it, without subsets"
        return DestinationProblem(f"{path}.subset", message)
    problem = port.why_not(http=http)
    return DestinationProblem(f"{path}.ref", f"{key.kind} {key.name}: {problem}") if problem else None


def _missing(
    key: ObjectKey,
    entry: ServiceEntry | ExternalEntry | VirtualEntry | None,
    user: str | None,
    path: str,
    catalog: Catalog,
) -> DestinationProblem:
    """Why a workspace knows no such object."""
    if entry is not None:
        owner = catalog.workspaces.place_owner(key)
        reason = catalog.workspaces.sharing.why_not(key, entry.labels, owner, user)
        return DestinationProblem(f"{path}.ref", f"{key.kind} {key.name} of {_place(key)} {reason}")
    if key.cluster not in catalog.clusters:
        known = ", ".join(sorted(catalog.clusters))
        return DestinationProblem(f"{path}.ref.cluster", f"there is no cluster {key.cluster}; known: {known}")
    elsewhere = [
        cluster for cluster in sorted(catalog.clusters) if catalog.get(key._replace(cluster=cluster)) is not None
    ]
    hint = f", but in {', '.join(elsewhere)}: set cluster" if elsewhere else ""
    return DestinationProblem(f"{path}.ref", f"there is no {key.kind} {key.name} in {_place(key)}{hint}")


def _place(key: ObjectKey) -> str:
    return f"namespace {key.namespace} of cluster {key.cluster}"


def _is_wanted(port: ServicePort | ExternalPort | VirtualPort, number: int | None, name: str | None) -> bool:
    return number == port.number or (name is not None and name == port.name)


def make_destination(
    entry: ServiceEntry | ExternalEntry | VirtualEntry,
    port: ServicePort | ExternalPort | VirtualPort,
    subset: tuple[tuple[str, str], ...] = (),
    *,
    http: bool = True,
) -> Destination:
    """A port as a destination, of HTTP requests or of connections that are passed on."""
    tail = "{" + ",".join(f"{name}={value}" for name, value in subset) + "}" if subset else ""
    match port:
        case ServicePort():
            backend, requests = port.backend(entry.key, tail), port.protocol.http
        case VirtualPort():
            backend = port.backend(entry.key, tail, http=http)
            requests = port.protocol.http or (http and port.protocol is Protocol.TLS and port.requests.tls is not None)
        case ExternalPort():
            assert isinstance(entry, ExternalEntry)
            # Addresses are equally good; of several hosts, which are not, a route means the first.
            name = entry.host if entry.by_name and not is_address(entry.host) else ""
            return make_external_destination(entry, port, name, http=http)
    failover = isinstance(port, VirtualPort) and port.failover
    return Destination(entry.key, port.number, backend, entry.host, requests, subset, not http, failover)


def make_external_destination(entry: ExternalEntry, port: ExternalPort, name: str, *, http: bool) -> Destination:
    """A port of an ExternalService; with ``name`` the one of its names that is meant, where each has its own address."""
    requests = port.protocol.http or (http and port.protocol is Protocol.TLS)
    host = name if entry.by_name else entry.host
    return Destination(
        entry.key, port.number, port.backend(entry.key, name, http=http), host, requests, tunnel=not http
    )
