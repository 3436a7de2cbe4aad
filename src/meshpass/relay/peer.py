"""Peer: which agent it is that has connected, by the certificate that it showed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshpass.errors import MeshpassError
from meshpass.identity.pem import parse_certificates
from meshpass.identity.relay import agent_cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """An agent."""

    cluster: str
    expires: float
    """When its certificate ends, in seconds since 1970: TLS has looked at that only once, when it connected."""


def read_peer(auth_context: Mapping[str, Sequence[bytes]], trust_domain: str) -> Peer | None:
    """The agent behind a connection that TLS has verified; None for whoever is none of this trust domain."""
    chain = auth_context.get("x509_pem_cert") or ()
    if len(chain) != 1:
        return None
    cluster = agent_cluster(chain[0], trust_domain)
    if cluster is None:
        return None
    try:
        leaf = parse_certificates(chain[0].decode("ascii"), "the peer")[0]
    except (ValueError, MeshpassError):
        return None
    return Peer(cluster=cluster, expires=leaf.not_valid_after_utc.timestamp())
