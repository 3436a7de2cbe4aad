"""Where an east-west gateway is reached from other clusters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshpass.api.admin import EastWestGateway
from meshpass.api.core import Service
from meshpass.ir import Endpoint
from meshpass.translate.eastwestdoor import DoorPort
from meshpass.translate.finding import Reason, Severity
from meshpass.translate.host import host_problem, normalize_host
from meshpass.translate.socketaddress import is_address, make_endpoint


def find_addresses(selector: EastWestGateway, service: Service, opened: tuple[DoorPort, ...]) -> Iterator[Endpoint]:
    """Where the open ports of a Service are reached: IP addresses or host names.

    It is where the settings say, else where the load balancer in front is. An address of that which is a pod's own is
    reached on the port of the pod, and only while the pod is not known to be away.
    """
    numbers = tuple(sorted({one.entrance.number for one in opened}))
    for override in selector.host_info_overrides:
        yield from _endpoints(override.addr, (override.port,) if override.port else numbers)
    for ingress in () if selector.host_info_overrides else service.status.load_balancer.ingress:
        pods = [one for one in opened if one.address == ingress.ip]
        if pods:
            yield from _endpoints(ingress.ip, (one.entrance.target for one in pods if one.is_ready))
        else:
            yield from _endpoints(ingress.ip or ingress.hostname, numbers)


def _endpoints(address: str, ports: Iterable[int]) -> Iterator[Endpoint]:
    for port in ports:
        endpoint = make_endpoint(address, port)
        if endpoint is not None:
            yield endpoint._replace(mutual_tls=True)
        elif host_problem(address) is None and "*" not in address:
            yield Endpoint(normalize_host(address), port, mutual_tls=True)


def judge_overrides(
    selector: EastWestGateway, path: str, services: int, clusters: int
) -> Iterator[tuple[Severity, Reason, str, str]]:
    """What is wrong with the addresses that settings give to so many Services of so many clusters."""
    for index, override in enumerate(selector.host_info_overrides):
        problem = None if is_address(override.addr) else host_problem(override.addr)
        if problem is not None or "*" in override.addr:
            message = f"{override.addr!r} is neither an IP address nor a host name"
            yield Severity.INVALID, Reason.INVALID_HOST, f"{path}.hostInfoOverrides[{index}].addr", message
    if selector.host_info_overrides and clusters > 1:
        message = f"are the same addresses for {services} gateways in {clusters} clusters: select those of one cluster"
        yield Severity.WARNING, Reason.CONFLICTED, f"{path}.hostInfoOverrides", message
