"""Catalog: all that requests can be sent to, over all clusters. It does not follow endpoints of Services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from meshpass.api.core import Service
from meshpass.api.external import ExternalEndpoint, ExternalService
from meshpass.api.objectset import ObjectKey
from meshpass.api.virtualdestination import VirtualDestination
from meshpass.memo import Memo
from meshpass.translate.credential import Credentials, credentials_of
from meshpass.translate.external import (
    Endpoints,
    judge_external_endpoint,
    select_external_endpoints,
    translate_external_service,
)
from meshpass.translate.externalentry import ExternalEntry
from meshpass.translate.finding import Finding
from meshpass.translate.service import ServiceEntry, Services, make_service_entry
from meshpass.translate.sharedname import find_shared_names
from meshpass.translate.virtualdestination import (
    make_backing,
    select_behind,
    translate_virtual_destination,
)
from meshpass.translate.virtualentry import VirtualEntry
from meshpass.translate.workspace import WorkspaceIndex

_NO_LABELS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Catalog:
    """Whatever a destination may be. The same object as long as nothing of it changed."""

    services: Services
    """Sorted."""
    services_by_workspace: Mapping[str, tuple[ServiceEntry, ...]]
    external_services: Mapping[ObjectKey, ExternalEntry]
    """Those that some workspace reads; sorted."""
    virtual_destinations: Mapping[ObjectKey, VirtualEntry]
    """Those that some workspace reads; sorted."""
    outside_by_workspace: Mapping[str, tuple[ExternalEntry | VirtualEntry, ...]]
    """Both, oldest first."""
    workspaces: WorkspaceIndex
    clusters: frozenset[str]
    """The clusters of the mesh."""
    findings: Mapping[ObjectKey, tuple[Finding, ...]]
    """What there is to say about each ExternalService, ExternalEndpoint and VirtualDestination."""
    counts: Mapping[ObjectKey, Mapping[str, object]]
    """Further fields of their statuses, by wire name."""

    def get(self, key: ObjectKey) -> ServiceEntry | ExternalEntry | VirtualEntry | None:
        """What is known of a Service, ExternalService or VirtualDestination; None if there is none of that key."""
        return self.services.get(key) or self.external_services.get(key) or self.virtual_destinations.get(key)

    def labels(self, key: ObjectKey) -> Mapping[str, str]:
        """The labels of a destination; none for one that is not there."""
        found = self.get(key)
        return found.labels if found is not None else _NO_LABELS

    def port_name(self, key: ObjectKey, number: int) -> str:
        """The name of a destination's port; empty for one that has none, or is not there."""
        found = self.get(key)
        ports = found.ports if found is not None else ()
        return next((port.name for port in ports if port.number == number), "")


def make_catalog(  # noqa: PLR0917
    services: Mapping[ObjectKey, Service],
    external_services: Mapping[ObjectKey, ExternalService],
    external_endpoints: Mapping[ObjectKey, ExternalEndpoint],
    virtual_destinations: Mapping[ObjectKey, VirtualDestination],
    workspaces: WorkspaceIndex,
    clusters: frozenset[str],
    management_cluster: str,
    system_authorities: str,
    credentials: Credentials,
    problems: Mapping[ObjectKey, tuple[str, ...]],
    memo: Memo,
) -> Catalog:
    """Everything in its one form; to be called through the memo. What did not change keeps its identity.

    ``system_authorities`` is the path, for the proxies, of the authorities that are believed where an object names
    none; empty if there is no such file. ``credentials`` come from ``index_credentials``. ``problems`` are what was
    wrong with manifests: an object that could not be read whole is not sent to.
    """
    entries = memo(_index_services, services, memo)
    by_workspace = memo(_by_workspace, entries, workspaces)
    chosen = memo(_choose_endpoints, external_services, external_endpoints, workspaces, problems)
    external = memo(
        _translate_external, external_services, chosen, workspaces, system_authorities, credentials, problems, memo
    )
    virtual = memo(
        _translate_virtual, virtual_destinations, by_workspace, external, workspaces, management_cluster, problems, memo
    )
    outside = memo(_oldest_first, external, virtual.entries)
    return Catalog(
        services=entries,
        services_by_workspace=by_workspace,
        external_services=external,
        virtual_destinations=virtual.entries,
        outside_by_workspace=outside,
        workspaces=workspaces,
        clusters=clusters,
        findings=memo(_gather_findings, external, external_endpoints, virtual, outside, chosen),
        counts=memo(_count, external, virtual.entries),
    )


def _index_services(services: Mapping[ObjectKey, Service], memo: Memo) -> Services:
    return {key: memo(make_service_entry, key, services[key]) for key in sorted(services)}


def _by_workspace(services: Services, workspaces: WorkspaceIndex) -> Mapping[str, tuple[ServiceEntry, ...]]:
    found: dict[str, list[ServiceEntry]] = {}
    for key, service in services.items():
        owner = workspaces.owners.get((key.cluster, key.namespace))
        if owner is not None:
            found.setdefault(owner, []).append(service)
    return {owner: tuple(several) for owner, several in found.items()}


ChosenEndpoints = Mapping[ObjectKey, Endpoints]
"""ExternalService → the ExternalEndpoints that it selects."""


def _choose_endpoints(
    services: Mapping[ObjectKey, ExternalService],
    endpoints: Mapping[ObjectKey, ExternalEndpoint],
    workspaces: WorkspaceIndex,
    problems: Mapping[ObjectKey, tuple[str, ...]],
) -> ChosenEndpoints:
    """Those of the service's own workspace and cluster."""
    places: dict[tuple[str | None, str], dict[ObjectKey, ExternalEndpoint]] = {}
    for key in sorted(endpoints):
        places.setdefault((workspaces.owner(key), key.cluster), {})[key] = endpoints[key]
    return {
        key: tuple(
            (found, None if found in problems else endpoint)
            for found, endpoint in select_external_endpoints(
                service, places.get((workspaces.owner(key), key.cluster), {})
            )
        )
        for key, service in services.items()
    }


def _translate_external(  # noqa: PLR0917
    services: Mapping[ObjectKey, ExternalService],
    chosen: ChosenEndpoints,
    workspaces: WorkspaceIndex,
    system_authorities: str,
    credentials: Credentials,
    problems: Mapping[ObjectKey, tuple[str, ...]],
    memo: Memo,
) -> Mapping[ObjectKey, ExternalEntry]:
    return {
        key: memo(
            translate_external_service,
            key,
            services[key],
            owner,
            chosen[key],
            credentials_of(key, services[key], credentials),
            system_authorities,
            problems.get(key, ()),
        )
        for key in sorted(services)
        if (owner := workspaces.owner(key)) is not None
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Virtual:
    """The VirtualDestinations, with what there is to say about what they select."""

    entries: Mapping[ObjectKey, VirtualEntry]
    findings: Mapping[ObjectKey, tuple[Finding, ...]]


def _translate_virtual(  # noqa: PLR0917
    destinations: Mapping[ObjectKey, VirtualDestination],
    services: Mapping[str, tuple[ServiceEntry, ...]],
    external: Mapping[ObjectKey, ExternalEntry],
    workspaces: WorkspaceIndex,
    management_cluster: str,
    problems: Mapping[ObjectKey, tuple[str, ...]],
    memo: Memo,
) -> _Virtual:
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
        behind = memo(select_behind, key, destination, owner, backings.get(owner, nothing), management_cluster)
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
    return _Virtual(entries=entries, findings=findings)


def _oldest_first(
    external: Mapping[ObjectKey, ExternalEntry], virtual: Mapping[ObjectKey, VirtualEntry]
) -> Mapping[str, tuple[ExternalEntry | VirtualEntry, ...]]:
    found: dict[str, list[ExternalEntry | VirtualEntry]] = {}
    entries: list[ExternalEntry | VirtualEntry] = [*external.values(), *virtual.values()]
    for entry in sorted(entries, key=lambda one: (*one.age, one.key)):
        found.setdefault(entry.workspace, []).append(entry)
    return {workspace: tuple(entries) for workspace, entries in found.items()}


def _gather_findings(
    external: Mapping[ObjectKey, ExternalEntry],
    endpoints: Mapping[ObjectKey, ExternalEndpoint],
    virtual: _Virtual,
    outside: Mapping[str, tuple[ExternalEntry | VirtualEntry, ...]],
    chosen: ChosenEndpoints,
) -> Mapping[ObjectKey, tuple[Finding, ...]]:
    selected = {key for key in external for key, _ in chosen[key]}
    found = {
        key: judge_external_endpoint(key, endpoint, selected=key in selected) for key, endpoint in endpoints.items()
    }
    found.update({key: entry.findings for key, entry in external.items()})
    found.update({key: (*virtual.findings[key], *entry.findings) for key, entry in virtual.entries.items()})
    for finding in find_shared_names(outside):
        found[finding.key] = (*found[finding.key], finding)
    return found


def _count(
    external: Mapping[ObjectKey, ExternalEntry], virtual: Mapping[ObjectKey, VirtualEntry]
) -> Mapping[ObjectKey, Mapping[str, object]]:
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
