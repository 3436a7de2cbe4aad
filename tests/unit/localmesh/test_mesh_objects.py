"""The objects of a mesh are what the control plane and kubectl expect."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from meshpass.api.manifest import decode_strict
from meshpass.apiserver.podcells import pod_cells
from meshpass.localmesh.meshfile import default_mesh_path
from meshpass.localmesh.objects import (
    ContainerState,
    Placement,
    cluster_objects,
    default_workspace,
    default_workspace_settings,
    endpoint_slice_change,
    endpoint_slice_name,
    load_balancer_status,
    namespace_objects,
    node_id,
    pod_status,
    workload_objects,
)
from meshpass.localmesh.parse import load_mesh_file, parse_mesh_file

MESH = load_mesh_file(default_mesh_path())
PLACEMENTS = {
    **{one.key: Placement(address="127.1.1.8", apps={}) for one in MESH.workloads},
    **{one.key: Placement(address="127.1.1.9", apps={9080: "127.0.0.1:5001"}) for one in MESH.workloads if one.app},
    ("cluster1", "httpbin", "httpbin"): Placement(address="127.1.1.2", apps={8080: "127.0.0.1:5000"}),
    ("cluster1", "httpbin", "client"): Placement(address="127.1.1.3", apps={}),
    ("cluster1", "gloo-mesh-gateways", "istio-ingressgateway"): Placement(address="127.1.1.4", apps={}),
}


def stored(cluster, kind):
    return {raw["metadata"]["name"]: raw for raw in workload_objects(MESH, cluster, PLACEMENTS) if raw["kind"] == kind}


def test_the_namespace_of_the_guide_is_in_every_cluster():
    """And the admin namespace in the management cluster alone."""
    names = {
        cluster.name: {raw["metadata"]["name"] for raw in namespace_objects(MESH, cluster.name)}
        for cluster in MESH.clusters
    }

    everywhere = {"default", "httpbin", "bookinfo-frontends", "bookinfo-backends", "gloo-mesh-gateways", "helloworld"}
    assert names == {"mgmt": {*everywhere, "gloo-mesh"}, "cluster1": everywhere, "cluster2": everywhere}


def test_pods_are_proxies_with_the_addresses_of_their_apps():
    """The annotations by which the control plane finds proxies; a client has no app."""
    pods = stored("cluster1", "Pod")

    annotations = pods["httpbin"]["metadata"]["annotations"]
    assert annotations["meshpass.dev/proxy"] == "sidecar"
    assert json.loads(annotations["meshpass.dev/app-addresses"]) == {"8080": "127.0.0.1:5000"}
    default = {"kubectl.kubernetes.io/default-container": "client"}
    assert pods["client"]["metadata"]["annotations"] == {"meshpass.dev/proxy": "sidecar"} | default
    assert pods["client"]["spec"]["serviceAccountName"] == "client"
    assert stored("mgmt", "Pod") == {}


def test_the_proxy_is_a_container_beside_the_program():
    """The program's comes first, by the workload's name, and has the ports."""
    for name in ("httpbin", "client"):
        main, proxy = stored("cluster1", "Pod")[name]["spec"]["containers"]
        assert (main["name"], proxy["name"]) == (name, "istio-proxy")
        assert [port["containerPort"] for port in main["ports"]] == ([8080] if name == "httpbin" else [])
        assert "ports" not in proxy


def test_a_pods_status_has_its_address():
    """Where its sidecar listens."""
    workload = MESH.workloads[0]
    status = pod_status(workload, PLACEMENTS[workload.key], datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC))["status"]

    assert (status["podIP"], status["phase"]) == ("127.1.1.2", "Running")
    assert status["startTime"] == "2026-01-02T03:04:05Z"
    assert [container["state"] for container in status["containerStatuses"]] == [
        {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
    ] * 2
    assert {condition["type"]: condition["status"] for condition in status["conditions"]}["Ready"] == "True"


def test_kubectl_shows_pods_as_ready():
    """READY and STATUS as the API server's table has them, counted as Kubernetes counts."""
    workload = MESH.workloads[0]
    started = datetime(2026, 1, 2, tzinfo=UTC)
    pod = stored("cluster1", "Pod")["httpbin"] | pod_status(workload, PLACEMENTS[workload.key], started)

    assert pod_cells(pod, started)[1:3] == ("2/2", "Running")
    for container in pod["status"]["containerStatuses"]:
        del container["state"]
    assert pod_cells(pod, started)[1] == "0/2"


def test_services_select_their_pods_and_slices_name_them():
    """Port 8000 of the Service is port 8080 of the Pod's address."""
    service = stored("cluster1", "Service")["httpbin"]
    endpoints = stored("cluster1", "EndpointSlice")["httpbin-httpbin"]

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


def test_a_service_is_for_all_versions():
    """The version of the one workload that there is does not get into the selector; where it is all there is, it does."""
    assert stored("cluster1", "Service")["details"]["spec"]["selector"] == {"app": "details"}
    text = """
apiVersion: meshpass/v1alpha1
kind: LocalMesh
clusters: [{name: mgmt, management: true}]
workloads: [{name: a, namespace: n, cluster: mgmt, app: httpbin, labels: {version: "1"}, service: {ports: [{port: 80}]}}]
"""
    mesh = parse_mesh_file(text)
    placements = {workload.key: Placement(address="127.1.1.9", apps={}) for workload in mesh.workloads}
    services = [raw for raw in workload_objects(mesh, "mgmt", placements) if raw["kind"] == "Service"]

    assert [raw["spec"]["selector"] for raw in services] == [{"version": "1"}]


def test_a_gateway_is_a_pod_behind_a_load_balancer():
    """The annotation that makes its Envoy a gateway, and the load balancer's address, which is the Pod's."""
    pod = stored("cluster1", "Pod")["istio-ingressgateway"]
    service = stored("cluster1", "Service")["istio-ingressgateway"]

    default = {"kubectl.kubernetes.io/default-container": "istio-proxy"}
    assert pod["metadata"]["annotations"] == {"meshpass.dev/proxy": "gateway"} | default
    assert [container["name"] for container in pod["spec"]["containers"]] == ["istio-proxy"]
    assert {port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]} >= {8080, 8443}
    assert pod["metadata"]["labels"]["istio"] == "ingressgateway"
    assert service["spec"]["type"] == "LoadBalancer"
    assert {port["name"]: (port["port"], port["targetPort"]) for port in service["spec"]["ports"]}["http2"] == (
        80,
        8080,
    )
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "127.1.1.4"}]}}}
    assert list(load_balancer_status(MESH, "cluster1", PLACEMENTS)) == [
        ("gloo-mesh-gateways", "istio-ingressgateway", status),
        (
            "gloo-mesh-gateways",
            "istio-eastwestgateway",
            {"status": {"loadBalancer": {"ingress": [{"ip": "127.1.1.8"}]}}},
        ),
    ]
    assert list(load_balancer_status(MESH, "mgmt", PLACEMENTS)) == []
    assert stored("cluster1", "Service")["httpbin"]["spec"]["type"] == "ClusterIP"


def test_the_admin_objects_are_valid():
    """A KubernetesCluster for each workload cluster, a Workspace with everything and its settings, by the strict schema."""
    clusters = list(cluster_objects(MESH, "mgmt"))
    workspace, settings = default_workspace(MESH), default_workspace_settings()
    for raw in [*clusters, workspace, settings]:
        decode_strict(raw)

    assert [raw["metadata"]["name"] for raw in clusters] == ["cluster1", "cluster2"]
    assert list(cluster_objects(MESH, "cluster1")) == []
    assert (workspace["metadata"]["namespace"], workspace["metadata"]["name"]) == ("gloo-mesh", "mgmt")
    assert workspace["spec"] == {"workloadClusters": [{"name": "*", "namespaces": [{"name": "*"}]}]}


def test_a_pod_is_ready_as_long_as_all_its_containers_are():
    """One that does not run, or does not listen, takes its Pod out; kubectl says which."""
    workload = MESH.workloads[0]
    started = datetime(2026, 1, 2, tzinfo=UTC)
    states = {
        "httpbin": ContainerState(started=started, ready=False, waiting="Stopped", restarts=2),
        "istio-proxy": ContainerState(started=started),
    }
    found = pod_status(workload, PLACEMENTS[workload.key], started, states)
    cells = pod_cells(stored("cluster1", "Pod")["httpbin"] | found, started)

    conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}
    assert conditions == {"PodScheduled": "True", "Initialized": "True", "ContainersReady": "False", "Ready": "False"}
    assert cells[1:4] == ("1/2", "Stopped", "2")


def test_an_endpoint_that_is_not_ready_is_said_to_be_so():
    """By a patch that leaves everything else of the slice as it was stored."""
    workload = MESH.workloads[0]
    placement = PLACEMENTS[workload.key]
    slices = stored("cluster1", "EndpointSlice")
    changes = {ready: endpoint_slice_change(workload, placement, ready=ready) for ready in (True, False)}

    assert endpoint_slice_name(workload) in slices
    assert changes[True]["endpoints"] == slices[endpoint_slice_name(workload)]["endpoints"]
    assert changes[False]["endpoints"][0]["conditions"] == {"ready": False, "serving": False, "terminating": False}
    assert changes[False]["endpoints"][0]["addresses"] == ["127.1.1.2"]


def test_a_node_is_named_after_its_pod():
    """Kind, cluster, namespace, Pod."""
    gateway = next(one for one in MESH.workloads if one.is_gateway)

    assert node_id(MESH.workloads[1]) == "sidecar~cluster1~httpbin~client"
    assert node_id(gateway) == "gateway~cluster1~gloo-mesh-gateways~istio-ingressgateway"
