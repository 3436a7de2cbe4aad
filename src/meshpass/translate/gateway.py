"""Gateways: pods that stand at the edge of the mesh, and what VirtualGateways open on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from meshpass.api.core import Pod, Service
from meshpass.api.core import Secret as KubernetesSecret
from meshpass.api.objectset import ObjectKey
from meshpass.api.virtualgateway import GatewayTlsMode, ListenerTls, VirtualGateway
from meshpass.ir import Secret
from meshpass.memo import Memo
from meshpass.translate.age import by_age
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.gatewaycertificate import GatewayCredentials, read_credentials, second_key
from meshpass.translate.gatewayport import GatewayPort, assemble_port
from meshpass.translate.gatewayserver import GatewayServer, JudgedGateway, JudgedListener, judge_virtual_gateway
from meshpass.translate.gatewaytls import make_downstream_tls
from meshpass.translate.gatewayworkload import (
    GatewayWorkload,
    find_workloads,
    judge_selectors,
    lead_to,
    port_names,
    select_services,
)
from meshpass.translate.workspace import WorkspaceIndex

__all__ = ["Gateway", "GatewayPort", "GatewayServer", "Gateways", "find_gateways"]


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gateways:
    """All gateways, and what became of the VirtualGateways."""

    gateways: tuple[Gateway, ...]
    """Sorted by node."""
    secrets: Mapping[str, tuple[Secret, ...]]
    """Node → what it needs to show of itself and to know its clients by."""
    virtual_gateways: Mapping[ObjectKey, JudgedGateway]
    """Those that belong to a workspace, oldest first."""
    workloads: Mapping[ObjectKey, tuple[str, ...]]
    """VirtualGateway → the nodes that it selects."""
    findings: Mapping[ObjectKey, tuple[Finding, ...]]
    """VirtualGateway → what there is to say about it."""


def find_gateways(  # noqa: PLR0917
    virtual_gateways: Mapping[ObjectKey, VirtualGateway],
    pods: Mapping[ObjectKey, Pod],
    services: Mapping[ObjectKey, Service],
    secrets: Mapping[ObjectKey, KubernetesSecret],
    workspaces: WorkspaceIndex,
    problems: Mapping[ObjectKey, tuple[str, ...]],
    memo: Memo,
) -> Gateways:
    """Every gateway with what VirtualGateways of its workspace open on it; the older VirtualGateway comes first."""
    judged = {
        key: memo(judge_virtual_gateway, key, item, workspace, problems.get(key, ()))
        for key, item in by_age(virtual_gateways)
        if (workspace := workspaces.owner(key)) is not None
    }
    findings = {key: [*one.findings, *memo(judge_selectors, key, virtual_gateways[key])] for key, one in judged.items()}
    selected: dict[ObjectKey, _Selected] = {key: _Selected() for key in judged}
    gateways = []
    for workload in memo(find_workloads, pods, services):
        node = f"gateway~{workload.key.cluster}~{workload.key.namespace}~{workload.key.name}"
        home = workspaces.owners.get((workload.key.cluster, workload.key.namespace))
        wanted: dict[int, list[_Wish]] = defaultdict(list)
        for key, one in judged.items():
            selectors = virtual_gateways[key].spec.workloads
            chosen = select_services(selectors, one.workspace, workload)
            if one.workspace != home or (selectors and not chosen):
                continue
            selected[key].nodes.append(node)
            selected[key].ports.update(dict.fromkeys(port_names(chosen)))
            for listener in one.listeners:
                for entrance in lead_to(listener.port, chosen):
                    selected[key].opened.add(listener.server.index)
                    wanted[entrance.target].append(_Wish(listener=listener, number=entrance.number))
        gateways.append(_make_gateway(node, workload, wanted, secrets, findings, memo))
    for key, one in judged.items():
        findings[key].extend(_missing(key, one, selected[key]))
    return Gateways(
        gateways=tuple(gateways),
        secrets=MappingProxyType({gateway.node: gateway.secrets for gateway in gateways}),
        virtual_gateways=MappingProxyType(judged),
        workloads=MappingProxyType({key: tuple(one.nodes) for key, one in selected.items()}),
        findings=MappingProxyType({key: tuple(dict.fromkeys(found)) for key, found in findings.items()}),
    )


@dataclass(slots=True)
class _Selected:
    """What a VirtualGateway was found to select."""

    nodes: list[str] = field(default_factory=list)
    ports: dict[str, None] = field(default_factory=dict)
    """The ports of the Services, as they are named to people; in order."""
    opened: set[int] = field(default_factory=set)
    """The listeners whose port some gateway has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """A listener on a port of a gateway."""

    listener: JudgedListener
    number: int


def _make_gateway(  # noqa: PLR0917
    node: str,
    workload: GatewayWorkload,
    wanted: Mapping[int, list[_Wish]],
    secrets: Mapping[ObjectKey, KubernetesSecret],
    findings: Mapping[ObjectKey, list[Finding]],
    memo: Memo,
) -> Gateway:
    """The gateway with what is wanted of each of its ports; what cannot be had is added to ``findings``."""
    ports = []
    given: dict[str, Secret] = {}
    for port in sorted(wanted):
        servers = []
        for wish in wanted[port]:
            credentials = _credentials(wish.listener, workload.key, secrets, memo)
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
    listener: JudgedListener, pod: ObjectKey, secrets: Mapping[ObjectKey, KubernetesSecret], memo: Memo
) -> GatewayCredentials | None:
    """What a listener has from a Secret, which is in the gateway's own namespace; None if it has nothing from there."""
    tls, server = listener.tls, listener.server
    if tls is None or not tls.secret_name or not server.is_open:
        return None
    key = ObjectKey("Secret", pod.cluster, pod.namespace, tls.secret_name)
    path = f"{server.path}.tls.secretName"
    mutual = tls.mode is GatewayTlsMode.MUTUAL
    second = secrets.get(second_key(key)) if mutual else None
    return memo(read_credentials, server.key, path, key, secrets.get(key), second, mutual)


def _resolve_tls(listener: JudgedListener, credentials: GatewayCredentials | None, memo: Memo) -> GatewayServer:
    if listener.tls is None or not listener.server.is_open:
        return listener.server
    if credentials is None:
        return memo(_with_tls, listener.server, listener.tls, "", "")
    if credentials.certificate is None:
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


def _missing(key: ObjectKey, judged: JudgedGateway, selected: _Selected) -> Iterator[Finding]:
    """What a VirtualGateway did not find: gateways, or the port of a listener on any of them."""
    if not selected.nodes:
        message = f"selects no gateway of workspace {judged.workspace}"
        yield Finding(key=key, severity=Severity.WARNING, reason=Reason.TARGET_NOT_FOUND, message=message)
        return
    for listener in judged.listeners:
        wanted = listener.port.number if listener.port.number is not None else listener.port.name
        if wanted is not None and listener.server.index not in selected.opened:
            message = f"no Service of the selected gateways has port {wanted}; they have {', '.join(selected.ports) or 'none'}"
            path = f"{listener.server.path}.port"
            yield Finding(
                key=key, severity=Severity.WARNING, reason=Reason.TARGET_NOT_FOUND, path=path, message=message
            )
