"""VirtualDestination and what it selects → VirtualEntry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from meshpass.api.common import PortSelector
from meshpass.api.objectset import ObjectKey
from meshpass.api.virtualdestination import VirtualDestination, VirtualDestinationPort
from meshpass.translate.age import age
from meshpass.translate.connection import Connection
from meshpass.translate.externalentry import ExternalEntry, ExternalPort
from meshpass.translate.finding import Finding, Reason, Severity, no_effect
from meshpass.translate.host import host_problem, normalize_host
from meshpass.translate.protocol import Protocol, port_protocol
from meshpass.translate.selection_class import DestinationPort
from meshpass.translate.service import ServiceEntry, ServicePort
from meshpass.translate.virtualentry import VirtualEntry, VirtualPort


def translate_virtual_destination(  # noqa: PLR0917
    key: ObjectKey,
    destination: VirtualDestination,
    workspace: str,
    services: tuple[ServiceEntry, ...],
    external_services: tuple[ExternalEntry, ...],
    problems: tuple[str, ...],
) -> VirtualEntry:
    """The destination. A port that is wrong has a problem, and nothing is sent there; the others are not touched by it."""
    findings: list[Finding] = []
    hosts: list[str] = []
    for index, host in enumerate(destination.spec.hosts):
        problem = "a virtual destination has no wildcards" if "*" in host else host_problem(host)
        if problem is None:
            hosts.append(normalize_host(host))
        else:
            findings.append(_warn(key, f"spec.hosts[{index}]", problem, Reason.INVALID_HOST, Severity.INVALID))
    ports: dict[int, VirtualPort] = {}
    for index, port in enumerate(destination.spec.ports):
        path = f"spec.ports[{index}]"
        if port.number in ports:
            findings.append(_warn(key, f"{path}.number", "another port has this number"))
            continue
        made = _translate_port(key, port, path, services, external_services)
        problem = "it cannot be read whole" if problems else made.problem
        findings.extend(made.findings)
        ports[port.number] = VirtualPort(
            number=port.number,
            protocol=port_protocol(port.protocol),
            requests=made.requests,
            tunnel=made.tunnel,
            services=made.services,
            external_services=made.external_services,
            failover=len({service.cluster for service, _ in made.services}) > 1,
            problem=problem,
            requests_problem=made.requests_problem,
        )
    if not services and not external_services:
        message = "selects no Service and no ExternalService; requests are answered 503"
        findings.append(_warn(key, "spec", message, Reason.BACKEND_NOT_FOUND))
    findings += [
        no_effect(key, f"spec.externalWorkloads[{index}]") for index in range(len(destination.spec.external_workloads))
    ]
    if destination.spec.client_mode is not None and destination.spec.client_mode.tls_termination is not None:
        findings.append(no_termination(key, "spec.clientMode.tlsTermination"))
    return VirtualEntry(
        key=key,
        labels=destination.metadata.labels,
        age=age(key, destination),
        workspace=workspace,
        names=tuple(dict.fromkeys(hosts)),
        ports=tuple(ports.values()),
        findings=tuple(findings),
        service_count=len(services),
    )


def no_termination(key: ObjectKey, path: str) -> Finding:
    """What is said of a client mode that would have gateways end TLS."""
    message = "has no effect: gateways between clusters pass TLS on, as sniRouting says"
    return _warn(key, path, message, Reason.NO_EFFECT)


class _Port(NamedTuple):
    """What one port comes to."""

    requests: Connection
    tunnel: Connection
    services: tuple[DestinationPort, ...]
    external_services: tuple[DestinationPort, ...]
    problem: str
    requests_problem: str
    findings: tuple[Finding, ...]


def _translate_port(
    key: ObjectKey,
    port: VirtualDestinationPort,
    path: str,
    services: tuple[ServiceEntry, ...],
    external_services: tuple[ExternalEntry, ...],
) -> _Port:
    target = port.target_port or PortSelector(number=port.number)
    where = f"{path}.targetPort" if port.target_port is not None else f"{path}.number"
    inside, outside = _find_ports(services, target), _find_ports(external_services, target)
    findings = [
        _warn(key, where, f"{entry.key.kind} {entry.key.name} has no such port", Reason.BACKEND_NOT_FOUND)
        for entry, found in (*inside, *outside)
        if found is None
    ]
    broken = [(entry, found) for entry, found in outside if isinstance(found, ExternalPort) and found.problem]
    findings += [
        _warn(key, path, f"ExternalService {entry.key.name}: {found.problem}", Reason.BACKEND_NOT_FOUND)
        for entry, found in broken
    ]
    service_ports = [(entry, found) for entry, found in inside if isinstance(found, ServicePort)]
    external_ports = [
        (entry, found) for entry, found in outside if isinstance(found, ExternalPort) and not found.problem
    ]
    problem = ""
    if broken and not service_ports and not external_ports:
        problem = f"ExternalService {broken[0][0].key.name}: {broken[0][1].problem}"
    connections = [found.connection for _, found in service_ports]
    http2 = port_protocol(port.protocol) is Protocol.HTTP2
    requests = _join([*connections, *(found.requests for _, found in external_ports)], http2=http2)
    tunnel = _join([*connections, *(found.tunnel for _, found in external_ports)], http2=http2)
    unequal = "its Services and ExternalServices are not all spoken to with the same TLS"
    if requests is None or tunnel is None:
        findings.append(_warn(key, path, unequal))
    unsendable = next((entry for entry, found in external_ports if found.requests_problem), None)
    requests_problem = unequal if requests is None else ""
    if unsendable is not None:
        requests_problem = f"ExternalService {unsendable.key.name} has no TLS for requests; its status says why"
        findings.append(_warn(key, path, requests_problem, Reason.BACKEND_NOT_FOUND))
    return _Port(
        requests=requests or Connection(),
        tunnel=tunnel or Connection(),
        services=tuple((entry.key, found.number) for entry, found in service_ports),
        external_services=tuple((entry.key, found.number) for entry, found in external_ports),
        problem=problem or (unequal if tunnel is None else ""),
        requests_problem=requests_problem,
        findings=tuple(findings),
    )


def _find_ports(
    entries: Iterable[ServiceEntry | ExternalEntry], target: PortSelector
) -> list[tuple[ServiceEntry | ExternalEntry, ServicePort | ExternalPort | None]]:
    return [
        (
            entry,
            next(
                (
                    port
                    for port in entry.ports
                    if port.number == target.number or (target.name is not None and port.name == target.name)
                ),
                None,
            ),
        )
        for entry in entries
    ]


def _join(connections: Iterable[Connection], *, http2: bool) -> Connection | None:
    """One way to speak to all of them; None if there is none."""
    several = list(connections)
    if len({connection.tls for connection in several}) > 1:
        return None
    return Connection(
        http2=http2 or (bool(several) and all(connection.http2 for connection in several)),
        resolve=any(connection.resolve for connection in several),
        tls=several[0].tls if several else None,
    )


def _warn(
    key: ObjectKey,
    path: str,
    message: str,
    reason: Reason = Reason.INVALID,
    severity: Severity = Severity.WARNING,
) -> Finding:
    return Finding(key=key, severity=severity, reason=reason, path=path, message=message)
