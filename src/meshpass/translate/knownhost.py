"""KnownHost: a host and port that sidecars reach without any route table."""

from __future__ import annotations

from typing import NamedTuple

from meshpass.translate.catalog import Catalog
from meshpass.translate.destination import Destination, make_destination


class KnownHost(NamedTuple):
    """All names of one port of a destination. Equal ones are the same memo key."""

    names: tuple[str, ...]
    """Hosts, the full one last for a Service; ``*`` may begin one. IP addresses too."""
    port: int
    destination: Destination


def known_hosts(cluster: str, namespace: str, catalog: Catalog) -> tuple[KnownHost, ...]:
    """What a sidecar in that place reaches: the Services of its cluster, then what its workspace has beside them.

    To be called through the memo; sorted.
    """
    return tuple(
        KnownHost(service.hostnames(namespace), port.number, make_destination(service, port))
        for key, service in catalog.services.items()
        if key.cluster == cluster
        for port in service.ports
    )
