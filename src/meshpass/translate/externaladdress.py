"""Addresses of an ExternalService: where its ports are, from its ExternalEndpoints, its hosts or its addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

from meshpass.api.common import PortSelector
from meshpass.api.external import ExternalEndpoint, ExternalServicePort
from meshpass.api.objectset import ObjectKey
from meshpass.ir import Endpoint
from meshpass.translate.host import host_problem, normalize_host
from meshpass.translate.socketaddress import is_port

UNIX = "unix:"


class Address(NamedTuple):
    """Something that connections go to."""

    text: str
    name: bool
    """True for a host name, which has to be looked up."""


class AddressProblem(NamedTuple):
    """Why a text is no address of ours."""

    message: str


def read_address(text: str) -> Address | AddressProblem:
    """An IP address or a host name in its one form."""
    if text.startswith(UNIX):
        return AddressProblem("is a unix socket, which the proxies do not share with anybody")
    try:
        return Address(str(ipaddress.ip_address(text)), name=False)
    except ValueError:
        pass
    problem = host_problem(text)
    if "*" in text or problem is not None:
        return AddressProblem("is neither an IP address nor a host name")
    return Address(normalize_host(text), name=True)


def service_addresses(texts: Iterable[str]) -> tuple[list[str], list[tuple[int, str]]]:
    """The IP addresses of ``spec.addresses``, and for the index of each other text why it is none."""
    found: list[str] = []
    problems: list[tuple[int, str]] = []
    for index, text in enumerate(texts):
        try:
            found.append(
                str(ipaddress.ip_network(text).network_address if _is_single(text) else ipaddress.ip_address(text))
            )
        except ValueError:
            problems.append(
                (
                    index,
                    "is a range of addresses, of which nobody knows which are there"
                    if _is_range(text)
                    else "is no IP address",
                )
            )
    return list(dict.fromkeys(found)), problems


def _is_range(text: str) -> bool:
    try:
        return ipaddress.ip_network(text, strict=False).num_addresses > 1
    except ValueError:
        return False


def _is_single(text: str) -> bool:
    try:
        return "/" in text and ipaddress.ip_network(text).num_addresses == 1
    except ValueError:
        return False


def endpoint_port(port: ExternalServicePort, endpoint: ExternalEndpoint) -> int | None:
    """The port of an ExternalEndpoint that a port of the service means; None if it has no such port.

    That of the same name (of ``targetPort``, else of the port itself), else ``targetPort``'s number, else its only one.
    """
    target = port.target_port or PortSelector()
    wanted = target.name or port.name
    named = {one.name: one.number for one in endpoint.spec.ports if one.name}
    if wanted and wanted in named:
        number = named[wanted]
    elif target.name:
        return None
    elif target.number is not None:
        number = target.number
    elif len(endpoint.spec.ports) <= 1:
        number = endpoint.spec.ports[0].number if endpoint.spec.ports else port.number
    elif any(one.number == port.number for one in endpoint.spec.ports):
        number = port.number
    else:
        return None
    return number if is_port(number) else None


class Placed(NamedTuple):
    """The endpoints of one port."""

    endpoints: tuple[Endpoint, ...]
    resolve: bool
    """True where some of them are host names."""
    without_port: tuple[ObjectKey, ...]
    """The ExternalEndpoints that have no such port."""


def place_port(port: ExternalServicePort, addresses: Iterable[tuple[ObjectKey, ExternalEndpoint, Address]]) -> Placed:
    """The endpoints of a port that has ExternalEndpoints."""
    found: set[Endpoint] = set()
    resolve = False
    without: list[ObjectKey] = []
    for key, endpoint, address in addresses:
        number = endpoint_port(port, endpoint)
        if number is None:
            without.append(key)
        else:
            found.add(Endpoint(address.text, number))
            resolve = resolve or address.name
    return Placed(tuple(sorted(found)), resolve, tuple(without))
