from __future__ import annotations

from ipaddress import ip_address

import pytest

from meshpass.jwks.address import check_address, check_name, read_address
from meshpass.jwks.failure import FetchError

NEVER = (
    "169.254.169.254",
    "169.254.170.2",
    "169.254.0.1",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.255",
    "255.255.255.255",
    "240.0.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "::",
    "fe80::1",
    "febf::1",
    "ff02::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fd00:42::42",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
)
PRIVATE = (
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fc00::1",
    "fd12::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
)
PUBLIC = ("1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


def allowed(text: str, *, allow_private: bool) -> bool:
    address = read_address(text)
    assert address is not None
    try:
        check_address(address, allow_private=allow_private)
    except FetchError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "in_a_local_mesh", "else_where"),
    [
        *((text, False, False) for text in NEVER),
        *((text, True, False) for text in PRIVATE),
        *((text, True, True) for text in PUBLIC),
    ],
)
def test_which_addresses_are_connected_to(text, in_a_local_mesh, else_where):
    """Neighbours that trust whoever stands beside them are never asked; private ones only where that is allowed."""
    assert allowed(text, allow_private=True) is in_a_local_mesh
    assert allowed(text, allow_private=False) is else_where


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0X7F.1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("2852039166", "169.254.169.254"),
        ("0xa9fea9fe", "169.254.169.254"),
        ("169.16689662", "169.254.169.254"),
        ("::ffff:a9fe:a9fe", "169.254.169.254"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
    ],
)
def test_every_way_to_write_an_address_is_that_address(host, address):
    assert read_address(host) == ip_address(address)


@pytest.mark.parametrize(
    "host", ["example.com", "a1.example", "1e100.net", "xn--bcher-kva.example", "0x7g", "1.2.3.4.com"]
)
def test_names_are_no_addresses(host):
    assert read_address(host) is None


@pytest.mark.parametrize("host", ["999.1.1.1", "1.2.3.4.5"[:7] + "999", "4294967296", "fe80::1%eth0", "08.1.1.1"])
def test_numbers_that_are_no_address_are_refused(host):
    with pytest.raises(FetchError):
        read_address(host)


@pytest.mark.parametrize("host", ["metadata.google.internal", "METADATA.google.internal.", "metadata", "instance-data"])
def test_names_of_metadata_services_are_refused(host):
    with pytest.raises(FetchError, match="metadata"):
        check_name(host)
