"""Visibility: what the agent of a cluster may see of the others. Pure; a change costs the kinds that it is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshpass.api.admin import KubernetesCluster, Workspace, WorkspaceSettings
from meshpass.api.core import EndpointSlice, Namespace, Pod, Service
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.memo import Memo
from meshpass.relay.nodestate import place_of_node
from meshpass.relay.resource import Resources
from meshpass.translate.eastwestdoor import is_for_all
from meshpass.translate.endpointplace import SERVICE_NAME_LABEL
from meshpass.translate.sharing import Sharing
from meshpass.translate.workspace import WorkspaceIndex, broken_settings, index_workspaces

Place = tuple[str, str]
"""Cluster and namespace."""

ADMIN_KINDS = frozenset({"KubernetesCluster", "Namespace", "Workspace", "WorkspaceSettings"})
"""Everyone sees all of these: they say who belongs to whom, and everyone has to come to the same answer."""
SECRET = "Secret"  # noqa: S105
SERVICE_ACCOUNT = "ServiceAccount"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose objects the agent of a cluster sees."""

    cluster: str
    """Its own objects it has from its own API server."""
    places: frozenset[Place]
    """Namespaces of the workspaces that own a namespace of the cluster, and of those that these import from, and so on:
    what an imported route table delegates to is found in the workspaces that its owner imports from."""
    callers: frozenset[Place]
    """Namespaces of workspaces that import from one of those: their service accounts may be named by who lets them in."""
    passages: frozenset[ObjectKey] = frozenset()
    """The east-west gateways of others that are for everybody."""

    def sees(self, key: ObjectKey) -> bool:
        """True for an object in one of the namespaces, those of the cluster itself among them."""
        return (key.cluster, key.namespace) in self.places


def index_objects(objects: ObjectSet, management_cluster: str, memo: Memo) -> WorkspaceIndex:
    """Whose namespaces are whose; the same index as long as no object of a kind that says so changes."""
    return memo(
        index_workspaces,
        objects.all(Workspace),
        objects.all(KubernetesCluster),
        objects.all(Namespace),
        management_cluster,
        objects.all(WorkspaceSettings),
        broken_settings(objects.problems),
    )


def find_passages(
    services: Mapping[ObjectKey, Service],
    pods: Mapping[ObjectKey, Pod],
    slices: Mapping[ObjectKey, EndpointSlice],
    index: WorkspaceIndex,
) -> frozenset[ObjectKey]:
    """The Services of gateways that are for every workspace, and where they are; to be called through the memo."""
    found = {key for key, service in services.items() if is_for_all(service, index.place_owner(key))}
    at: dict[Place, list[Service]] = {}
    for key in found:
        at.setdefault((key.cluster, key.namespace), []).append(services[key])
    behind = {
        key
        for key, pod in pods.items()
        for service in at.get((key.cluster, key.namespace), ())
        if service.spec.selector and service.spec.selector.items() <= pod.metadata.labels.items()
    }
    places = {
        key
        for key, one in slices.items()
        for service in at.get((key.cluster, key.namespace), ())
        if one.metadata.labels.get(SERVICE_NAME_LABEL) == service.metadata.name
    }
    return frozenset(found | behind | places)


def find_scope(index: WorkspaceIndex, cluster: str, passages: frozenset[ObjectKey]) -> Scope:
    """What the cluster's agent may see; to be called through the memo."""
    own = frozenset(workspace for (where, _), workspace in index.owners.items() if where == cluster)
    seen = _with_sources(own, index.sharing)
    callers = frozenset(user for workspace in seen for user in index.sharing.importers(workspace))
    return Scope(
        cluster=cluster,
        places=frozenset(place for place, workspace in index.owners.items() if workspace in seen),
        callers=frozenset(place for place, workspace in index.owners.items() if workspace in callers),
        passages=passages,
    )


def _with_sources(workspaces: frozenset[str], sharing: Sharing) -> frozenset[str]:
    found, new = workspaces, workspaces
    while new:
        new = frozenset(source for workspace in new for source in sharing.sources(workspace)) - found
        found |= new
    return found


def is_for_agent(key: ObjectKey, scope: Scope, secrets: frozenset[ObjectKey]) -> bool:
    """True for an object that the agent is to hold.

    ``secrets`` are those that an object refers to which the agent sees; there are no others for it.
    """
    if key.cluster == scope.cluster:
        return False
    if key.kind in ADMIN_KINDS:
        return True
    if key.kind == SECRET:
        return key in secrets
    if key.kind == SERVICE_ACCOUNT and (key.cluster, key.namespace) in scope.callers:
        return True
    return scope.sees(key) or key in scope.passages


def is_for_management(key: ObjectKey, cluster: str, secrets: frozenset[ObjectKey]) -> bool:
    """True for an object that the cluster's agent tells; ``secrets`` are those that some object refers to."""
    return key.cluster == cluster and (key.kind != SECRET or key in secrets)


def select_states(resources: Resources, scope: Scope) -> Resources:
    """The states of processes and proxies of other clusters that the scope has; to be called through the memo."""
    seen = scope.places | {(cluster, "") for cluster, _ in scope.places}
    found = {}
    for node, one in resources.items():
        place = place_of_node(node)
        if place[0] != scope.cluster and place in seen:
            found[node] = one
    return found


def select_labels(resources: Resources, cluster: str) -> Resources:
    """The labels of the other clusters; to be called through the memo."""
    return {name: one for name, one in resources.items() if name != cluster}
