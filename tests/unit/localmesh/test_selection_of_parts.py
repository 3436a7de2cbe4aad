"""A mesh with fewer clusters or sample apps keeps everything else."""

from __future__ import annotations

import pytest

from meshpass.errors import LocalMeshError
from meshpass.localmesh.meshfile import default_mesh_path
from meshpass.localmesh.parse import load_mesh_file, parse_mesh_file
from meshpass.localmesh.selection import keep_apps, keep_clusters

DEFAULT = load_mesh_file(default_mesh_path())
OTHERS = {one.name for one in DEFAULT.workloads if one.app is None}


def names(mesh):
    return {workload.name for workload in mesh.workloads}


def test_none_means_all():
    """Without the option the mesh is the file's."""
    assert keep_apps(DEFAULT, None) is DEFAULT


def test_only_the_named_apps_stay():
    """In all their versions; clients and gateways stay in any case, and so does everything that is no workload."""
    found = keep_apps(DEFAULT, ("reviews", "httpbin"))

    assert names(found) == {*OTHERS, "httpbin", "reviews-v1", "reviews-v2", "reviews-v3"}
    assert (found.clusters, found.namespaces) == (DEFAULT.clusters, DEFAULT.namespaces)
    assert "client" in OTHERS


def test_an_app_that_the_file_lacks_is_an_error():
    """Although it is a sample app: a mesh without what was asked for would be a surprise."""
    mesh = parse_mesh_file(
        "{apiVersion: meshpass/v1alpha1, kind: LocalMesh, clusters: [{name: m, management: true}],"
        " workloads: [{name: c, namespace: n, cluster: m}]}"
    )
    with pytest.raises(LocalMeshError, match="no sample app httpbin") as caught:
        keep_apps(mesh, ("httpbin",))

    assert caught.value.hint == "its sample apps: none"


def test_fewer_clusters_are_the_first_ones():
    """With the management cluster, and only what is in them; a namespace of another cluster does not spread."""
    mesh = parse_mesh_file(
        "{apiVersion: meshpass/v1alpha1, kind: LocalMesh,"
        " clusters: [{name: a}, {name: m, management: true}, {name: b}],"
        " namespaces: [{name: all}, {name: of-both, clusters: [a, b]}, {name: of-b, clusters: [b]}],"
        " workloads: [{name: x, namespace: n, cluster: a}, {name: y, namespace: n, cluster: b}]}"
    )
    found = keep_clusters(mesh, 1)

    assert [cluster.name for cluster in found.clusters] == ["a", "m"]
    assert [(one.name, one.clusters) for one in found.namespaces] == [("all", ()), ("of-both", ("a",))]
    assert names(found) == {"x"}
    assert keep_clusters(mesh, 2) == mesh
    assert keep_clusters(mesh, None) is mesh


@pytest.mark.parametrize("count", [0, 3])
def test_clusters_that_the_file_lacks_are_an_error(count):
    """With those that there are."""
    with pytest.raises(LocalMeshError, match=f"has 2 workload clusters, not {count}") as caught:
        keep_clusters(DEFAULT, count)

    assert caught.value.hint == "they are: cluster1, cluster2"
