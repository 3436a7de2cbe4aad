"""Peers: which workloads prove who they are, and who may answer for a destination."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from meshpass.api.objectset import ObjectKey
from meshpass.ir import InboundListener, MutualTlsMode, PeerTls, TrustedAuthorities
from meshpass.memo import Memo
from meshpass.translate.catalog import Catalog
from meshpass.translate.destination import Destination
from meshpass.translate.identity import spiffe_id
from meshpass.translate.selection_class import content_hash
from meshpass.translate.sidecar import Sidecar
from meshpass.translate.socketaddress import make_endpoint
from meshpass.translate.virtualentry import VirtualPort

PEER_DOMAIN = "meshpass.internal"
"""What all server names of mutual TLS in the mesh end in. It is no name of the DNS."""

_KINDS = MappingProxyType({"Service": "svc", "VirtualDestination": "vd"})
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

Place = tuple[str, str, int]
"""(cluster, IP address, port)."""

Modes = Mapping[str, MutualTlsMode]
"""Selection class of an inbound listener → what its callers show. Where it says nothing they may show who they are."""
NO_MODES: Modes = MappingProxyType({})

Account = tuple[str, str]
"""(namespace, service account)."""


def mode_of(selection_class: str, modes: Modes) -> MutualTlsMode:
    """What the callers of an inbound listener show of themselves."""
    return modes.get(selection_class, MutualTlsMode.PERMISSIVE)


def find_accepting(sidecars: Iterable[Sidecar], modes: Modes) -> frozenset[Place]:
    """Where sidecars accept mutual TLS; to be called through the memo."""
    found: set[Place] = set()
    for sidecar in sidecars:
        for listener in sidecar.listeners:
            if isinstance(listener, InboundListener):
                place = make_endpoint(listener.address, listener.port)
                if place is not None and mode_of(listener.selection_class, modes) is not MutualTlsMode.DISABLE:
                    found.add((sidecar.key.cluster, place.address, place.port))
    return frozenset(found)


def make_peer(destination: Destination) -> PeerTls | None:
    """How the workloads behind a destination are spoken to; None for what has none."""
    key = destination.key
    if key.kind not in _KINDS:
        return None
    return PeerTls(sni=peer_name(key, destination.port, destination.subset), peers=_peers_name(key))


def peer_name(key: ObjectKey, port: int, subset: tuple[tuple[str, str], ...] = ()) -> str:
    """The server name that stands for a port of a Service or a VirtualDestination, or for a subset of its pods.

    What is no DNS label (RFC 1123 §2.1) has its hash instead, which begins with a character that no label begins with.
    """
    parts = (
        part if _LABEL.fullmatch(part) else f"_{content_hash(part)}" for part in (key.name, key.namespace, key.cluster)
    )
    first = f"{port}-{content_hash(subset)}" if subset else str(port)
    return ".".join((first, *parts, _KINDS[key.kind], PEER_DOMAIN))


def _peers_name(key: ObjectKey) -> str:
    return f"peers/{key.kind}/{key.cluster}/{key.namespace}/{key.name}"


def peer_authorities(  # noqa: PLR0917
    destinations: Iterable[Destination],
    catalog: Catalog,
    accounts: Mapping[ObjectKey, frozenset[Account]],
    trust_domain: str,
    authorities: str,
    memo: Memo,
) -> tuple[TrustedAuthorities, ...]:
    """Who may answer for each of these destinations; sorted by name.

    Those are the service accounts of the workloads behind it, on any of its ports. Where there are none, nobody may.
    """
    found: dict[str, TrustedAuthorities] = {}
    for destination in destinations:
        peer = make_peer(destination)
        if peer is not None and peer.peers not in found:
            identities = peer_identities(destination.key, catalog, accounts, trust_domain)
            found[peer.peers] = memo(_make_peers, peer.peers, authorities, identities)
    return tuple(found[name] for name in sorted(found))


def peer_identities(
    key: ObjectKey, catalog: Catalog, accounts: Mapping[ObjectKey, frozenset[Account]], trust_domain: str
) -> tuple[str, ...]:
    """The SPIFFE IDs of the workloads behind a Service or a VirtualDestination, sorted."""
    behind = sorted({one for service in _services(key, catalog) for one in accounts.get(service, ())})
    return tuple(spiffe_id(trust_domain, *account) for account in behind)


def _make_peers(name: str, authorities: str, identities: tuple[str, ...]) -> TrustedAuthorities:
    return TrustedAuthorities(name=name, certificates=authorities, identities=identities)


def _services(key: ObjectKey, catalog: Catalog) -> Iterable[ObjectKey]:
    """The Services that a destination stands for."""
    entry = catalog.get(key)
    ports = entry.ports if entry is not None else ()
    virtual = [port for port in ports if isinstance(port, VirtualPort)]
    return {service for port in virtual for service, _ in port.services} if virtual else (key,)
