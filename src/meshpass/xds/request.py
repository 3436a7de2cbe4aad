"""DeltaRequest: what a delta discovery request says, without protobuf. No IO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from envoy.service.discovery.v3 import discovery_pb2

from meshpass.errors import XdsProtocolError


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaRequest:
    """One ``envoy.service.discovery.v3.DeltaDiscoveryRequest``."""

    type_url: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Name → version of what the client already has; only the first request of a type may say so."""
    nonce: str = ""
    """The response that this request answers; empty in a request that answers none."""
    error: str | None = None
    """The client's words when it rejects that response; ``None`` in an ACK."""
    node: str = ""
    """The node id; only the first request of a stream has to carry it."""


def parse_request(message: discovery_pb2.DeltaDiscoveryRequest) -> DeltaRequest:
    """What the message says.

    Raises XdsProtocolError for resource locators: dynamic parameters are no part of what we serve, and leaving them
    out in silence would answer a question that was not asked.
    """
    if message.resource_locators_subscribe or message.resource_locators_unsubscribe:
        raise XdsProtocolError("resource locators are not supported; subscribe by name")
    return DeltaRequest(
        type_url=message.type_url,
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        initial_versions=MappingProxyType(dict(message.initial_resource_versions)),
        nonce=message.response_nonce,
        error=(message.error_detail.message or "no reason given") if message.HasField("error_detail") else None,
        node=message.node.id,
    )
