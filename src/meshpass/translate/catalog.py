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
from meshpass.translate.clusterdomain import DEFAULT_DOMAIN
from meshpass.translate.credential import Credentials
from meshpass.translate.destinationreport import count_destinations, gather_findings
from meshpass.translate.externalentry import ExternalEntry
from meshpass.translate.externalservices import choose_endpoints, translate_external_services
from meshpass.translate.federation import Federation, make_federation
from meshpass.translate.finding import Finding
from meshpass.translate.service import ServiceEntry, Services, make_service_entry
from meshpass.translate.virtualdestinations import translate_virtual_destinations
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
    federation: Federation
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
        port = found.port(number) if found is not None else None
        return port.name if port is not None else ""


def make_catalog(  # noqa: PLR0917
    services: Mapping[ObjectKey, Service],
    external_services: Mapping[ObjectKey, ExternalService],
    external_endpoints: Mapping[ObjectKey, ExternalEndpoint],
    virtual_destinations: Mapping[ObjectKey, VirtualDestination],
    workspaces: WorkspaceIndex,
    clusters: frozenset[str],
    domains: Mapping[str, str],
    system_authorities: str,
    credentials: Credentials,
    problems: Mapping[ObjectKey, tuple[str, ...]],
    memo: Memo,
) -> Catalog:
    """Everything in its one form; to be called through the memo. What did not change keeps its identity.

    ``domains`` come from ``find_domains``. ``system_authorities`` is the path, for the proxies, of the authorities that are believed where an object names
    none; empty if there is no such file. ``credentials`` come from ``index_credentials``. ``problems`` are what was
    wrong with manifests: an object that could not be read whole is not sent to.
    """
    entries = memo(_index_services, services, domains, memo)
    by_workspace = memo(_by_workspace, entries, workspaces)
    chosen = memo(choose_endpoints, external_services, external_endpoints, workspaces, problems)
    external = memo(
        translate_external_services,
        external_services,
        chosen,
        workspaces,
        system_authorities,
        credentials,
        problems,
        memo,
    )
    virtual = memo(
        translate_virtual_destinations,
        virtual_destinations,
        by_workspace,
        external,
        workspaces,
        problems,
        memo,
    )
    outside = memo(_oldest_first, external, virtual.entries)
    return Catalog(
        services=entries,
        services_by_workspace=by_workspace,
        external_services=external,
        virtual_destinations=virtual.entries,
        outside_by_workspace=outside,
        federation=memo(make_federation, by_workspace, workspaces, memo),
        workspaces=workspaces,
        clusters=clusters,
        findings=memo(gather_findings, external, external_endpoints, virtual, outside, chosen),
        counts=memo(count_destinations, external, virtual.entries),
    )


def _index_services(services: Mapping[ObjectKey, Service], domains: Mapping[str, str], memo: Memo) -> Services:
    return {
        key: memo(make_service_entry, key, services[key], domains.get(key.cluster, DEFAULT_DOMAIN))
        for key in sorted(services)
    }


def _by_workspace(services: Services, workspaces: WorkspaceIndex) -> Mapping[str, tuple[ServiceEntry, ...]]:
    found: dict[str, list[ServiceEntry]] = {}
    for key, service in services.items():
        owner = workspaces.owners.get((key.cluster, key.namespace))
        if owner is not None:
            found.setdefault(owner, []).append(service)
    return {owner: tuple(several) for owner, several in found.items()}


def _oldest_first(
    external: Mapping[ObjectKey, ExternalEntry], virtual: Mapping[ObjectKey, VirtualEntry]
) -> Mapping[str, tuple[ExternalEntry | VirtualEntry, ...]]:
    found: dict[str, list[ExternalEntry | VirtualEntry]] = {}
    entries: list[ExternalEntry | VirtualEntry] = [*external.values(), *virtual.values()]
    for entry in sorted(entries, key=lambda one: (*one.age, one.key)):
        found.setdefault(entry.workspace, []).append(entry)
    return {workspace: tuple(entries) for workspace, entries in found.items()}
