"""Protobuf messages into named, versioned, serialised Resources."""

from __future__ import annotations

from collections.abc import Sequence

from envoy.service.discovery.v3.discovery_pb2 import Resource as DiscoveryResource
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from meshpass.envoy.framing import frame, frame_parts
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
    body = message.SerializeToString(deterministic=True)
    type_url = TYPE_URL_PREFIX + message.DESCRIPTOR.full_name
    return build_serialised(type_url, name, (body,), version=content_version(body), sources=sources)


def build_serialised(
    type_url: str, name: str, parts: Sequence[bytes], *, version: str, sources: frozenset[ObjectRef]
) -> Resource:
    """The resource ``name`` whose content, in parts, is serialised already."""
    packed = (
        frame(Any.TYPE_URL_FIELD_NUMBER, type_url.encode()),
        *frame_parts(Any.VALUE_FIELD_NUMBER, parts),
    )
    wire = b"".join(
        (
            frame(DiscoveryResource.VERSION_FIELD_NUMBER, version.encode()),
            *frame_parts(DiscoveryResource.RESOURCE_FIELD_NUMBER, packed),
            frame(DiscoveryResource.NAME_FIELD_NUMBER, name.encode()),
        )
    )
    return Resource(type_url=type_url, name=name, version=version, wire=wire, sources=sources)
