"""Requests and responses of the delta protocol, as bytes; what `meshpass.xds` has for the server's side, for the client's."""

from __future__ import annotations

from dataclasses import dataclass

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from meshpass.errors import XdsProtocolError
from meshpass.xds.request import DeltaRequest, parse_request

_INVALID_ARGUMENT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One resource of a response."""

    name: str
    version: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaResponse:
    """One ``envoy.service.discovery.v3.DeltaDiscoveryResponse``."""

    type_url: str
    nonce: str
    resources: tuple[Received, ...] = ()
    removed: tuple[str, ...] = ()


def read_response(message: bytes) -> DeltaResponse:
    """What the bytes say. Raises XdsProtocolError."""
    try:
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(message)
    except DecodeError as error:
        raise XdsProtocolError("the message is no DeltaDiscoveryResponse") from error
    resources = []
    for resource in response.resources:
        if resource.resource.type_url != response.type_url:
            raise XdsProtocolError(f"a resource of {response.type_url} is of type {resource.resource.type_url}")
        resources.append(Received(name=resource.name, version=resource.version, body=resource.resource.value))
    return DeltaResponse(
        type_url=response.type_url,
        nonce=response.nonce,
        resources=tuple(resources),
        removed=tuple(response.removed_resources),
    )


def read_request(message: bytes) -> DeltaRequest:
    """What the bytes say. Raises XdsProtocolError."""
    try:
        return parse_request(discovery_pb2.DeltaDiscoveryRequest.FromString(message))
    except DecodeError as error:
        raise XdsProtocolError("the message is no DeltaDiscoveryRequest") from error


def write_request(request: DeltaRequest) -> bytes:
    """The bytes of a request."""
    message = discovery_pb2.DeltaDiscoveryRequest(
        type_url=request.type_url,
        resource_names_subscribe=request.subscribe,
        resource_names_unsubscribe=request.unsubscribe,
        initial_resource_versions=dict(request.initial_versions),
        response_nonce=request.nonce,
    )
    if request.error is not None:
        message.error_detail.CopyFrom(status_pb2.Status(code=_INVALID_ARGUMENT, message=request.error))
    return bytes(message.SerializeToString())
