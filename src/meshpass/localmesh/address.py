"""Loopback addresses: one of 127.x.y.z for every workload, the same at every start, shared with no other mesh."""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from meshpass.errors import LocalMeshError
from meshpass.localmesh.meshfile import PROXY_PORT, Workload

_CLAIM_HOST = 1
_CLAIM_PORT = 15000
_FIRST_HOST = 2
_LAST_HOST = 254
_CAPACITY = _LAST_HOST - _FIRST_HOST + 1
_TRIES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressBlock:
    """The addresses of a mesh's workloads, by the workloads' keys, out of a /24 that ``claim`` holds while open."""

    addresses: Mapping[tuple[str, str, str], str]
    claim: socket.socket


def claim_address_block(directory: Path, workloads: tuple[Workload, ...]) -> AddressBlock:
    """Holds the /24 of this state directory, or the next one in which nothing is in the way.

    The claim is a socket bound (never listening) to port 15000 of the block's first address: the kernel refuses a
    second one to every user of the machine, and takes it back however the holder dies. Raises LocalMeshError, naming
    the port, where a program holds one on every address, and naming the remedy where the system has no such addresses.
    """
    taken = f"port {_CLAIM_PORT}"
    for network in candidate_networks(directory):
        addresses = allot_addresses(network, workloads)
        claim = _claim(str(network[_CLAIM_HOST]), tuple(addresses.values()))
        if claim is None:
            continue
        in_the_way = next((at for at in _listeners(addresses, workloads) if not _is_free(*at)), None)
        if in_the_way is None:
            return AddressBlock(addresses=addresses, claim=claim)
        claim.close()
        taken = f"port {in_the_way[1]}"
    raise LocalMeshError(
        f"{taken} is taken on every loopback address, and the mesh's proxies need it",
        hint=f"`ss -ltnp 'sport = :{taken.split()[1]}'` shows the program that listens there",
    )


def candidate_networks(directory: Path) -> Iterator[ipaddress.IPv4Network]:
    """The /24 networks that a mesh with this state directory tries, in order; 127.0.0.0/16 is left to others."""
    start = _digest(str(directory))
    for step in range(_TRIES):
        second, third = divmod((start + step) % (254 * 256), 256)
        yield ipaddress.IPv4Network(f"127.{second + 1}.{third}.0/24")


def allot_addresses(
    network: ipaddress.IPv4Network, workloads: tuple[Workload, ...]
) -> Mapping[tuple[str, str, str], str]:
    """An address of the network for each workload, by its key; mostly unmoved when other workloads come or go.

    Raises LocalMeshError where there are more workloads than addresses.
    """
    if len(workloads) > _CAPACITY:
        raise LocalMeshError(f"{len(workloads)} workloads, but one mesh has addresses for {_CAPACITY}")
    slots: dict[int, tuple[str, str, str]] = {}
    for key in sorted(workload.key for workload in workloads):
        slot = _digest("/".join(key)) % _CAPACITY
        while slot in slots:
            slot = (slot + 1) % _CAPACITY
        slots[slot] = key
    return {key: str(network[_FIRST_HOST + slot]) for slot, key in slots.items()}


def _listeners(
    addresses: Mapping[tuple[str, str, str], str], workloads: tuple[Workload, ...]
) -> Iterator[tuple[str, int]]:
    for workload in workloads:
        if not workload.is_gateway:
            yield addresses[workload.key], PROXY_PORT
        for port in workload.service.targets if workload.service else ():
            yield addresses[workload.key], port


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _claim(host: str, addresses: tuple[str, ...]) -> socket.socket | None:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.bind((host, _CLAIM_PORT))
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            return None
        if error.errno == errno.EADDRNOTAVAIL:
            raise LocalMeshError(
                f"this system has no loopback address {host}: of 127.0.0.0/8 it knows 127.0.0.1 only",
                hint=f"add them: for a in {' '.join((host, *addresses))}; do sudo ifconfig lo0 alias $a; done",
            ) from error
        raise LocalMeshError(f"cannot bind {host}:{_CLAIM_PORT}: {error.strerror}") from error
    return bound


def _is_free(host: str, port: int) -> bool:
    probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Connections of a mesh that has just ended are in TIME_WAIT; only listeners count.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with probe:
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True
