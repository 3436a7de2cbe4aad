"""The objects of a mesh are what the control plane and kubectl expect."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from meshpass.api.manifest import decode_strict
from meshpass.apiserver.podcells import pod_cells
from meshpass.localmesh.meshfile import default_mesh_path
from meshpass.localmesh.objects import (
    Placement,
    cluster_objects,
    default_workspace,
    namespace_objects,
    node_id,
    pod_status,
    workload_objects,
)
from meshpass.localmesh.parse import load_mesh_file, parse_mesh_file

MESH = load_mesh_file(default_mesh_path())
PLACEMENTS = {
    ("cluster1", "httpbin", "httpbin"): Placement(address="127.1.1.2", apps={8080: "127.0.0.1:5000"}),
    ("cluster1", "httpbin", "client"): Placement(address="127.1.1.3", apps={}),
}


def stored(cluster, kind):
    return {raw["metadata"]["name"]: raw for raw in workload_objects(MESH, cluster, PLACEMENTS) if raw["kind"] == kind}


def test_the_namespace_of_the_guide_is_in_every_cluster():
    """And the admin namespace in the management cluster alone."""
    names = {
        cluster.name: {raw["metadata"]["name"] for raw in namespace_objects(MESH, cluster.name)}
        for cluster in MESH.clusters
    }

    assert names == {
        "mgmt": {"default", "httpbin", "gloo-mesh"},
        "cluster1": {"default", "httpbin"},
        "cluster2": {"default", "httpbin"},
    }


def test_pods_are_proxies_with_the_addresses_of_their_apps():
    """The annotations by which the control plane finds proxies; a client has no app."""
    pods = stored("cluster1", "Pod")

    annotations = pods["httpbin"]["metadata"]["annotations"]
    assert annotations["meshpass.dev/proxy"] == "sidecar"
    assert json.loads(annotations["meshpass.dev/app-addresses"]) == {"8080": "127.0.0.1:5000"}
    assert pods["client"]["metadata"]["annotations"] == {"meshpass.dev/proxy": "sidecar"}
    assert pods["client"]["spec"]["serviceAccountName"] == "client"
    assert stored("cluster2", "Pod") == {}


def test_a_pods_status_has_its_address():
    """Where its sidecar listens."""
    workload = MESH.workloads[0]
    status = pod_status(workload, PLACEMENTS[workload.key], datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC))["status"]

    assert (status["podIP"], status["phase"]) == ("127.1.1.2", "Running")
    assert status["startTime"] == "2026-01-02T03:04:05Z"
    assert [container["state"] for container in status["containerStatuses"]] == [
        {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
    ]
    assert {condition["type"]: condition["status"] for condition in status["conditions"]}["Ready"] == "True"


def test_kubectl_shows_pods_as_ready():
    """READY and STATUS as the API server's table has them, counted as Kubernetes counts."""
    workload = MESH.workloads[0]
    started = datetime(2026, 1, 2, tzinfo=UTC)
    pod = stored("cluster1", "Pod")["httpbin"] | pod_status(workload, PLACEMENTS[workload.key], started)

    assert pod_cells(pod, started)[1:3] == ("1/1", "Running")
    for container in pod["status"]["containerStatuses"]:
        del container["state"]
    assert pod_cells(pod, started)[1] == "0/1"


def test_services_select_their_pods_and_slices_name_them():
    """Port 8000 of the Service is port 8080 of the Pod's address."""
    service = stored("cluster1", "Service")["httpbin"]
    (endpoints,) = stored("cluster1", "EndpointSlice").values()

    assert service["spec"]["ports"] == [{"port": 8000, "targetPort": 8080, "protocol": "TCP", "name": "http"}]
    pod = stored("cluster1", "Pod")["httpbin"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= pod.items()
    assert endpoints["metadata"]["labels"]["kubernetes.io/service-name"] == "httpbin"
    assert endpoints["endpoints"][0]["addresses"] == ["127.1.1.2"]
    assert endpoints["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]


def test_workloads_that_share_a_service_are_selected_by_what_they_share():
    """One Service, one EndpointSlice each."""
    text = """
apiVersion: meshpass/v1alpha1
kind: LocalMesh
clusters: [{name: mgmt, management: true}]
workloads:
- &v1 {name: v1, namespace: n, cluster: mgmt, app: httpbin, labels: {app: web, version: "1"},
       service: {name: web, ports: [{port: 80}]}}
- {<<: *v1, name: v2, labels: {app: web, version: "2"}}
"""
    mesh = parse_mesh_file(text)
    placements = {workload.key: Placement(address="127.1.1.9", apps={}) for workload in mesh.workloads}
    found = list(workload_objects(mesh, "mgmt", placements))

    services = [raw for raw in found if raw["kind"] == "Service"]
    assert [raw["spec"]["selector"] for raw in services] == [{"app": "web"}]
    slices = {raw["metadata"]["name"] for raw in found if raw["kind"] == "EndpointSlice"}
    assert slices == {"web-v1", "web-v2"}


def test_the_admin_objects_are_valid():
    """A KubernetesCluster for each workload cluster and a Workspace with everything, by the strict schema."""
    clusters = list(cluster_objects(MESH, "mgmt"))
    workspace = default_workspace(MESH)
    for raw in [*clusters, workspace]:
        decode_strict(raw)

    assert [raw["metadata"]["name"] for raw in clusters] == ["cluster1", "cluster2"]
    assert list(cluster_objects(MESH, "cluster1")) == []
    assert (workspace["metadata"]["namespace"], workspace["metadata"]["name"]) == ("gloo-mesh", "mgmt")
    assert workspace["spec"] == {"workloadClusters": [{"name": "*", "namespaces": [{"name": "*"}]}]}


def test_a_node_is_named_after_its_pod():
    """Kind, cluster, namespace, Pod."""
    assert node_id(MESH.workloads[1]) == "sidecar~cluster1~httpbin~client"
