"""A DeltaDiscoveryResponse put together from resources that are serialised already. No IO."""

from __future__ import annotations

from meshpass.envoy.framing import encode_varint
from meshpass.xds.event import Send

RESOURCES = b"\x12"
TYPE_URL = b"\x22"
NONCE = b"\x2a"
REMOVED_RESOURCES = b"\x32"
"""Tags of length-delimited fields of ``envoy.service.discovery.v3.DeltaDiscoveryResponse``: 2, 4, 5 and 6."""


def serialise_response(send: Send) -> bytes:
    """The bytes of the response. The resources' own bytes are copied, never serialised again, whoever gets them."""
    parts = [*_field(TYPE_URL, send.type_url.encode()), *_field(NONCE, send.nonce.encode())]
    for resource in send.resources:
        parts += _field(RESOURCES, resource.wire)
    for name in send.removed:
        parts += _field(REMOVED_RESOURCES, name.encode())
    return b"".join(parts)


def _field(tag: bytes, value: bytes) -> tuple[bytes, bytes, bytes]:
    return tag, encode_varint(len(value)), value
