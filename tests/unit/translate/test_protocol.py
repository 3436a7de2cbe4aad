"""What ports are said to speak."""

from __future__ import annotations

import pytest

from meshpass.api.core import ServicePort
from meshpass.translate.protocol import Protocol, service_protocol, speaks_grpc


@pytest.mark.parametrize(
    ("name", "app_protocol", "grpc"),
    [
        ("grpc", "", True),
        ("grpc-api", "", True),
        ("GRPC-api", "", True),
        ("api", "grpc", True),
        ("api", "GRPC", True),
        ("http2", "", False),
        ("http2-grpc", "", False),
        ("grpc-web", "", False),
        ("grpc-web-api", "", False),
        ("grpcx", "", False),
        ("grpc", "http2", False),
        ("grpc", "kubernetes.io/h2c", False),
        ("", "", False),
    ],
)
def test_grpc_is_what_says_so(name: str, app_protocol: str, grpc: bool) -> None:
    """Rules about methods are not for gRPC; with mere HTTP/2 any request could say that it is gRPC, and pass them."""
    port = ServicePort(port=80, name=name, app_protocol=app_protocol)

    assert speaks_grpc(port) is grpc
    assert not grpc or service_protocol(port) is Protocol.HTTP2
