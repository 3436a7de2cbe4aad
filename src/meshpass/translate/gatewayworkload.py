"""Gateway workloads: pods that are gateways, the Services in front of them, and which of them a VirtualGateway selects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from meshpass.api.common import WorkloadKind, WorkloadSelector
from meshpass.api.core import Pod, Service
from meshpass.api.objectset import ObjectKey
from meshpass.api.virtualgateway import VirtualGateway
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.gatewayserver import WantedPort
from meshpass.translate.sidecar import PROXY_ANNOTATION
from meshpass.translate.socketaddress import is_port, make_endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """A port of a Service that leads to a gateway."""

    name: str
    number: int
    target: int
    """The port of the pod."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayService:
    """A Service in front of a gateway."""

    key: ObjectKey
    selector: Mapping[str, str]
    entrances: tuple[Entrance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayWorkload:
    """A pod that is a gateway."""

    key: ObjectKey
    pod: Pod
    services: tuple[GatewayService, ...]
    """Sorted."""


def find_workloads(pods: Mapping[ObjectKey, Pod], services: Mapping[ObjectKey, Service]) -> tuple[GatewayWorkload, ...]:
    """Every pod that says that it is a gateway and has an address, sorted."""
    by_namespace: dict[tuple[str, str], list[tuple[ObjectKey, Service]]] = {}
    for key, service in sorted(services.items()):
        by_namespace.setdefault((key.cluster, key.namespace), []).append((key, service))
    return tuple(
        GatewayWorkload(
            key=key,
            pod=pod,
            services=tuple(_in_front(pod, by_namespace.get((key.cluster, key.namespace), ()))),
        )
        for key, pod in sorted(pods.items())
        if pod.metadata.annotations.get(PROXY_ANNOTATION) == "gateway"
        and make_endpoint(pod.status.pod_ip, 1) is not None
    )


def _in_front(pod: Pod, services: Iterable[tuple[ObjectKey, Service]]) -> Iterator[GatewayService]:
    for key, service in services:
        selector = service.spec.selector
        if selector and selector.items() <= pod.metadata.labels.items():
            yield GatewayService(key=key, selector=selector, entrances=tuple(_entrances(service, pod)))


def _entrances(service: Service, pod: Pod) -> Iterator[Entrance]:
    named = {port.name: port.container_port for container in pod.spec.containers for port in container.ports}
    for port in service.spec.ports:
        match port.target_port:
            case None:
                target = port.port
            case int(number):
                target = number
            case str(name):
                target = named.get(name, 0)
        if port.protocol == "TCP" and is_port(port.port) and is_port(target):
            yield Entrance(name=port.name, number=port.port, target=target)


def select_services(
    selectors: tuple[WorkloadSelector, ...], workspace: str, workload: GatewayWorkload
) -> tuple[GatewayService, ...]:
    """The Services by which a VirtualGateway selects a gateway of its workspace; none: it does not."""
    if not selectors:
        return workload.services
    return tuple(
        service for service in workload.services if any(_selects(one, workspace, service) for one in selectors)
    )


def _selects(wanted: WorkloadSelector, workspace: str, service: GatewayService) -> bool:
    if wanted.kind is not WorkloadKind.KUBE or wanted.port is not None:
        return False
    selector = wanted.selector
    return selector is None or (
        selector.name in {"", service.key.name}
        and selector.namespace in {"", service.key.namespace}
        and selector.cluster in {"", service.key.cluster}
        and selector.workspace in {"", workspace}
        and selector.labels.items() <= service.selector.items()
    )


def judge_selectors(key: ObjectKey, gateway: VirtualGateway) -> tuple[Finding, ...]:
    """What is wrong with the selectors of a VirtualGateway; one that is wrong selects nothing."""
    findings: list[Finding] = []
    for index, wanted in enumerate(gateway.spec.workloads):
        path = f"spec.workloads[{index}]"
        wrong = {
            f"{path}.kind": wanted.kind is not WorkloadKind.KUBE and "only KUBE is possible",
            f"{path}.port": wanted.port is not None and "gateways are not selected by port",
        }
        findings.extend(
            Finding(key=key, severity=Severity.INVALID, reason=Reason.INVALID, path=place, message=message)
            for place, message in wrong.items()
            if message
        )
    return tuple(findings)


def lead_to(wanted: WantedPort, services: Iterable[GatewayService]) -> tuple[Entrance, ...]:
    """The ports of the pod behind a port of its Services, each once."""
    found = (entrance for service in services for entrance in service.entrances)
    return tuple(
        {
            (entrance.number, entrance.target): entrance
            for entrance in found
            if wanted.number == entrance.number or (wanted.name is not None and wanted.name == entrance.name)
        }.values()
    )


def port_names(services: Iterable[GatewayService]) -> Iterator[str]:
    """The ports of Services, as people are told of them."""
    for service in services:
        for entrance in service.entrances:
            yield f"{entrance.number} ({entrance.name})" if entrance.name else str(entrance.number)
