"""Loopback addresses are allotted deterministically and never twice."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import pytest

from meshpass.errors import LocalMeshError
from meshpass.localmesh.address import allot_addresses, candidate_networks, claim_address_block
from meshpass.localmesh.meshfile import PROXY_PORT, Port, ProxyKind, Service, Workload

NETWORK = ipaddress.IPv4Network("127.9.9.0/24")


def workloads(count, **fields):
    return tuple(Workload(name=f"w{i}", namespace="n", cluster="c", **fields) for i in range(count))


def test_every_workload_has_an_address_of_its_own():
    """As many addresses as workloads, none of them the block's first, last or network address."""
    found = allot_addresses(NETWORK, workloads(253))

    hosts = {int(address.rpartition(".")[2]) for address in found.values()}
    assert len(hosts) == 253
    assert (min(hosts), max(hosts)) == (2, 254)


def test_order_does_not_matter():
    """The same workloads in another order have the same addresses."""
    some = workloads(20)

    assert allot_addresses(NETWORK, some) == allot_addresses(NETWORK, tuple(reversed(some)))


def test_more_workloads_than_addresses_are_refused():
    """253 is the most."""
    with pytest.raises(LocalMeshError, match="254 workloads"):
        allot_addresses(NETWORK, workloads(254))


def test_candidates_are_those_of_the_directory():
    """The same directory tries the same networks, another one others; none is in 127.0.0.0/16."""
    first = list(candidate_networks(Path("/a")))

    assert first == list(candidate_networks(Path("/a")))
    assert first[0] != next(iter(candidate_networks(Path("/b"))))
    assert len(set(first)) == len(first)
    assert not any(network.overlaps(ipaddress.IPv4Network("127.0.0.0/16")) for network in first)
    assert all(network.is_loopback for network in first)


def test_a_claimed_block_goes_to_nobody_else(tmp_path):
    """The second claim of a directory takes the next block; when the first is released, it is free again."""
    first = claim_address_block(tmp_path, workloads(1))
    second = claim_address_block(tmp_path, workloads(1))
    assert set(first.addresses.values()).isdisjoint(second.addresses.values())
    first.claim.close()
    third = claim_address_block(tmp_path, workloads(1))
    second.claim.close()
    third.claim.close()

    assert third.addresses == first.addresses


def test_a_block_with_a_listener_in_it_is_passed_over(tmp_path):
    """A port of a workload that another program listens on."""
    one = workloads(1, service=Service(ports=(Port(port=18080),)))
    address = next(iter(allot_addresses(next(candidate_networks(tmp_path)), one).values()))
    with socket.create_server((address, 18080)):
        block = claim_address_block(tmp_path, one)
    block.claim.close()

    assert address not in block.addresses.values()


def test_a_gateway_leaves_the_sidecars_port_to_others(tmp_path):
    """Its block is not passed over because of a listener on a port that no gateway uses."""
    one = workloads(1, proxy=ProxyKind.GATEWAY, service=Service(ports=(Port(port=18080),)))
    address = next(iter(allot_addresses(next(candidate_networks(tmp_path)), one).values()))
    with socket.create_server((address, PROXY_PORT)):
        block = claim_address_block(tmp_path, one)
    block.claim.close()

    assert address in block.addresses.values()


def test_a_port_that_is_taken_everywhere_is_named(tmp_path):
    """A program that listens on all addresses leaves none to the mesh."""
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(LocalMeshError, match=f"port {port} is taken") as caught:
            claim_address_block(tmp_path, workloads(1, service=Service(ports=(Port(port=port),))))

    assert f":{port}" in (caught.value.hint or "")
