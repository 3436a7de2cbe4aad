"""Selection: a mesh with only some of its clusters, and of its sample apps."""

from __future__ import annotations

import difflib

import msgspec

from meshpass.errors import LocalMeshError
from meshpass.localmesh.meshfile import LocalMesh


def select(mesh: LocalMesh, *, clusters: int | None, apps: tuple[str, ...] | None) -> LocalMesh:
    """The mesh with these clusters and sample apps alone. Raises LocalMeshError as `keep_clusters` and `keep_apps`."""
    return keep_apps(keep_clusters(mesh, clusters), apps)


def keep_clusters(mesh: LocalMesh, count: int | None) -> LocalMesh:
    """The mesh with its management cluster and the first ``count`` workload clusters; None keeps all.

    Raises LocalMeshError where the mesh has fewer.
    """
    if count is None:
        return mesh
    there = [cluster.name for cluster in mesh.workload_clusters]
    if not 0 < count <= len(there):
        raise LocalMeshError(
            f"the mesh file has {len(there)} workload clusters, not {count}",
            hint=f"they are: {', '.join(there) or 'none'}",
        )
    return keep_named(mesh, frozenset({mesh.management.name, *there[:count]}))


def keep_named(mesh: LocalMesh, kept: frozenset[str]) -> LocalMesh:
    """The mesh with the clusters of these names, and what is in them."""
    return msgspec.structs.replace(
        mesh,
        clusters=tuple(one for one in mesh.clusters if one.name in kept),
        # A namespace that names no cluster is in all of them: one whose clusters are gone must not become that.
        namespaces=tuple(
            msgspec.structs.replace(one, clusters=tuple(name for name in one.clusters if name in kept))
            for one in mesh.namespaces
            if not one.clusters or kept.intersection(one.clusters)
        ),
        workloads=tuple(one for one in mesh.workloads if one.cluster in kept),
    )


def keep_apps(mesh: LocalMesh, names: tuple[str, ...] | None) -> LocalMesh:
    """The mesh without the workloads of other sample apps than these; None keeps all.

    Workloads without a sample app stay: clients, gateways, the user's own programs. Raises LocalMeshError for a name
    that no workload of the mesh has as its ``app``.
    """
    if names is None:
        return mesh
    known = [app.value for app in mesh.apps]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            there = f"its sample apps: {', '.join(known) or 'none'}"
            raise LocalMeshError(
                f"the mesh file has no sample app {name or repr(name)}",
                hint=f"did you mean {close[0]}? {there}" if close else there,
            )
    kept = tuple(one for one in mesh.workloads if one.app is None or one.app.value in names)
    return msgspec.structs.replace(mesh, workloads=kept)
