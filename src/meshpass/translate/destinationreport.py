"""What there is to say about ExternalServices, ExternalEndpoints and VirtualDestinations. Becomes status."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshpass.api.external import ExternalEndpoint
from meshpass.api.objectset import ObjectKey
from meshpass.translate.externalendpoint import judge_external_endpoint
from meshpass.translate.externalentry import ExternalEntry
from meshpass.translate.externalservices import ChosenEndpoints
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.virtualdestinations import VirtualDestinations
from meshpass.translate.virtualentry import VirtualEntry


def gather_findings(
    external: Mapping[ObjectKey, ExternalEntry],
    endpoints: Mapping[ObjectKey, ExternalEndpoint],
    virtual: VirtualDestinations,
    outside: Mapping[str, tuple[ExternalEntry | VirtualEntry, ...]],
    chosen: ChosenEndpoints,
) -> Mapping[ObjectKey, tuple[Finding, ...]]:
    """Object → findings. ``outside`` are the services and destinations of each workspace, oldest first."""
    selected = {key for key in external for key, _ in chosen[key]}
    found = {
        key: judge_external_endpoint(key, endpoint, selected=key in selected) for key, endpoint in endpoints.items()
    }
    found.update({key: entry.findings for key, entry in external.items()})
    found.update({key: (*virtual.findings[key], *entry.findings) for key, entry in virtual.entries.items()})
    for finding in _find_shared_names(outside):
        found[finding.key] = (*found[finding.key], finding)
    return found


def count_destinations(
    external: Mapping[ObjectKey, ExternalEntry], virtual: Mapping[ObjectKey, VirtualEntry]
) -> Mapping[ObjectKey, Mapping[str, object]]:
    """Object → further fields of its status, by wire name."""
    counts: dict[ObjectKey, Mapping[str, object]] = {
        key: {
            "ownedByWorkspace": entry.workspace,
            "numSelectedExternalEndpoints": entry.endpoint_count,
            "numSelectedVirtualGateways": 0,
        }
        for key, entry in external.items()
    }
    for key, virtual_entry in virtual.items():
        counts[key] = {
            "ownedByWorkspace": virtual_entry.workspace,
            "numSelectedBackingServices": virtual_entry.service_count,
        }
    return counts


def _find_shared_names(outside: Mapping[str, tuple[ExternalEntry | VirtualEntry, ...]]) -> Iterator[Finding]:
    """A warning for each name and port that a younger object of a workspace does not get."""
    for entries in outside.values():
        owners: dict[tuple[str, int], ObjectKey] = {}
        for entry in entries:
            for name in entry.names:
                for port in entry.ports:
                    owner = owners.setdefault((name, port.number), entry.key)
                    if owner != entry.key:
                        yield _conflict(entry.key, name, port.number, owner)


def _conflict(key: ObjectKey, name: str, port: int, owner: ObjectKey) -> Finding:
    message = (
        f"{name}:{port} without a route table leads to the older {owner.kind} {owner.namespace}/{owner.name} "
        f"of cluster {owner.cluster}"
    )
    return Finding(key=key, severity=Severity.WARNING, reason=Reason.CONFLICTED, message=message)
