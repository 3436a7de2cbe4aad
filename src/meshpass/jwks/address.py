"""Addresses: which of them the fetcher connects to.

Whoever may write a policy chooses a URL that the control plane requests from where it stands. What stands around it and
trusts its neighbours (a cloud's metadata service above all) is therefore never asked.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

from meshpass.jwks.failure import FetchError

IpAddress: TypeAlias = IPv4Address | IPv6Address

METADATA_NAMES = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.azure.internal",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.tencentyun.com",
    }
)

METADATA_ADDRESSES = frozenset(
    ip_address(text)
    for text in (
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure's wire server
        "192.0.0.192",  # Oracle Cloud
        "fd00:42::42",  # Scaleway
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google Cloud
    )
)
"""Those of the clouds that are not link-local, as 169.254.169.254 is."""

_NUMBERS = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}")
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
_THIS_NETWORK = 0
"""The first octet of 0.0.0.0/8, which systems take for themselves (RFC 6890)."""


def read_address(host: str) -> IpAddress | None:
    """The address that ``host`` is another way to write; None for a name.

    An IPv4 address in IPv6 (::ffff:10.0.0.1) is the IPv4 address. Understands what inet_aton(3) does, as 127.1, 0177.0.0.1, 0x7f000001 and 2130706433. Raises FetchError for numbers
    that are no address, which some resolvers would take for one.
    """
    try:
        address = ip_address(host)
    except ValueError:
        pass
    else:
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            raise FetchError("the host is an address with a zone")
        return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
    if not _NUMBERS.fullmatch(host.lower()):
        return None
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError as error:
        raise FetchError("the host is a number that is no address") from error


def check_name(host: str) -> None:
    """Raises FetchError for the name of a cloud's metadata service."""
    if host.rstrip(".").lower() in METADATA_NAMES:
        raise FetchError("the host is a metadata service; it is never asked for keys")


def check_address(address: IpAddress, *, allow_private: bool) -> None:
    """Raises FetchError for an address that is never connected to, in whichever way IPv6 wraps it.

    Without ``allow_private`` these are all that are not of the public internet.
    """
    for one in (address, *_wrapped(address)):
        kind = _refused_kind(one) or ("" if allow_private or one.is_global else "private")
        if kind:
            raise FetchError(f"the host's address is {kind}; it is never asked for keys")


def _refused_kind(address: IpAddress) -> str:
    if address in METADATA_ADDRESSES:
        return "a metadata service's"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast:
        return "multicast"
    if address.is_unspecified or (isinstance(address, IPv4Address) and address.packed[0] == _THIS_NETWORK):
        return "unspecified"
    # 240.0.0.0/4, with the broadcast address. Of IPv6, most of what is called reserved only awaits its use.
    return "reserved" if isinstance(address, IPv4Address) and address.is_reserved else ""


def _wrapped(address: IpAddress) -> Iterator[IPv4Address]:
    """IPv4 addresses that packets to ``address`` may end at."""
    if isinstance(address, IPv4Address):
        return
    for inner in (address.sixtofour, *(address.teredo or ())):
        if inner is not None:
            yield inner
    # RFC 4291 §2.5.5.1 and RFC 6052 §2.1; :: and ::1 are in the first range, and are what they are.
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        yield IPv4Address(int(address) & 0xFFFFFFFF)
