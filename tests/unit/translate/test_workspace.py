"""Workspaces: who owns a namespace, and where configuration is read."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.objects import MANAGEMENT_CLUSTER, object_set

from meshpass.api.admin import KubernetesCluster, Workspace
from meshpass.api.core import Namespace
from meshpass.translate.workspace import WorkspaceIndex, index_workspaces


def manifest(kind: str, name: str, cluster: str, labels: dict[str, str] | None = None, **rest: Any) -> dict[str, Any]:
    version = "v1" if kind == "Namespace" else "admin.gloo.solo.io/v2"
    metadata = {"name": name, "annotations": {"golden.meshpass.dev/cluster": cluster}, "labels": labels or {}}
    if kind != "Namespace":
        metadata["namespace"] = rest.pop("namespace", "gloo-mesh")
        metadata["creationTimestamp"] = rest.pop("created", "2024-01-01T00:00:00Z")
        rest.setdefault("spec", {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def workspace(*clusters: dict[str, Any], name: str = "w", **rest: Any) -> dict[str, Any]:
    return manifest("Workspace", name, "mgmt", spec={"workloadClusters": list(clusters)}, **rest)


NAMESPACES = [
    manifest("Namespace", name, cluster, {"team": name[0]})
    for cluster in ("mgmt", "c1", "c2")
    for name in ("apple", "bread")
]


def index(*manifests: dict[str, Any]) -> WorkspaceIndex:
    objects = object_set(*NAMESPACES, *manifests)
    return index_workspaces(
        objects.all(Workspace), objects.all(KubernetesCluster), objects.all(Namespace), MANAGEMENT_CLUSTER
    )


def owned(of: WorkspaceIndex) -> set[str]:
    return {f"{cluster}/{namespace}" for cluster, namespace in of.owners}


EVERY = {f"{cluster}/{name}" for cluster in ("mgmt", "c1", "c2") for name in ("apple", "bread")}


@pytest.mark.parametrize(
    ("clusters", "expected"),
    [
        pytest.param([{"name": "*", "namespaces": [{"name": "*"}]}], EVERY, id="everything"),
        pytest.param([{"namespaces": [{"name": "*"}]}], EVERY, id="no-cluster-named"),
        pytest.param([{"name": "c1", "namespaces": [{"name": "apple"}]}], {"c1/apple", "mgmt/apple"}, id="one"),
        pytest.param(
            [{"name": "c*", "namespaces": [{"name": "a*"}]}], {"c1/apple", "c2/apple", "mgmt/apple"}, id="globs"
        ),
        pytest.param(
            [{"name": "c1", "namespaces": [{"labels": {"team": "b"}}]}], {"c1/bread", "mgmt/bread"}, id="labels"
        ),
        pytest.param(
            [{"name": "c1", "namespaces": [{"name": "a*", "labels": {"team": "b"}}]}], set(), id="name-and-labels"
        ),
        pytest.param([{"name": "c1", "namespaces": [{}]}], set(), id="an-empty-selector-is-none"),
        pytest.param([{"name": "c1"}], set(), id="no-namespaces"),
        pytest.param([], set(), id="no-clusters"),
        pytest.param(
            [{"name": "c1", "namespaces": [{"name": "apple"}]}, {"name": "c2", "namespaces": [{"name": "bread"}]}],
            {"c1/apple", "c2/bread", "mgmt/apple", "mgmt/bread"},
            id="several",
        ),
        pytest.param([{"name": "C1", "namespaces": [{"name": "*"}]}], {"mgmt/apple", "mgmt/bread"}, id="case-matters"),
    ],
)
def test_what_a_workspace_has(clusters: list[dict[str, Any]], expected: set[str]) -> None:
    """Clusters and namespaces are both selected; the management cluster's whichever clusters are."""
    assert owned(index(workspace(*clusters))) == expected


def test_clusters_by_label() -> None:
    """Labels are those of the KubernetesCluster in the management cluster."""
    clusters = (
        manifest("KubernetesCluster", "c1", "mgmt", {"zone": "eu"}),
        manifest("KubernetesCluster", "c2", "mgmt"),
    )
    found = index(*clusters, workspace({"selector": {"zone": "eu"}, "namespaces": [{"name": "apple"}]}))

    assert owned(found) == {"c1/apple", "mgmt/apple"}


def test_a_workload_cluster_does_not_label_clusters() -> None:
    """Whoever may write to a workload cluster cannot move clusters between workspaces."""
    forged = manifest("KubernetesCluster", "c1", "c1", {"zone": "eu"})
    found = index(forged, workspace({"selector": {"zone": "eu"}, "namespaces": [{"name": "apple"}]}))

    assert owned(found) == {"mgmt/apple"}


def test_the_order_of_clusters_means_nothing() -> None:
    """Two KubernetesClusters of one name in two namespaces: the same one counts, whichever came first."""
    pair = [
        manifest("KubernetesCluster", "c1", "mgmt", {"zone": "eu"}, namespace="one"),
        manifest("KubernetesCluster", "c1", "mgmt", {"zone": "us"}, namespace="two"),
    ]
    wanted = workspace({"selector": {"zone": "eu"}, "namespaces": [{"name": "apple"}]})

    assert owned(index(*pair, wanted)) == owned(index(*reversed(pair), wanted))


def test_the_older_workspace_keeps_a_namespace() -> None:
    """The younger is told which, and has the rest."""
    old = workspace({"name": "c1", "namespaces": [{"name": "apple"}]}, name="z-old", created="2024-01-01T00:00:00Z")
    new = workspace({"name": "c1", "namespaces": [{"name": "*"}]}, name="a-new", created="2024-01-02T00:00:00Z")
    found = index(new, old)

    assert found.owners["c1", "apple"] == found.owners["mgmt", "apple"] == "z-old"
    assert found.owners["c1", "bread"] == "a-new"
    (finding,) = found.findings
    assert finding.key.name == "a-new"
    assert "apple of cluster c1 belongs to the older workspace z-old" in finding.message


def test_workspaces_of_one_name_in_two_namespaces_are_two() -> None:
    """A second Workspace of a name takes no part of the first one's routes over."""
    first = workspace({"name": "c1", "namespaces": [{"name": "apple"}]}, namespace="gloo-mesh")
    second = workspace(
        {"name": "c1", "namespaces": [{"name": "bread"}]}, namespace="elsewhere", created="2024-01-02T00:00:00Z"
    )
    found = index(first, second)

    assert found.owners.get(("c1", "apple")) != found.owners.get(("c1", "bread"))


@pytest.mark.parametrize(
    ("clusters", "read"),
    [
        pytest.param([{"name": "c1", "namespaces": [{"name": "*"}]}], {"apple", "bread"}, id="unset-is-true"),
        pytest.param([{"name": "c1", "configEnabled": False, "namespaces": [{"name": "*"}]}], set(), id="off"),
        pytest.param(
            [{"name": "c1", "namespaces": [{"name": "apple", "configEnabled": True}, {"name": "bread"}]}],
            {"apple"},
            id="one-set-makes-the-others-false",
        ),
        pytest.param(
            [{"name": "c1", "namespaces": [{"name": "apple", "configEnabled": False}, {"name": "bread"}]}],
            set(),
            id="one-false-too",
        ),
        pytest.param(
            [
                {"name": "c1", "configEnabled": True, "namespaces": [{"name": "apple"}]},
                {"name": "c1", "namespaces": [{"name": "bread"}]},
            ],
            {"apple"},
            id="clusters-are-peers-too",
        ),
    ],
)
def test_where_configuration_is_read(clusters: list[dict[str, Any]], read: set[str]) -> None:
    """A namespace that is not read is owned all the same."""
    found = index(workspace(*clusters))

    assert {namespace for cluster, namespace in found.read if cluster == "c1"} == read
    assert {namespace for cluster, namespace in found.owners if cluster == "c1"} == {"apple", "bread"}
