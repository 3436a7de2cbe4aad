"""KnownHost: a host and port that sidecars reach without any route table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from meshpass.translate.catalog import Catalog
from meshpass.translate.destination import Destination, make_destination, make_external_destination
from meshpass.translate.externalentry import ExternalEntry, ExternalPort
from meshpass.translate.protocol import Protocol
from meshpass.translate.virtualentry import VirtualEntry, VirtualPort


class KnownHost(NamedTuple):
    """All names of one port of a destination. Equal ones are the same memo key."""

    names: tuple[str, ...]
    """Hosts, the full one last for a Service; ``*`` may begin one. IP addresses too."""
    port: int
    destination: Destination
    apart: bool = False
    """True: each name may come to mean something else by itself. False: they are the names of one thing, of a Service."""


def known_hosts(cluster: str, namespace: str, catalog: Catalog) -> tuple[KnownHost, ...]:
    """What a sidecar in that place reaches: the Services of its cluster, then what its workspace has beside them.

    That is federated Services by their hosts, and what is outside. To be called through the memo. Of several with one name
    and port the first is the one that has it: an import never takes a name away from what the workspace has itself.
    """
    workspace = catalog.workspaces.owners.get((cluster, namespace))
    services = (
        KnownHost(service.hostnames(namespace), port.number, make_destination(service, port))
        for key, service in catalog.services.items()
        if key.cluster == cluster
        for port in service.ports
    )
    if workspace is None:
        return tuple(services)
    sources = tuple(sorted(catalog.workspaces.sharing.sources(workspace)))
    return (
        *services,
        *_federated((workspace,), workspace, catalog),
        *_outside((workspace,), workspace, catalog),
        *_federated(sources, workspace, catalog),
        *_outside(sources, workspace, catalog),
    )


def _federated(owners: tuple[str, ...], user: str, catalog: Catalog) -> Iterator[KnownHost]:
    """The hosts of the federated Services of some workspaces, of whatever cluster, as far as a workspace may use them."""
    sharing = catalog.workspaces.sharing
    for owner in owners:
        for key, (service, ports, host) in catalog.federation.of(owner).services.items():
            if host and sharing.shares(key, service.labels, owner, user):
                for port in service.ports:
                    if port.number in ports:
                        yield KnownHost((host,), port.number, make_destination(service, port), apart=True)


def _outside(owners: tuple[str, ...], user: str, catalog: Catalog) -> Iterator[KnownHost]:
    """What some workspaces have beside Services, oldest first, as far as a workspace may use it."""
    sharing = catalog.workspaces.sharing
    entries = (
        entry
        for owner in owners
        for entry in catalog.outside_by_workspace.get(owner, ())
        if sharing.shares(entry.key, entry.labels, owner, user)
    )
    for entry in sorted(entries, key=lambda one: (*one.age, one.key)):
        for port in entry.ports:
            # Where proxies start TLS because they are told to, clients speak plain text to them, not TLS inside of TLS.
            http = port.protocol.http or (port.protocol is Protocol.TLS and port.tunnel.tls is not None)
            if not port.why_not(http=http):
                yield from _of_port(entry, port, http=http)


def _of_port(
    entry: ExternalEntry | VirtualEntry, port: ExternalPort | VirtualPort, *, http: bool
) -> Iterator[KnownHost]:
    if isinstance(entry, ExternalEntry) and isinstance(port, ExternalPort) and entry.by_name:
        for name in entry.names:
            yield KnownHost((name,), port.number, make_external_destination(entry, port, name, http=http), apart=True)
    elif entry.names:
        yield KnownHost(entry.names, port.number, make_destination(entry, port, http=http), apart=True)
