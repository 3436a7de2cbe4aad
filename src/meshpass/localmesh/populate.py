"""Populate: stores a mesh file's objects in its clusters, and removes those that it no longer has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meshpass.errors import ApiError
from meshpass.kube.apply import apply_raw
from meshpass.kube.client import KubeClient, PatchType
from meshpass.kube.gather import gather_all
from meshpass.kube.resource import DiscoveredKind, Raw, ResourceKind
from meshpass.localmesh.meshfile import LocalMesh
from meshpass.localmesh.objects import (
    ADMIN_NAMESPACE,
    MANAGED,
    Placements,
    cluster_objects,
    default_workspace,
    default_workspace_settings,
    load_balancer_status,
    namespace_objects,
    pod_status,
    workload_objects,
)

_POD = DiscoveredKind(group="", version="v1", kind="Pod", plural="pods", namespaced=True)
_SERVICE = DiscoveredKind(group="", version="v1", kind="Service", plural="services", namespaced=True)
_FOLLOWING: tuple[ResourceKind, ...] = (
    DiscoveredKind(
        group="discovery.k8s.io", version="v1", kind="EndpointSlice", plural="endpointslices", namespaced=True
    ),
    _POD,
    _SERVICE,
)
_CLUSTERS = DiscoveredKind(
    group="admin.gloo.solo.io", version="v2", kind="KubernetesCluster", plural="kubernetesclusters", namespaced=True
)
_UNPROCESSABLE = 422
_WORKSPACES = DiscoveredKind(
    group="admin.gloo.solo.io", version="v2", kind="Workspace", plural="workspaces", namespaced=True
)
_WORKSPACE_SETTINGS = DiscoveredKind(
    group="admin.gloo.solo.io", version="v2", kind="WorkspaceSettings", plural="workspacesettings", namespaced=True
)


async def populate_clusters(mesh: LocalMesh, kubeconfig: Path, placements: Placements) -> None:
    """Every cluster holds the mesh file's objects as it describes them, and no others of an earlier mesh file.

    What users stored stays: only objects with our own label are removed, and the default Workspace and its settings are
    made only where the management cluster has none. Raises ApiError.
    """
    async with AsyncExitStack() as stack:
        clients = [KubeClient.from_kubeconfig(kubeconfig, one.name, cluster=one.name) for one in mesh.clusters]
        for client in clients:
            await stack.enter_async_context(client)
        await gather_all(_populate(mesh, client, placements) for client in clients)


async def register_clusters(mesh: LocalMesh, kubeconfig: Path) -> None:
    """The management cluster knows the mesh file's clusters, so that their agents are not refused. Raises ApiError."""
    management = mesh.management.name
    async with KubeClient.from_kubeconfig(kubeconfig, management, cluster=management) as client:
        for raw in namespace_objects(mesh, management):
            if raw["metadata"]["name"] == ADMIN_NAMESPACE:
                await apply_raw(client, raw)
        for raw in cluster_objects(mesh, management):
            await apply_raw(client, raw)


async def _populate(mesh: LocalMesh, client: KubeClient, placements: Placements) -> None:
    cluster = client.cluster
    for raw in namespace_objects(mesh, cluster):
        await apply_raw(client, raw)
    desired = [*cluster_objects(mesh, cluster), *workload_objects(mesh, cluster, placements)]
    kinds = (*_FOLLOWING, _CLUSTERS) if cluster == mesh.management.name else _FOLLOWING
    await _prune(
        client, kinds, {(raw["kind"], raw["metadata"]["namespace"], raw["metadata"]["name"]) for raw in desired}
    )
    for raw in desired:
        await _store(client, raw)
    started = datetime.now(UTC)
    for workload in mesh.workloads:
        if workload.cluster == cluster:
            status = pod_status(workload, placements[workload.key], started)
            await client.patch_raw(
                _POD, workload.namespace, workload.name, status, content_type=PatchType.MERGE, subresource="status"
            )
    for namespace, name, status in load_balancer_status(mesh, cluster, placements):
        await client.patch_raw(_SERVICE, namespace, name, status, content_type=PatchType.MERGE, subresource="status")
    if cluster == mesh.management.name and mesh.default_workspace:
        defaults = ((_WORKSPACES, default_workspace(mesh)), (_WORKSPACE_SETTINGS, default_workspace_settings()))
        for kind, raw in defaults:
            if not (await client.list_raw(kind)).items:
                await apply_raw(client, raw)


async def _store(client: KubeClient, raw: Raw) -> None:
    """The server has the object, but for an EndpointSlice that it refuses.

    Kubernetes lets nobody write loopback addresses there: the Service's endpoints are then the Pods that it selects.
    """
    try:
        await apply_raw(client, raw)
    except ApiError as error:
        if error.code != _UNPROCESSABLE:
            raise
        if raw["kind"] == "Pod":
            # Most of a Pod's spec cannot be changed.
            await client.delete(_POD, raw["metadata"]["namespace"], raw["metadata"]["name"])
            await apply_raw(client, raw)
        elif raw["kind"] != "EndpointSlice":
            raise


async def _prune(client: KubeClient, kinds: tuple[ResourceKind, ...], desired: set[tuple[str, str, str]]) -> None:
    selector = ",".join(f"{label}={value}" for label, value in MANAGED.items())
    for kind in kinds:
        listed = await client.list_raw(kind, label_selector=selector)
        for key in _keys(kind, listed.items):
            if key not in desired:
                await client.delete(kind, key[1], key[2])


def _keys(kind: ResourceKind, items: tuple[Any, ...]) -> Iterator[tuple[str, str, str]]:
    for item in items:
        yield kind.kind, item["metadata"]["namespace"], item["metadata"]["name"]
