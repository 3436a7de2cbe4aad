"""Pods and Services: which pods a Service selects, and which of their ports it leads to."""

from __future__ import annotations

from collections.abc import Iterator

from meshpass.api.core import Pod, Service, ServicePort

_ENDED = frozenset({"Succeeded", "Failed"})


def is_running(pod: Pod) -> bool:
    """False for a pod that has ended: it has left its address to others."""
    return pod.status.phase not in _ENDED


def is_ready(pod: Pod) -> bool:
    """True for a pod that runs and says that it is ready."""
    return is_running(pod) and any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)


def selects(service: Service, pod: Pod) -> bool:
    """True when a Service stands before a pod of its namespace. One without a selector stands before none."""
    selector = service.spec.selector
    return bool(selector) and all(pod.metadata.labels.get(name) == value for name, value in selector.items())


def target_ports(service: Service, pod: Pod) -> Iterator[tuple[ServicePort, int]]:
    """(port of the Service, port of the pod) for each TCP port that the pod has."""
    named = {port.name: port.container_port for container in pod.spec.containers for port in container.ports}
    for port in service.spec.ports:
        if port.protocol != "TCP":
            continue
        match port.target_port:
            case None:
                yield port, port.port
            case int(number):
                yield port, number
            case str(name) if name in named:
                yield port, named[name]
            case _:
                continue
