"""ExternalService and its ExternalEndpoints → ExternalEntry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from meshpass.api.external import ExternalEndpoint, ExternalService, ExternalServicePort
from meshpass.api.objectset import ObjectKey
from meshpass.ir import Endpoint, UpstreamTls
from meshpass.translate.age import age
from meshpass.translate.connection import Connection
from meshpass.translate.credential import Credential
from meshpass.translate.externaladdress import Address, place_port, read_address, service_addresses
from meshpass.translate.externalentry import ExternalEntry, ExternalPort
from meshpass.translate.externaltls import AUTOMATIC, TlsProblem, TlsSettings, find_tls_notes, translate_tls
from meshpass.translate.filecredential import FileProblem
from meshpass.translate.finding import Finding, Reason, Severity, no_effect
from meshpass.translate.host import host_problem, normalize_host
from meshpass.translate.protocol import Protocol, port_protocol
from meshpass.translate.socketaddress import is_port

Endpoints = tuple[tuple[ObjectKey, ExternalEndpoint | None], ...]
"""ExternalEndpoints that a service selects, sorted; None for one that cannot be read whole."""


class _Names(NamedTuple):
    """What a service is known by."""

    names: tuple[str, ...]
    problem: str
    """Why nothing may be sent to it; empty if all is well."""
    findings: tuple[Finding, ...]


def translate_external_service(  # noqa: PLR0917
    key: ObjectKey,
    service: ExternalService,
    workspace: str,
    endpoints: Endpoints,
    credentials: tuple[tuple[str, Credential], ...],
    files: tuple[tuple[str, FileProblem | None], ...],
    system_authorities: str,
    problems: tuple[str, ...],
) -> ExternalEntry:
    """The service. A port that is wrong has a problem, and nothing is sent there; the others are not touched by it.

    A service with ``problems`` is wrong as a whole: what could not be read may have been how its server is verified.
    """
    addresses = [
        (one, item, address)
        for one, item in endpoints
        if item is not None and isinstance(address := read_address(item.spec.address), Address)
    ]
    named = _read_names(key, service, chosen=bool(endpoints))
    findings = [*named.findings, *_find_selection(key, service, endpoints)]
    ports: dict[int, ExternalPort] = {}
    for index, port in enumerate(service.spec.ports):
        path = f"spec.ports[{index}]"
        if not is_port(port.number) or port.number in ports:
            message = "another port has this number" if port.number in ports else "is needed"
            findings.append(_warn(key, f"{path}.number", message))
            continue
        whole = "it cannot be read whole" if problems else named.problem
        given = TlsSettings(
            f"{path}.clientsideTls",
            key,
            named.names,
            service.spec.subject_alt_names,
            dict(credentials),
            dict(files),
            system_authorities,
        )
        ports[port.number], found = _translate_port(port, path, given, addresses if endpoints else None, whole)
        findings.extend(found)
    if not ports:
        findings.append(
            Finding(key=key, severity=Severity.INVALID, reason=Reason.INVALID, path="spec.ports", message="is needed")
        )
    elif all(port.problem for port in ports.values()):
        findings.append(_invalid(key, "spec.ports", "nothing is sent to any of them"))
    if service.spec.subject_alt_names and not any(
        port.requests.tls or port.why_not(http=True) for port in ports.values()
    ):
        findings.append(_warn(key, "spec.subjectAltNames", "has no effect: no port speaks TLS", Reason.NO_EFFECT))
    return ExternalEntry(
        key=key,
        labels=service.metadata.labels,
        age=age(key, service),
        workspace=workspace,
        names=named.names,
        ports=tuple(ports.values()),
        by_name=not endpoints and len(named.names) > 1,
        findings=tuple(findings),
        endpoint_count=len(endpoints),
    )


def _translate_port(
    port: ExternalServicePort,
    path: str,
    given: TlsSettings,
    addresses: list[tuple[ObjectKey, ExternalEndpoint, Address]] | None,
    problem: str,
) -> tuple[ExternalPort, list[Finding]]:
    key, protocol = given.service, port_protocol(port.protocol)
    findings = [] if port.egress_gateway_routes is None else [no_effect(key, f"{path}.egressGatewayRoutes")]
    endpoints, resolve, without = _place(port, given.names, addresses)
    findings += [_warn(key, f"{path}.targetPort", f"ExternalEndpoint {one.name} has no such port") for one in without]
    if not endpoints and not problem:
        problem = _nowhere(port, addresses)
        findings.append(_warn(key, path, problem, Reason.BACKEND_NOT_FOUND))
    requests, tunnel = _speak(port, protocol, given)
    requests_problem = ""
    if isinstance(requests, TlsProblem):
        requests_problem = f"{requests.path}: {requests.message}"
        findings.append(_tls_finding(key, requests, automatic=port.clientside_tls is None))
    elif port.clientside_tls is not None:
        findings.extend(find_tls_notes(key, port.clientside_tls, given.path))
    if isinstance(tunnel, TlsProblem):
        problem = problem or requests_problem
    http2 = protocol is Protocol.HTTP2
    made = ExternalPort(
        name=port.name,
        number=port.number,
        protocol=protocol,
        requests=Connection(http2=http2, resolve=resolve, tls=None if isinstance(requests, TlsProblem) else requests),
        tunnel=Connection(http2=http2, resolve=resolve, tls=None if isinstance(tunnel, TlsProblem) else tunnel),
        endpoints=endpoints,
        problem=problem,
        requests_problem=requests_problem,
    )
    return made, findings


def _tls_finding(key: ObjectKey, problem: TlsProblem, *, automatic: bool) -> Finding:
    """A port that says nothing about TLS is right in itself: only routes that send requests to it are not."""
    severity = Severity.NOTE if automatic else Severity.WARNING
    reason = Reason.BACKEND_NOT_FOUND if problem.missing else Reason.INVALID
    return Finding(key=key, severity=severity, reason=reason, path=problem.path, message=problem.message)


def _speak(
    port: ExternalServicePort, protocol: Protocol, given: TlsSettings
) -> tuple[UpstreamTls | TlsProblem | None, UpstreamTls | TlsProblem | None]:
    """The TLS of requests that proxies send, and of connections that they pass on."""
    if port.clientside_tls is not None:
        found = translate_tls(port.clientside_tls, given)
        return found, found
    if protocol is Protocol.TLS:
        return translate_tls(AUTOMATIC, given), None
    return None, None


def _place(
    port: ExternalServicePort,
    names: tuple[str, ...],
    addresses: list[tuple[ObjectKey, ExternalEndpoint, Address]] | None,
) -> tuple[tuple[Endpoint, ...], bool, tuple[ObjectKey, ...]]:
    """The endpoints, whether they have to be looked up, and the ExternalEndpoints that do not have the port."""
    if addresses is not None:
        return place_port(port, addresses)
    target = port.target_port
    if target is not None and target.name is not None:
        return (), False, ()
    number = target.number if target is not None and target.number is not None else port.number
    found = [address for address in map(read_address, names) if isinstance(address, Address)]
    return tuple(Endpoint(one.text, number) for one in found), any(one.name for one in found), ()


def _nowhere(port: ExternalServicePort, addresses: list[tuple[ObjectKey, ExternalEndpoint, Address]] | None) -> str:
    if addresses is not None:
        return "none of its ExternalEndpoints has an address and a port for it"
    if port.target_port is not None and port.target_port.name is not None:
        return "targetPort.name needs ExternalEndpoints, which have ports with names"
    return "nobody knows an address of it"


def _read_names(key: ObjectKey, service: ExternalService, *, chosen: bool) -> _Names:
    """Hosts or addresses. With ExternalEndpoints (``chosen``) hosts may be patterns."""
    findings: list[Finding] = []
    names: list[str] = []
    for index, host in enumerate(service.spec.hosts):
        path = f"spec.hosts[{index}]"
        problem = host_problem(host)
        if problem is not None:
            findings.append(_invalid(key, path, problem, Reason.INVALID_HOST))
        elif "*" in host and not chosen:
            findings.append(_warn(key, path, "a wildcard needs ExternalEndpoints: nobody can look it up"))
        else:
            names.append(normalize_host(host))
    addresses, wrong = service_addresses(service.spec.addresses)
    findings += [_warn(key, f"spec.addresses[{index}]", message) for index, message in wrong]
    names += addresses
    problem = ""
    if not service.spec.hosts and not service.spec.addresses:
        problem = "has neither hosts nor addresses"
        findings.append(_invalid(key, "spec.hosts", "is needed, or spec.addresses"))
    elif not names:
        problem = "none of its hosts and addresses can be reached"
    return _Names(tuple(dict.fromkeys(names)), problem, tuple(findings))


def _find_selection(key: ObjectKey, service: ExternalService, endpoints: Endpoints) -> Iterable[Finding]:
    if service.spec.selector and not endpoints:
        message = "selects no ExternalEndpoint of its workspace and cluster; its hosts or addresses are used"
        yield _warn(key, "spec.selector", message, Reason.TARGET_NOT_FOUND)


def _warn(key: ObjectKey, path: str, message: str, reason: Reason = Reason.INVALID) -> Finding:
    return Finding(key=key, severity=Severity.WARNING, reason=reason, path=path, message=message)


def _invalid(key: ObjectKey, path: str, message: str, reason: Reason = Reason.INVALID) -> Finding:
    return Finding(key=key, severity=Severity.INVALID, reason=reason, path=path, message=message)
