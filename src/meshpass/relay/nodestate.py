"""How far proxies are, as bytes. No IO."""

from __future__ import annotations

from types import MappingProxyType

import msgspec

from meshpass.errors import XdsProtocolError
from meshpass.ir import ObjectRef
from meshpass.xds.cache import Rejection
from meshpass.xds.remote import RemoteState


class _Rejection(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    type_url: str
    names: tuple[str, ...]
    versions: tuple[str, ...]
    message: str
    sources: tuple[tuple[str, str, str, str], ...]


class _NodeState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    in_sync: bool
    inputs: dict[str, str]
    rejections: tuple[_Rejection, ...] = ()


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(_NodeState)


def encode_state(state: RemoteState) -> bytes:
    """The state as JSON; equal states have equal bytes."""
    rejections = tuple(
        _Rejection(
            type_url=one.type_url,
            names=one.names,
            versions=one.versions,
            message=one.message,
            sources=tuple(sorted((ref.kind, ref.cluster, ref.namespace, ref.name) for ref in one.sources)),
        )
        for one in state.rejections
    )
    return _encoder.encode(_NodeState(in_sync=state.in_sync, inputs=dict(state.inputs), rejections=rejections))


def decode_state(body: bytes) -> RemoteState:
    """What the bytes say. Raises XdsProtocolError."""
    try:
        found = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise XdsProtocolError(f"no state of a proxy: {error}") from error
    rejections = tuple(
        Rejection(
            type_url=one.type_url,
            names=one.names,
            versions=one.versions,
            message=one.message,
            sources=frozenset(ObjectRef(*source) for source in one.sources),
        )
        for one in found.rejections
    )
    return RemoteState(in_sync=found.in_sync, inputs=MappingProxyType(found.inputs), rejections=rejections)


def place_of_node(node: str) -> tuple[str, str]:
    """Cluster and namespace of a proxy, of a process its cluster; both empty for what is neither's id."""
    parts = node.split("~")
    return (parts[1], parts[2]) if len(parts) == 4 else ("", "")
