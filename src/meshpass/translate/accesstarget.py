"""What an AccessPolicy protects: ports of workloads of its own workspace, by the workloads or by Services before them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meshpass.api.objectset import ObjectKey
from meshpass.api.security import AccessPolicySpec, AccessWorkloadLabels
from meshpass.ir import InboundListener
from meshpass.translate.catalog import Catalog
from meshpass.translate.selection import select_destinations
from meshpass.translate.selection_class import DestinationPort
from meshpass.translate.sidecar import Sidecar
from meshpass.translate.workspace import WorkspaceIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTarget:
    """A port of a workload."""

    selection_class: str
    pod: ObjectKey
    labels: Mapping[str, str]
    """Of the pod."""
    port: int
    destinations: tuple[DestinationPort, ...]
    """The Service ports that lead to it."""
    http: bool
    grpc: bool
    """True: it is said to speak gRPC. To a port of mere HTTP/2 anybody can say that a request is one."""


Targets = Mapping[str, tuple[AccessTarget, ...]]
"""Workspace → the ports of its workloads."""


def find_targets(sidecars: tuple[Sidecar, ...], workspaces: WorkspaceIndex) -> Targets:
    """To be called through the memo. Workloads that no workspace has are under no policy."""
    found: dict[str, list[AccessTarget]] = {}
    for sidecar in sidecars:
        owner = workspaces.place_owner(sidecar.key)
        if owner is not None:
            found.setdefault(owner, []).extend(_targets(sidecar))
    return {owner: tuple(targets) for owner, targets in found.items()}


def _targets(sidecar: Sidecar) -> Iterable[AccessTarget]:
    for listener in sidecar.listeners:
        if isinstance(listener, InboundListener):
            yield AccessTarget(
                selection_class=listener.selection_class,
                pod=sidecar.key,
                labels=sidecar.labels,
                port=listener.port,
                destinations=sidecar.inbound[listener.selection_class],
                http=not listener.tcp,
                grpc=listener.port in sidecar.grpc,
            )


def select_targets(
    spec: AccessPolicySpec,
    problems: tuple[str, ...],
    workspace: str,
    targets: tuple[AccessTarget, ...],
    catalog: Catalog,
) -> frozenset[str]:
    """The selection classes of the ports that a policy is for.

    Where its selectors cannot be read these are all of the workspace, which the policy then closes.
    """
    unreadable = any(problem.startswith(("spec.applyTo", "spec:")) for problem in problems)
    if unreadable or not (spec.apply_to_workloads or spec.apply_to_destinations):
        return frozenset(target.selection_class for target in targets)
    if spec.apply_to_workloads:
        return frozenset(
            target.selection_class
            for target in targets
            if any(
                selects_workload(one.selector, target.pod, target.labels, workspace) for one in spec.apply_to_workloads
            )
        )
    chosen = select_destinations(spec.apply_to_destinations, workspace, catalog)
    return frozenset(target.selection_class for target in targets if not chosen.isdisjoint(target.destinations))


def selects_workload(
    selector: AccessWorkloadLabels | None, pod: ObjectKey, labels: Mapping[str, str], workspace: str
) -> bool:
    """True for a workload, of the policy's own workspace, that a selector is for."""
    return selector is None or (
        selector.namespace in {"", pod.namespace}
        and selector.cluster in {"", pod.cluster}
        and selector.workspace in {"", workspace}
        and selector.labels.items() <= labels.items()
    )
