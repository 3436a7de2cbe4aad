"""Socket addresses as Envoy writes them."""

from __future__ import annotations

from envoy.config.core.v3.address_pb2 import Address, SocketAddress


def build_address(host: str, port: int) -> Address:
    """An IP address and TCP port."""
    return Address(socket_address=SocketAddress(address=host, port_value=port))
