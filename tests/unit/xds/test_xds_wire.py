"""Requests and responses on the wire."""

from __future__ import annotations

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2
from google.rpc import status_pb2

from meshpass.envoy.snapshot import CLUSTER, Resource
from meshpass.errors import XdsProtocolError
from meshpass.xds.event import Send
from meshpass.xds.request import DeltaRequest, parse_request
from meshpass.xds.wire import serialise_response


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 3_000_000])
def test_a_response_reads_back(size: int) -> None:
    """Protobuf's own parser finds everything in the bytes, at every length of a length."""
    body = discovery_pb2.Resource(name="a", version="1", resource=any_pb2.Any(type_url=CLUSTER, value=b"x" * size))
    resource = Resource(type_url=CLUSTER, name="a", version="1", wire=body.SerializeToString())
    send = Send(type_url=CLUSTER, nonce="7", resources=(resource, resource), removed=("b" * size, "ü"))
    expected = discovery_pb2.DeltaDiscoveryResponse(
        type_url=CLUSTER, nonce="7", resources=[body, body], removed_resources=["b" * size, "ü"]
    )

    assert discovery_pb2.DeltaDiscoveryResponse.FromString(serialise_response(send)) == expected


def test_an_empty_response_reads_back() -> None:
    """The greeting of a wildcard without resources."""
    send = Send(type_url=CLUSTER, nonce="1", resources=(), removed=())

    assert discovery_pb2.DeltaDiscoveryResponse.FromString(
        serialise_response(send)
    ) == discovery_pb2.DeltaDiscoveryResponse(type_url=CLUSTER, nonce="1")


def test_a_request_is_parsed() -> None:
    """Every field that the machines need."""
    message = discovery_pb2.DeltaDiscoveryRequest(
        type_url=CLUSTER,
        node={"id": "n"},
        resource_names_subscribe=["a"],
        resource_names_unsubscribe=["b"],
        initial_resource_versions={"a": "1"},
        response_nonce="3",
        error_detail=status_pb2.Status(code=13, message="bad"),
    )

    assert parse_request(message) == DeltaRequest(
        type_url=CLUSTER,
        node="n",
        subscribe=("a",),
        unsubscribe=("b",),
        initial_versions={"a": "1"},
        nonce="3",
        error="bad",
    )


def test_a_rejection_without_words_is_a_rejection() -> None:
    """An empty error_detail is still a NACK."""
    message = discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER, error_detail=status_pb2.Status())

    assert parse_request(message).error == "no reason given"


def test_resource_locators_are_refused() -> None:
    """They are not ignored in silence."""
    message = discovery_pb2.DeltaDiscoveryRequest(resource_locators_subscribe=[{"name": "a"}])

    with pytest.raises(XdsProtocolError, match="locators"):
        parse_request(message)
