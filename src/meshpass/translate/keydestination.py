"""The destination of a remote key set: a Service, an ExternalService or a VirtualDestination → where to connect."""

from __future__ import annotations

from typing import NamedTuple

from meshpass.api.common import DestinationReference
from meshpass.api.objectset import ObjectKey
from meshpass.ir import Endpoint
from meshpass.translate.backend import find_endpoints
from meshpass.translate.catalog import Catalog
from meshpass.translate.destination import Destination, DestinationProblem, resolve_destination
from meshpass.translate.endpointindex import EndpointIndex
from meshpass.translate.keysource import KeyPeer
from meshpass.translate.peer import make_peer, peer_identities


class KeyDestination(NamedTuple):
    """Where the requests of a key set go."""

    name: str
    endpoints: tuple[Endpoint, ...]
    """IP addresses or host names, which are resolved when a request is made."""
    peer: KeyPeer | None
    """For those of the endpoints that end mutual TLS."""


def resolve_key_destination(  # noqa: PLR0917
    reference: DestinationReference,
    referrer: ObjectKey,
    path: str,
    catalog: Catalog,
    endpoints: EndpointIndex,
    trust_domain: str,
) -> KeyDestination | DestinationProblem:
    """Where the requests go; missing parts of the reference are the referrer's own. Its workspace has to own it.

    Whether TLS is spoken there is said by the URL, and the fetcher speaks it, as a client whose connection is passed on.
    Where a proxy of the mesh ends mutual TLS, an ``http`` URL is asked for through that.
    """
    found = resolve_destination(reference, referrer, path, catalog, http=False, by_proxies=False)
    if isinstance(found, DestinationProblem):
        return found
    places = find_endpoints(found, catalog, endpoints)
    tls = make_peer(found) if any(one.mutual_tls for one in places) else None
    peer = KeyPeer(tls.sni, peer_identities(found.key, catalog, endpoints.accounts, trust_domain)) if tls else None
    return KeyDestination(_name(found), places, peer)


def _name(found: Destination) -> str:
    """A name that stays when it changes how proxies would speak to the destination: keys come the same way."""
    key = found.key
    kind = "" if key.kind == "Service" else f"{key.kind}/"
    subset = "".join(f",{name}={value}" for name, value in found.subset)
    return f"{kind}{key.cluster}/{key.namespace}/{key.name}:{found.port}{subset}"
