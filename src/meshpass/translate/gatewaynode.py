"""Gateway: one pod at the edge of the mesh, with what VirtualGateways want of its ports and what it needs for that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from meshpass.api.core import Pod
from meshpass.api.core import Secret as KubernetesSecret
from meshpass.api.objectset import ObjectKey
from meshpass.api.virtualgateway import GatewayTlsMode, ListenerTls
from meshpass.ir import Secret
from meshpass.memo import Memo
from meshpass.translate.filecredential import NEVER_READ, AuthoritiesFile, CertificateFile, FileCredentials
from meshpass.translate.finding import Finding
from meshpass.translate.gatewaycertificate import GatewayCredentials, read_credentials, read_files, second_key
from meshpass.translate.gatewayport import GatewayPort, assemble_port
from meshpass.translate.gatewayserver import GatewayServer, JudgedListener
from meshpass.translate.gatewaytls import make_downstream_tls
from meshpass.translate.gatewayworkload import GatewayWorkload


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One proxy at the edge of the mesh."""

    node: str
    key: ObjectKey
    """The pod."""
    labels: Mapping[str, str]
    address: str
    ports: tuple[GatewayPort, ...]
    """Sorted; one object for all gateways with equal ones. A certificate that is renewed changes none of them."""
    secrets: tuple[Secret, ...] = field(default=(), repr=False)
    """What the servers name, sorted by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A listener on a port of a gateway."""

    listener: JudgedListener
    number: int


def assemble_gateway(  # noqa: PLR0917
    node: str,
    workload: GatewayWorkload,
    wanted: Mapping[int, list[Wish]],
    secrets: Mapping[ObjectKey, KubernetesSecret],
    files: FileCredentials,
    findings: Mapping[ObjectKey, list[Finding]],
    memo: Memo,
) -> Gateway:
    """The gateway with what is wanted of each of its ports; what cannot be had is added to ``findings``."""
    ports = []
    given: dict[str, Secret] = {}
    for port in sorted(wanted):
        servers = []
        for wish in wanted[port]:
            credentials = _credentials(wish.listener, workload.key, secrets, files, memo)
            servers.append(_resolve_tls(wish.listener, credentials, memo))
            if credentials is not None:
                findings[wish.listener.server.key].extend(credentials.findings)
                given.update({one.name: one for one in credentials.secrets})
        assembled = memo(assemble_port, port, tuple(wish.number for wish in wanted[port]), tuple(servers))
        if assembled.port.servers:
            ports.append(assembled.port)
        for finding in assembled.findings:
            findings[finding.key].append(finding)
    used = {
        name
        for port in ports
        for server in port.servers
        if server.tls is not None
        for name in (server.tls.certificate, server.tls.authorities)
    }
    held = tuple(given[name] for name in sorted(given) if name in used)
    return memo(_freeze_gateway, node, workload.key, workload.pod, tuple(ports), held)


def _credentials(
    listener: JudgedListener,
    pod: ObjectKey,
    secrets: Mapping[ObjectKey, KubernetesSecret],
    files: FileCredentials,
    memo: Memo,
) -> GatewayCredentials | None:
    """What a listener has from files, or from a Secret in the gateway's own namespace; None if it names neither."""
    tls, server = listener.tls, listener.server
    if tls is None or not server.is_open:
        return None
    if not tls.secret_name:
        return _file_credentials(server, tls, files, memo)
    key = ObjectKey("Secret", pod.cluster, pod.namespace, tls.secret_name)
    path = f"{server.path}.tls.secretName"
    mutual = tls.mode is GatewayTlsMode.MUTUAL
    second = secrets.get(second_key(key)) if mutual else None
    return memo(read_credentials, server.key, path, key, secrets.get(key), second, mutual)


def _file_credentials(
    server: GatewayServer, tls: ListenerTls, files: FileCredentials, memo: Memo
) -> GatewayCredentials | None:
    if tls.files is None:
        return None
    certificate = files.found.get(CertificateFile(tls.files.server_cert, tls.files.private_key).name, NEVER_READ)
    authorities = None
    if tls.mode is GatewayTlsMode.MUTUAL:
        authorities = files.found.get(AuthoritiesFile(tls.files.ca_certs).name, NEVER_READ)
    return memo(read_files, server.key, f"{server.path}.tls.files", certificate, authorities)


def _resolve_tls(listener: JudgedListener, credentials: GatewayCredentials | None, memo: Memo) -> GatewayServer:
    if listener.tls is None or not listener.server.is_open:
        return listener.server
    if credentials is None or credentials.certificate is None:
        return memo(_closed, listener.server)
    authorities = credentials.authorities.name if credentials.authorities is not None else ""
    return memo(_with_tls, listener.server, listener.tls, credentials.certificate.name, authorities)


def _with_tls(server: GatewayServer, tls: ListenerTls, certificate: str, authorities: str) -> GatewayServer:
    return replace(server, tls=make_downstream_tls(tls, certificate, authorities))


def _closed(server: GatewayServer) -> GatewayServer:
    return replace(server, is_open=False)


def _freeze_gateway(
    node: str, key: ObjectKey, pod: Pod, ports: tuple[GatewayPort, ...], secrets: tuple[Secret, ...]
) -> Gateway:
    return Gateway(
        node=node, key=key, labels=pod.metadata.labels, address=pod.status.pod_ip, ports=ports, secrets=secrets
    )
