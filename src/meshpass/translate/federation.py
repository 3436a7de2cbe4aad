"""Federation: the Services that other clusters may refer to, and the hosts by which they know them (behaviour §6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from meshpass.api.admin import Federation as FederationOptions
from meshpass.api.common import ObjectSelector, PortSelector
from meshpass.api.objectset import ObjectKey
from meshpass.memo import Memo
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.host import host_problem, normalize_host
from meshpass.translate.service import ServiceEntry
from meshpass.translate.workspace import WorkspaceIndex

_PATH = "spec.options.federation"


class Federated(NamedTuple):
    """A Service that other clusters may refer to."""

    service: ServiceEntry
    ports: tuple[int, ...]
    """Of the Service; never empty."""
    host: str
    """By which every cluster knows it; empty where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorkspaceFederation:
    """What one workspace federates."""

    enabled: bool = False
    services: Mapping[ObjectKey, Federated] = field(default_factory=lambda: MappingProxyType({}))
    findings: tuple[Finding, ...] = ()
    """For its WorkspaceSettings."""


NO_FEDERATION = WorkspaceFederation()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Federation:
    """What all workspaces federate. The same object as long as nothing of it changed."""

    workspaces: Mapping[str, WorkspaceFederation]

    def of(self, workspace: str | None) -> WorkspaceFederation:
        """What a workspace federates."""
        return self.workspaces.get(workspace or "", NO_FEDERATION)

    def why_not(self, service: ObjectKey, port: int, workspace: str | None) -> str:
        """Why another cluster may not refer to a port of a workspace's Service, and what would have to be said; or empty."""
        federation = self.of(workspace)
        if not federation.enabled:
            return f"needs options.federation.enabled in the WorkspaceSettings of workspace {workspace}"
        found = federation.services.get(service)
        if found is None:
            return f"is in no options.federation.serviceSelector of the WorkspaceSettings of workspace {workspace}"
        if port not in found.ports:
            return f"needs its port in options.federation.ports of the WorkspaceSettings of workspace {workspace}"
        return ""


def make_federation(
    services: Mapping[str, tuple[ServiceEntry, ...]], workspaces: WorkspaceIndex, memo: Memo
) -> Federation:
    """What each workspace federates of its Services; to be called through the memo."""
    found: dict[str, WorkspaceFederation] = {}
    for workspace in sorted(workspaces.settings.of_workspace):
        options = workspaces.options_of(workspace).federation
        if options is not None and options.enabled:
            key = workspaces.settings.of(workspace).key or workspaces.settings.global_key
            found[workspace] = memo(_federate, key, workspace, options, services.get(workspace, ()))
    return memo(_freeze, tuple(found.items()))


def _freeze(workspaces: tuple[tuple[str, WorkspaceFederation], ...]) -> Federation:
    return Federation(workspaces=dict(workspaces))


def _federate(
    key: ObjectKey | None, workspace: str, options: FederationOptions, services: tuple[ServiceEntry, ...]
) -> WorkspaceFederation:
    """Without a selector every Service of the workspace is federated, without ports all that it has."""
    problem = _suffix_problem(options.host_suffix)
    findings = [(f"{_PATH}.hostSuffix", problem, Reason.INVALID_HOST)] if problem else []
    used: set[int] = set()
    found: dict[ObjectKey, Federated] = {}
    for service in services:
        selectors = [
            index for index, one in enumerate(options.service_selector) if _is_selected(one, service, workspace)
        ]
        if options.service_selector and not selectors:
            continue
        used.update(selectors)
        ports = tuple(port.number for port in service.ports if _is_port(port.number, port.name, options.ports))
        if not ports:
            continue
        host = "" if problem else _host(service.key, options.host_suffix)
        wrong = host_problem(host) if host else None
        if wrong is not None:
            message = f"Service {service.key.name} in namespace {service.key.namespace} has no host {host}: {wrong}"
            findings.append((_PATH, message, Reason.INVALID_HOST))
        found[service.key] = Federated(service=service, ports=ports, host="" if wrong is not None else host)
    findings.extend(_unused(options, used, workspace))
    return WorkspaceFederation(
        enabled=True,
        services=found,
        findings=tuple(
            Finding(key=key, severity=Severity.WARNING, reason=reason, path=path, message=message)
            for path, message, reason in findings
            if key is not None
        ),
    )


def _unused(options: FederationOptions, used: set[int], workspace: str) -> Iterator[tuple[str, str, Reason]]:
    for index in range(len(options.service_selector)):
        if index not in used:
            path = f"{_PATH}.serviceSelector[{index}]"
            yield path, f"selects no Service of workspace {workspace}", Reason.TARGET_NOT_FOUND


def _suffix_problem(suffix: str) -> str:
    if not suffix:
        return "is needed: without it the Services have no hosts of their own in other clusters"
    wrong = "a suffix has no wildcard" if "*" in suffix else host_problem(suffix)
    return f"{wrong}; the Services have no hosts of their own in other clusters" if wrong is not None else ""


def _host(service: ObjectKey, suffix: str) -> str:
    return normalize_host(f"{service.name}.{service.namespace}.{service.cluster}.{suffix}")


def _is_selected(selector: ObjectSelector, service: ServiceEntry, workspace: str) -> bool:
    return (
        selector.name in {"", service.key.name}
        and selector.namespace in {"", service.key.namespace}
        and selector.cluster in {"", service.key.cluster}
        and selector.workspace in {"", workspace}
        and selector.labels.items() <= service.labels.items()
    )


def _is_port(number: int, name: str, wanted: tuple[PortSelector, ...]) -> bool:
    return not wanted or any(
        one.number in {None, number} and one.name in {None, name} and (one.number, one.name) != (None, None)
        for one in wanted
    )
