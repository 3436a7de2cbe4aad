"""What is relayed, as named and versioned resources; and the digest of many of them. No IO."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from meshpass.api.objectset import ObjectKey
from meshpass.envoy.resource import build_serialised
from meshpass.envoy.snapshot import Resource, content_version
from meshpass.errors import XdsProtocolError
from meshpass.relay.nodestate import place_of_node
from meshpass.relay.typeurl import NODE_STATE, object_type

Resources = Mapping[str, Resource]
NO_RESOURCES: Resources = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """What a peer is to hold."""

    resources: Mapping[str, Resources] = field(default_factory=lambda: MappingProxyType({}))
    """Type URL → name → resource. The mapping of a type is the same object for as long as nothing of it changes."""
    keeps: frozenset[str] = frozenset()
    """Clusters of which nothing is known yet: what the peer holds of them, it keeps."""
    silent: frozenset[str] = frozenset()
    """Clusters whose agents have not spoken since this process began: how far their proxies are, the peer may know."""
    complete: bool = True
    """False: a peer that holds nothing yet is told nothing, since it would take that for everything."""

    def of(self, type_url: str) -> Resources:
        """The resources of one type."""
        return self.resources.get(type_url, NO_RESOURCES)


def make_resource(type_url: str, name: str, body: bytes) -> Resource:
    """The resource with this content. Its version is a hash of the content alone."""
    version = content_version(body)
    return build_serialised(type_url, name, (body,), version=version, sources=frozenset())


def make_object(key: ObjectKey, essence: bytes) -> Resource:
    """The resource of an object."""
    return make_resource(object_type(key.kind), object_name(key), essence)


def object_name(key: ObjectKey) -> str:
    """The name of an object's resource."""
    return f"{key.cluster}/{key.namespace}/{key.name}"


def parse_object_name(kind: str, name: str) -> ObjectKey:
    """The object that has the name. Raises XdsProtocolError for what is no name of an object."""
    parts = name.split("/")
    if len(parts) != 3 or not parts[0] or not parts[2]:
        raise XdsProtocolError(f"{name!r} is no object's name")
    return ObjectKey(kind, *parts)


def cluster_of(type_url: str, name: str) -> str:
    """The cluster that an object's, a proxy's or a label's resource is about."""
    return place_of_node(name)[0] if type_url == NODE_STATE else name.partition("/")[0]


def digest(versions: Iterable[tuple[str, str, str]]) -> int:
    """A number for a set of (type URL, name, version): the exclusive or of that of each.

    So what comes, goes or changes is told from the number by itself, whatever else there is.
    """
    number = 0
    for triple in versions:
        number ^= int.from_bytes(hashlib.sha256("\n".join(triple).encode()).digest()[:8], "big")
    return number
