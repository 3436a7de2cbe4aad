"""Stored: what is known of one object."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from meshpass.api.kinds import CORE_KINDS, KINDS
from meshpass.api.manifest import Parsed, parse_object
from meshpass.api.objectset import ObjectKey
from meshpass.errors import ManifestError
from meshpass.kube.essence import Essence, encode_essence, strip_bookkeeping
from meshpass.kube.objectlog import Row
from meshpass.kube.resource import Raw, ResourceKind

logger = logging.getLogger(__name__)

_OUR_GROUPS = frozenset(kind.group for kind in KINDS)

KIND_BY_NAME = MappingProxyType({kind.kind: kind for kind in (*CORE_KINDS, *KINDS)})
"""Every kind that a store can hold."""


class Source(NamedTuple):
    """One kind of one cluster: what one informer reads."""

    cluster: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the store knows of one object besides its place in the ObjectSet."""

    kind: ResourceKind
    uid: str
    version: str
    """Its resourceVersion; ``0`` for an object of another process's API server."""
    generation: int
    status: Mapping[str, Any]
    """As last seen on the API server; empty where there is none."""
    parsed: Parsed
    """The object without its status (for kinds whose status we write) and without the server's bookkeeping."""
    essence: bytes = b""
    """The same as bytes, where essences are kept."""


def key_of(cluster: str, kind: ResourceKind, raw: Raw) -> ObjectKey:
    """Where the object is stored."""
    metadata = raw["metadata"]
    return ObjectKey(kind.kind, cluster, metadata.get("namespace") or "", metadata["name"])


def read_stored(kind: ResourceKind, raw: Raw, *, keeps_essence: bool) -> Stored | None:
    """What ``raw``, as an API server sends it, says; None when it cannot be parsed, which is logged."""
    metadata = raw["metadata"]
    stripped = strip_bookkeeping(raw, with_status=kind.group not in _OUR_GROUPS)
    try:
        parsed = parse_object(stripped)
    except ManifestError as error:
        name = f"{metadata.get('namespace', '')}/{metadata['name']}"
        logger.error("object unreadable", extra={"kind": kind.kind, "object": name, "problem": str(error)})  # noqa: TRY400
        return None
    return Stored(
        kind=kind,
        uid=str(metadata.get("uid", "")),
        version=str(metadata["resourceVersion"]),
        generation=int(metadata.get("generation", 0)),
        status=raw.get("status") or {},
        parsed=parsed,
        essence=encode_essence(stripped, parsed) if keeps_essence else b"",
    )


def read_relayed(key: ObjectKey, essence: Essence) -> Stored:
    """An object of another process's API server."""
    metadata = essence.parsed.object.metadata
    return Stored(
        kind=KIND_BY_NAME[key.kind],
        uid=metadata.uid,
        version="0",
        generation=metadata.generation,
        status={},
        parsed=essence.parsed,
        essence=essence.body,
    )


def read_restored(key: ObjectKey, row: Row, essence: Essence) -> Stored:
    """The object as it was when ``row_of`` made the row."""
    metadata = essence.parsed.object.metadata
    return Stored(
        kind=KIND_BY_NAME[key.kind],
        uid=metadata.uid,
        version=row.version,
        generation=row.generation,
        status=msgspec.json.decode(row.status),
        parsed=essence.parsed,
        essence=essence.body,
    )


def row_of(stored: Stored) -> Row:
    """What is to be on disk."""
    status = msgspec.json.encode(stored.status)
    return Row(version=stored.version, generation=stored.generation, status=status, essence=stored.essence)
