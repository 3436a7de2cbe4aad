"""Protobuf messages into named, versioned, serialised Resources."""

from __future__ import annotations

from envoy.service.discovery.v3.discovery_pb2 import Resource as DiscoveryResource
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from meshpass.envoy.snapshot import Resource, content_version
from meshpass.ir import ObjectRef

TYPE_URL_PREFIX = "type.googleapis.com/"


def pack(message: Message) -> Any:
    """``message`` in an Any, with map fields in sorted order so that equal messages have equal bytes."""
    return Any(
        type_url=TYPE_URL_PREFIX + message.DESCRIPTOR.full_name, value=message.SerializeToString(deterministic=True)
    )


def build_resource(name: str, message: Message, sources: frozenset[ObjectRef] = frozenset()) -> Resource:
    """The resource ``name`` with this content; its version is a hash of the content."""
    packed = pack(message)
    return build_serialised(name, packed, content_version(packed.value), sources)


def build_serialised(name: str, packed: Any, version: str, sources: frozenset[ObjectRef]) -> Resource:
    """The resource ``name`` with this content, whose version is known."""
    wire = DiscoveryResource(name=name, version=version, resource=packed).SerializeToString(deterministic=True)
    return Resource(type_url=packed.type_url, name=name, version=version, wire=wire, sources=sources)
