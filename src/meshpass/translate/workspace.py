"""Workspaces: which namespaces of which clusters belong together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from types import MappingProxyType

from meshpass.api.admin import (
    ClusterSelector,
    KubernetesCluster,
    NamespaceSelector,
    Workspace,
    WorkspaceOptions,
    WorkspaceSettings,
)
from meshpass.api.core import Namespace
from meshpass.api.objectset import ObjectKey
from meshpass.translate.age import by_age
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.sharing import NO_SHARING, Sharing, SharingSide, make_sharing
from meshpass.translate.workspacesettings import SettingsIndex, index_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceIndex:
    """Who owns each namespace, whose configuration is read, and what workspaces share."""

    owners: Mapping[tuple[str, str], str]
    """(cluster, namespace) → name of its workspace."""
    read: frozenset[tuple[str, str]]
    """The namespaces whose Meshpass objects count."""
    selected: Mapping[ObjectKey, tuple[int, int]]
    """Workspace → number of clusters, number of namespaces."""
    findings: tuple[Finding, ...]
    workspaces: Mapping[str, ObjectKey] = field(default_factory=lambda: MappingProxyType({}))
    """The workspaces that count, by name."""
    management_cluster: str = ""
    """Where workspaces and clusters are registered."""
    settings: SettingsIndex = field(default_factory=SettingsIndex)
    sharing: Sharing = NO_SHARING

    def owner(self, key: ObjectKey) -> str | None:
        """The workspace in which an object counts; None if it counts in none."""
        place = (key.cluster, key.namespace)
        return self.owners.get(place) if place in self.read else None

    def place_owner(self, key: ObjectKey) -> str | None:
        """The workspace that has the namespace of an object, whether or not configuration is read from it: of a Service."""
        return self.owners.get((key.cluster, key.namespace))

    def options_of(self, workspace: str | None) -> WorkspaceOptions:
        """What a workspace's settings and the global ones say together; nothing is set for None, or where none say anything."""
        return self.settings.of(workspace).options


def index_workspaces(  # noqa: PLR0917
    workspaces: Mapping[ObjectKey, Workspace],
    clusters: Mapping[ObjectKey, KubernetesCluster],
    namespaces: Mapping[ObjectKey, Namespace],
    management_cluster: str,
    settings: Mapping[ObjectKey, WorkspaceSettings] = MappingProxyType({}),
    broken: tuple[tuple[ObjectKey, tuple[str, ...]], ...] = (),
) -> WorkspaceIndex:
    """Resolve all workspaces. Of two that claim a namespace the older keeps it (decision 24).

    ``broken`` are the settings that could not be read whole, with what is wrong; see ``broken_settings``.
    """
    owners: dict[tuple[str, str], str] = {}
    read: set[tuple[str, str]] = set()
    selected: dict[ObjectKey, tuple[int, int]] = {}
    findings: list[Finding] = []
    # Only the management cluster says what clusters there are: a workload cluster must not relabel itself into a workspace.
    known = [(key, cluster) for key, cluster in by_age(clusters) if key.cluster == management_cluster]
    cluster_labels = {key.name: cluster.metadata.labels for key, cluster in reversed(known)}
    counted: dict[str, ObjectKey] = {}
    for key, workspace in by_age(workspaces):
        if key.cluster != management_cluster:
            findings.append(_warn(key, f"workspaces are read from the management cluster {management_cluster} only"))
            continue
        if key.name in counted:
            findings.append(_warn(key, "an older workspace has this name, in another namespace"))
            continue
        counted[key.name] = key
        claimed = dict(_select(workspace, namespaces, cluster_labels, management_cluster))
        empty = tuple(_find_empty(key, workspace, namespaces, cluster_labels, management_cluster))
        if not claimed and not any(finding.severity is Severity.INVALID for finding in empty):
            findings.append(_warn(key, "selects no namespace"))
        findings.extend(empty)
        taken = sorted(place for place in claimed if owners.get(place, key.name) != key.name)
        if taken:
            cluster, name = taken[0]
            message = f"namespace {name} of cluster {cluster} belongs to the older workspace {owners[taken[0]]}"
            message = message if len(taken) == 1 else f"{message} (and {len(taken) - 1} more)"
            findings.append(_find(key, Severity.WARNING, Reason.CONFLICTED, message))
        kept = {place: enabled for place, enabled in claimed.items() if place not in taken}
        owners.update(dict.fromkeys(kept, key.name))
        read.update(place for place, enabled in kept.items() if enabled)
        selected[key] = (len({cluster for cluster, _ in kept}), len(kept))
    index = WorkspaceIndex(
        owners=owners,
        read=frozenset(read),
        selected=selected,
        findings=tuple(findings),
        workspaces=counted,
        management_cluster=management_cluster,
    )
    chosen = index_settings(settings, frozenset(counted), index.owner, dict(broken), management_cluster)
    return replace(index, settings=chosen, sharing=_share(workspaces, counted, chosen))


def broken_settings(problems: Mapping[ObjectKey, tuple[str, ...]]) -> tuple[tuple[ObjectKey, tuple[str, ...]], ...]:
    """The problems of WorkspaceSettings alone, so that what is wrong with other objects makes no new index."""
    return tuple(sorted((key, found) for key, found in problems.items() if key.kind == "WorkspaceSettings"))


def _share(
    workspaces: Mapping[ObjectKey, Workspace], counted: Mapping[str, ObjectKey], settings: SettingsIndex
) -> Sharing:
    return make_sharing(
        {
            name: SharingSide(
                workspaces[key].metadata.labels, settings.of(name).import_from, settings.of(name).export_to
            )
            for name, key in counted.items()
        }
    )


def _warn(key: ObjectKey, message: str) -> Finding:
    return _find(key, Severity.WARNING, Reason.TARGET_NOT_FOUND, message)


def _find(key: ObjectKey, severity: Severity, reason: Reason, message: str, path: str = "") -> Finding:
    return Finding(key=key, severity=severity, reason=reason, path=path, message=message)


def _find_empty(
    key: ObjectKey,
    workspace: Workspace,
    namespaces: Mapping[ObjectKey, Namespace],
    cluster_labels: Mapping[str, Mapping[str, str]],
    management_cluster: str,
) -> Iterator[Finding]:
    """The selectors that are for nothing: those that say nothing are wrong, the others may only be early."""
    if not workspace.spec.workload_clusters:
        path, message = "spec.workloadClusters", "names no clusters, and so the workspace is empty"
        yield _find(key, Severity.INVALID, Reason.INVALID, message, path)
    clusters = {*cluster_labels, *(one.cluster for one in namespaces)}
    for index, selector in enumerate(workspace.spec.workload_clusters):
        path = f"spec.workloadClusters[{index}]"
        if not selector.namespaces:
            message = "names no namespaces of these clusters, and so takes nothing in"
            yield _find(key, Severity.INVALID, Reason.INVALID, message, f"{path}.namespaces")
        matched = {name for name in clusters if _matches_cluster(selector, name, cluster_labels)}
        if not matched:
            yield _find(key, Severity.NOTE, Reason.TARGET_NOT_FOUND, "is for no cluster of the mesh", path)
        for number, wanted in enumerate(selector.namespaces if matched else ()):
            if not any(
                one.cluster in {*matched, management_cluster}
                and _matches_namespace(wanted, one.name, namespace.metadata.labels)
                for one, namespace in namespaces.items()
            ):
                where = f"{path}.namespaces[{number}]"
                yield _find(key, Severity.NOTE, Reason.TARGET_NOT_FOUND, "is for no namespace of these clusters", where)


def _select(
    workspace: Workspace,
    namespaces: Mapping[ObjectKey, Namespace],
    cluster_labels: Mapping[str, Mapping[str, str]],
    management_cluster: str,
) -> Iterable[tuple[tuple[str, str], bool]]:
    """Each claimed (cluster, namespace), and whether configuration is read from it."""
    selectors = workspace.spec.workload_clusters
    for key, namespace in namespaces.items():
        enabled = None
        for selector in selectors:
            # The management cluster's configuration is read whichever clusters are selected (decision 25).
            if key.cluster != management_cluster and not _matches_cluster(selector, key.cluster, cluster_labels):
                continue
            for wanted in selector.namespaces:
                if _matches_namespace(wanted, key.name, namespace.metadata.labels):
                    here = _enabled(selector, selectors) and _enabled(wanted, selector.namespaces)
                    enabled = here if enabled is None else enabled or here
        if enabled is not None:
            yield (key.cluster, key.name), enabled


def _enabled(
    one: ClusterSelector | NamespaceSelector, peers: Iterable[ClusterSelector] | Iterable[NamespaceSelector]
) -> bool:
    # Unset means true as long as no peer is set; a peer that is set makes the unset ones false.
    if one.config_enabled is not None:
        return one.config_enabled
    return all(peer.config_enabled is None for peer in peers)


def _matches_cluster(selector: ClusterSelector, name: str, labels: Mapping[str, Mapping[str, str]]) -> bool:
    if selector.name and not fnmatchcase(name, selector.name):
        return False
    own = labels.get(name, {})
    return all(own.get(label) == value for label, value in (selector.selector).items())


def _matches_namespace(selector: NamespaceSelector, name: str, labels: Mapping[str, str]) -> bool:
    if not selector.name and not selector.labels:
        return False
    if selector.name and not fnmatchcase(name, selector.name):
        return False
    return all(labels.get(label) == value for label, value in (selector.labels).items())
