"""What the delta machines say: frozen values, for the shell to write, count and log. No IO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshpass.envoy.snapshot import Resource, Snapshot
from meshpass.ir import ObjectRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """The client is to be sent this response."""

    type_url: str
    nonce: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The client has applied a response."""

    type_url: str
    versions: Mapping[str, str]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The client has refused these resources, each of them on its own account."""

    type_url: str
    message: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]
    """Names whose removal was refused."""
    sources: frozenset[ObjectRef]
    """Who is to blame: the sources that the acknowledged version of the resource did not have, else all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InSync:
    """The client has acknowledged every resource of its target and has nothing else."""

    snapshot: Snapshot


Event = Send | Acknowledged | Rejected | InSync
