"""KeySource: a remote JWKS that some policy names, and what is known of it. Fetching is somebody else's task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from meshpass.api.objectset import ObjectKey
from meshpass.ir import Endpoint


class KeySource(NamedTuple):
    """One address that keys are fetched from, whichever policies name it: it is fetched once for the whole mesh."""

    url: str
    destination: str = ""
    """The backend that requests go to, by name; empty: the host of the URL itself."""


class KeyPeer(NamedTuple):
    """Who has to answer where a proxy of the mesh ends mutual TLS."""

    sni: str
    """The server name that is asked for."""
    identities: tuple[str, ...]
    """The SPIFFE IDs of which the server's certificate has to have one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFetch:
    """How a source is to be fetched: of several policies' wishes the most careful."""

    endpoints: tuple[Endpoint, ...] | None = None
    """Where to connect for a source with a destination; None: resolve the host of the URL."""
    peer: KeyPeer | None = None
    """For those of the endpoints that end mutual TLS."""
    cache_seconds: float = 300.0
    timeout_seconds: float = 5.0
    retries: int = 1
    retry_base_seconds: float = 1.0
    retry_max_seconds: float = 10.0
    failed_refetch_seconds: float = 1.0
    policies: tuple[ObjectKey, ...] = ()
    """Who asks for it, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedKeys:
    """What is known of a source. It changes only when the keys or the words about them do, not with time."""

    jwks: str | None
    """The last good key set, in the form of ``read_key_set``; None as long as there was none."""
    problem: str = ""
    """Why the keys are not as fresh as they should be, in words for a status; empty while all is well."""


KeySets = Mapping[KeySource, FetchedKeys]
"""Everything that was fetched; a source that is not in it has not been tried yet."""
