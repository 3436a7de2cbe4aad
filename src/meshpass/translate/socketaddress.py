"""Addresses and ports that come from outside, before a proxy is told of them."""

from __future__ import annotations

import ipaddress

from meshpass.ir import Endpoint

MAX_PORT = 65535


def is_port(number: int) -> bool:
    """True for a number that a TCP port can have."""
    return 1 <= number <= MAX_PORT


def is_address(text: str) -> bool:
    """True for an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(text: str) -> bool:
    """True for an IP address of the machine itself (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3)."""
    return is_address(text) and ipaddress.ip_address(text).is_loopback


def make_endpoint(address: str, port: int) -> Endpoint | None:
    """The endpoint; None if the address is no IP address or the port is none, which Envoy would refuse."""
    try:
        host = str(ipaddress.ip_address(address.removeprefix("[").removesuffix("]")))
    except ValueError:
        return None
    return Endpoint(host, port) if is_port(port) else None
