"""All VirtualDestinations, with what each has behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshpass.api.objectset import ObjectKey
from meshpass.api.virtualdestination import VirtualDestination
from meshpass.memo import Memo
from meshpass.translate.backing import make_backing, select_behind
from meshpass.translate.externalentry import ExternalEntry
from meshpass.translate.finding import Finding
from meshpass.translate.service import ServiceEntry
from meshpass.translate.virtualdestination import translate_virtual_destination
from meshpass.translate.virtualentry import VirtualEntry
from meshpass.translate.workspace import WorkspaceIndex


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VirtualDestinations:
    """The VirtualDestinations, with what there is to say about what they select."""

    entries: Mapping[ObjectKey, VirtualEntry]
    findings: Mapping[ObjectKey, tuple[Finding, ...]]


def translate_virtual_destinations(  # noqa: PLR0917
    destinations: Mapping[ObjectKey, VirtualDestination],
    services: Mapping[str, tuple[ServiceEntry, ...]],
    external: Mapping[ObjectKey, ExternalEntry],
    workspaces: WorkspaceIndex,
    problems: Mapping[ObjectKey, tuple[str, ...]],
    memo: Memo,
) -> VirtualDestinations:
    """Those that some workspace reads, sorted; one that did not change keeps its identity."""
    entries, findings = {}, {}
    outside: dict[str, list[ExternalEntry]] = {}
    for entry in external.values():
        outside.setdefault(entry.workspace, []).append(entry)
    backings = {
        owner: memo(make_backing, services.get(owner, ()), tuple(outside.get(owner, ())))
        for owner in {*services, *outside}
    }
    nothing = memo(make_backing, (), ())
    for key in sorted(destinations):
        owner = workspaces.owner(key)
        if owner is None:
            continue
        destination = destinations[key]
        behind = memo(select_behind, key, destination, owner, backings.get(owner, nothing))
        entries[key] = memo(
            translate_virtual_destination,
            key,
            destination,
            owner,
            behind.services,
            behind.external_services,
            problems.get(key, ()),
        )
        findings[key] = behind.findings
    return VirtualDestinations(entries=entries, findings=findings)
