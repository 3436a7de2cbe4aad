"""The reports about Workspaces, WorkspaceSettings, KubernetesClusters and RootTrustPolicies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from meshpass.api.admin import KubernetesCluster, Workspace, WorkspaceSettings
from meshpass.api.core import Service
from meshpass.api.external import ExternalService
from meshpass.api.kinds import KINDS, kind_of_type
from meshpass.api.metadata import ApiObject
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.api.roottrust import RootTrustPolicy
from meshpass.api.virtualdestination import VirtualDestination
from meshpass.memo import Memo
from meshpass.translate.clusterdomain import judge_domain
from meshpass.translate.effect import find_without_effect
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.objectfinding import find_misplaced, find_unreadable
from meshpass.translate.report import ObjectReport
from meshpass.translate.roottrust import judge_root_trust
from meshpass.translate.sharedobject import SHARED_TYPES, SharedCounts, count_shared
from meshpass.translate.sharingfinding import sharing_findings
from meshpass.translate.virtualdestination import no_termination
from meshpass.translate.workspace import WorkspaceIndex
from meshpass.translate.workspacesettings import GLOBAL_NAME, NOTHING, is_global

POLICY_KINDS = tuple(kind for kind in KINDS if ".policy." in kind.group)
DESTINATION_TYPES: tuple[type[ApiObject], ...] = (Service, VirtualDestination, ExternalService)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceFacts:
    """What others found out about a workspace, and that is told in the status of its settings."""

    findings: tuple[Finding, ...] = ()
    counts: Mapping[str, object] = field(default_factory=dict)
    """By wire name."""


NO_FACTS = WorkspaceFacts()


def report_workspaces(
    objects: ObjectSet, workspaces: WorkspaceIndex, facts: Mapping[str, WorkspaceFacts], memo: Memo
) -> dict[ObjectKey, ObjectReport]:
    """What there is to say about each of them; ``facts`` are by the names of workspaces."""
    shared = count_shared(objects, workspaces, memo)
    policies = memo(
        _count_policies,
        tuple(
            (go_name(kind.type), memo.each(_owner, objects.all(kind.type), kind.kind, workspaces))
            for kind in POLICY_KINDS
        ),
    )
    reports = {
        key: ObjectReport(
            generation=item.metadata.generation,
            findings=(
                *find_unreadable(key, objects.problems),
                *(finding for finding in workspaces.findings if finding.key == key),
                *memo(find_without_effect, key, item.spec),
            ),
            counts=_workspace_counts(key, workspaces, shared, policies),
        )
        for key, item in objects.all(Workspace).items()
    }
    for key, settings in objects.all(WorkspaceSettings).items():
        of_all = is_global(key, workspaces.management_cluster)
        owner = None if of_all else workspaces.owner(key)
        reports[key] = ObjectReport(
            generation=settings.metadata.generation,
            findings=(
                *find_unreadable(key, objects.problems),
                *(() if of_all else find_misplaced(key, workspaces)),
                *_settings_findings(key, settings, workspaces, shared, facts, of_all, memo),
                *_client_mode_findings(key, settings),
                *memo(find_without_effect, key, settings.spec),
            ),
            counts=_settings_counts(key, owner, workspaces, facts),
        )
    for key, cluster in objects.all(KubernetesCluster).items():
        reports[key] = ObjectReport(
            generation=cluster.metadata.generation,
            findings=(
                *find_unreadable(key, objects.problems),
                *_cluster_findings(key, workspaces.management_cluster),
                *judge_domain(key, cluster),
                *memo(find_without_effect, key, cluster.spec),
            ),
        )
    for key, policy in objects.all(RootTrustPolicy).items():
        reports[key] = ObjectReport(
            generation=policy.metadata.generation,
            findings=(
                *find_unreadable(key, objects.problems),
                *memo(judge_root_trust, key, policy, workspaces.management_cluster),
            ),
        )
    return reports


def go_name(object_type: type[ApiObject]) -> str:
    """A kind as the API names it in its counts: the way in which Go prints a group, version and kind."""
    kind = kind_of_type(object_type)
    return f"{kind.group}/{kind.version}, Kind={kind.kind}"


def _owner(key: ObjectKey, _item: ApiObject, _kind: str, workspaces: WorkspaceIndex) -> str | None:
    return workspaces.owner(key)


def _count_policies(
    owners: tuple[tuple[str, Mapping[ObjectKey, str | None]], ...],
) -> Mapping[str, Mapping[str, int]]:
    """Workspace → kind → number of policies."""
    found: dict[str, dict[str, int]] = {}
    for kind, of_kind in owners:
        for workspace, count in Counter(of_kind.values()).items():
            if workspace is not None:
                found.setdefault(workspace, {})[kind] = count
    return found


def _workspace_counts(
    key: ObjectKey, workspaces: WorkspaceIndex, shared: SharedCounts, policies: Mapping[str, Mapping[str, int]]
) -> Mapping[str, object]:
    clusters, namespaces = workspaces.selected.get(key, (0, 0))
    counts: dict[str, object] = {"numSelectedClusters": clusters, "numSelectedNamespaces": namespaces}
    name = key.name
    if workspaces.workspaces.get(name) != key:
        return counts
    settings = workspaces.settings.of(name).key or workspaces.settings.global_key
    if settings is not None:
        counts["workspaceSettings"] = _reference(settings)
    resources = {}
    for kind in SHARED_TYPES:
        place = (name, kind.__name__)
        own, exported = shared.own.get(place, 0), shared.exported.get(place, 0)
        imported = shared.imported.get(place, 0)
        if own or imported:
            resources[go_name(kind)] = {"imported": imported, "exported": exported, "private": own - exported}
    return {
        **counts,
        "numResources": resources,
        "policyCounts": dict(policies.get(name, {})),
        "destinationCounts": {
            go_name(kind): count for kind in DESTINATION_TYPES if (count := shared.own.get((name, kind.__name__), 0))
        },
        "numImportedWorkspaces": len(workspaces.sharing.sources(name)),
    }


def _reference(key: ObjectKey) -> Mapping[str, str]:
    return {"name": key.name, "namespace": key.namespace, "cluster": key.cluster}


def _settings_findings(  # noqa: PLR0917
    key: ObjectKey,
    settings: WorkspaceSettings,
    workspaces: WorkspaceIndex,
    shared: SharedCounts,
    facts: Mapping[str, WorkspaceFacts],
    of_all: bool,
    memo: Memo,
) -> tuple[Finding, ...]:
    sharing, spec = workspaces.sharing, settings.spec
    told = tuple(dict.fromkeys(finding for one in facts.values() for finding in one.findings if finding.key == key))
    if of_all:
        return (*memo(sharing_findings, key, spec.import_from, spec.export_to, None, sharing, shared), *told)
    owner = workspaces.owner(key)
    held = workspaces.settings.of(owner)
    if held.key != key:
        return tuple(finding for finding in workspaces.settings.findings if finding.key == key)
    import_from, export_to = (
        entries if own and entries is not NOTHING and path not in held.overridden else ()
        for path, own, entries in (
            ("spec.importFrom", spec.import_from, held.import_from),
            ("spec.exportTo", spec.export_to, held.export_to),
        )
    )
    message = f"the WorkspaceSettings {GLOBAL_NAME}, which hold for all workspaces, say otherwise"
    return (
        *(
            Finding(key=key, severity=Severity.WARNING, reason=Reason.CONFLICTED, path=path, message=message)
            for path in held.overridden
        ),
        *memo(sharing_findings, key, import_from, export_to, owner, sharing, shared),
        *told,
    )


def _settings_counts(
    key: ObjectKey, owner: str | None, workspaces: WorkspaceIndex, facts: Mapping[str, WorkspaceFacts]
) -> Mapping[str, object]:
    if owner is None or workspaces.settings.of(owner).key != key:
        return {}
    return {"workspace": _reference(workspaces.workspaces[owner]), **facts.get(owner, NO_FACTS).counts}


def _client_mode_findings(key: ObjectKey, settings: WorkspaceSettings) -> tuple[Finding, ...]:
    options = settings.spec.options
    mode = options.virtual_dest_client_mode if options is not None else None
    if mode is None or mode.tls_termination is None:
        return ()
    return (no_termination(key, "spec.options.virtualDestClientMode.tlsTermination"),)


def _cluster_findings(key: ObjectKey, management_cluster: str) -> tuple[Finding, ...]:
    if key.cluster == management_cluster:
        return ()
    message = f"clusters are registered in the management cluster {management_cluster} only"
    return (Finding(key=key, severity=Severity.WARNING, reason=Reason.NO_EFFECT, message=message),)
