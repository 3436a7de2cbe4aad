"""Gateways: pods that stand at the edge of the mesh, and what VirtualGateways open on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from meshpass.api.core import Pod, Service
from meshpass.api.core import Secret as KubernetesSecret
from meshpass.api.objectset import ObjectKey
from meshpass.api.virtualgateway import VirtualGateway
from meshpass.memo import Memo
from meshpass.translate.age import by_age
from meshpass.translate.filecredential import FileCredentials
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.gatewaylistener import judge_virtual_gateway
from meshpass.translate.gatewaynode import Gateway, Wish, assemble_gateway
from meshpass.translate.gatewayport import GatewayPort
from meshpass.translate.gatewayserver import GatewayServer, JudgedGateway
from meshpass.translate.gatewayworkload import (
    find_workloads,
    judge_selectors,
    lead_to,
    port_names,
    select_services,
)
from meshpass.translate.workspace import WorkspaceIndex

__all__ = ["Gateway", "GatewayPort", "GatewayServer", "Gateways", "find_gateways"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gateways:
    """All gateways, and what became of the VirtualGateways."""

    gateways: tuple[Gateway, ...]
    """Sorted by node."""
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
    files: FileCredentials,
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
        wanted: dict[int, list[Wish]] = defaultdict(list)
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
                    wanted[entrance.target].append(Wish(listener=listener, number=entrance.number))
        gateways.append(assemble_gateway(node, workload, wanted, secrets, files, findings, memo))
    for key, one in judged.items():
        findings[key].extend(_missing(key, one, selected[key]))
    return Gateways(
        gateways=tuple(gateways),
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
