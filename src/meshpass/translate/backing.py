"""What is behind a VirtualDestination: the Services and ExternalServices that it selects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from meshpass.api.common import ObjectSelector
from meshpass.api.objectset import ObjectKey
from meshpass.api.virtualdestination import VirtualDestination
from meshpass.translate.externalentry import ExternalEntry
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.service import ServiceEntry


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backing:
    """What the VirtualDestinations of one workspace can select."""

    services: tuple[ServiceEntry, ...]
    services_by_label: Mapping[tuple[str, str], tuple[ServiceEntry, ...]]
    external_services: tuple[ExternalEntry, ...]


class Behind(NamedTuple):
    """What one VirtualDestination selects."""

    services: tuple[ServiceEntry, ...]
    """One of each cluster."""
    external_services: tuple[ExternalEntry, ...]
    findings: tuple[Finding, ...]


def make_backing(services: tuple[ServiceEntry, ...], external_services: tuple[ExternalEntry, ...]) -> Backing:
    """To be called through the memo, which makes equal ones one."""
    by_label: dict[tuple[str, str], list[ServiceEntry]] = {}
    for service in services:
        for label in service.labels.items():
            by_label.setdefault(label, []).append(service)
    return Backing(
        services=services,
        services_by_label={label: tuple(several) for label, several in by_label.items()},
        external_services=external_services,
    )


def select_behind(key: ObjectKey, destination: VirtualDestination, workspace: str, backing: Backing) -> Behind:
    """What is behind a VirtualDestination: what its selectors find in the whole workspace, in whatever cluster it is itself.

    Of several Services of one cluster the oldest.
    """
    found = {
        service.key: service
        for selector in destination.spec.services
        for service in _candidates(selector, backing)
        if _is_selected(selector, service.key, service.labels, workspace)
    }
    outside = {
        entry.key: entry
        for selector in destination.spec.external_services
        for entry in backing.external_services
        if _is_selected(selector, entry.key, entry.labels, workspace)
    }
    services: dict[str, list[ServiceEntry]] = {}
    for service in sorted(found.values(), key=lambda one: one.age):
        services.setdefault(service.key.cluster, []).append(service)
    return Behind(
        services=tuple(several[0] for _, several in sorted(services.items())),
        external_services=tuple(outside[name] for name in sorted(outside)),
        findings=tuple(
            Finding(
                key=key,
                severity=Severity.WARNING,
                reason=Reason.CONFLICTED,
                path="spec.services",
                message=f"selects {len(several)} Services of cluster {cluster}; the oldest, "
                f"{several[0].key.namespace}/{several[0].key.name}, is used",
            )
            for cluster, several in sorted(services.items())
            if len(several) > 1
        ),
    )


def _candidates(selector: ObjectSelector, backing: Backing) -> tuple[ServiceEntry, ...]:
    """The smallest set of Services that a label narrows to; all without labels."""
    if not selector.labels:
        return backing.services
    return min((backing.services_by_label.get(label, ()) for label in selector.labels.items()), key=len)


def _is_selected(selector: ObjectSelector, key: ObjectKey, labels: Mapping[str, str], workspace: str) -> bool:
    return (
        selector.name in {"", key.name}
        and selector.namespace in {"", key.namespace}
        and selector.cluster in {"", key.cluster}
        and selector.workspace in {"", workspace}
        and selector.labels.items() <= labels.items()
    )
