"""Kubernetes objects of a mesh: what `up` stores in each cluster so that the mesh file's workloads exist there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from meshpass.localmesh.meshfile import PROXY_CONTAINER, LocalMesh, Workload

MANAGED = {"app.kubernetes.io/managed-by": "meshpass-up"}
"""Label of the objects that follow the mesh file, also out of existence."""
PROXY_ANNOTATION = "meshpass.dev/proxy"
APP_ADDRESSES_ANNOTATION = "meshpass.dev/app-addresses"
DEFAULT_CONTAINER_ANNOTATION = "kubectl.kubernetes.io/default-container"
ADMIN_NAMESPACE = "gloo-mesh"
"""Where the management cluster keeps Workspaces and KubernetesClusters."""

_ADMIN = "admin.gloo.solo.io/v2"
Raw = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where one workload is: its Pod's address, and for each port of the Pod the app's real address."""

    address: str
    apps: Mapping[int, str]


Placements = Mapping[tuple[str, str, str], Placement]


def node_id(workload: Workload) -> str:
    """The id of the workload's Envoy."""
    return f"{workload.proxy.value}~{workload.cluster}~{workload.namespace}~{workload.name}"


def namespace_objects(mesh: LocalMesh, cluster: str) -> Iterator[Raw]:
    """The Namespaces of a cluster: the file's, those of its workloads, and for the management cluster the admin's."""
    labels = {
        namespace.name: namespace.labels
        for namespace in mesh.namespaces
        if not namespace.clusters or cluster in namespace.clusters
    }
    needed = {workload.namespace for workload in mesh.workloads if workload.cluster == cluster}
    if cluster == mesh.management.name:
        needed.add(ADMIN_NAMESPACE)
    for name in sorted({"default", *labels, *needed}):
        metadata = {"name": name, "labels": {**labels.get(name, {}), "kubernetes.io/metadata.name": name}}
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def cluster_objects(mesh: LocalMesh, cluster: str) -> Iterator[Raw]:
    """The KubernetesClusters, which the management cluster holds, one for each workload cluster."""
    if cluster != mesh.management.name:
        return
    for one in mesh.workload_clusters:
        yield {
            "apiVersion": _ADMIN,
            "kind": "KubernetesCluster",
            "metadata": {"name": one.name, "namespace": ADMIN_NAMESPACE, "labels": {**one.labels, **MANAGED}},
            "spec": {"clusterDomain": "cluster.local"},
        }


def default_workspace(mesh: LocalMesh) -> Raw:
    """The Workspace with all clusters and namespaces, named after the management cluster."""
    return {
        "apiVersion": _ADMIN,
        "kind": "Workspace",
        "metadata": {"name": mesh.management.name, "namespace": ADMIN_NAMESPACE},
        "spec": {"workloadClusters": [{"name": "*", "namespaces": [{"name": "*"}]}]},
    }


def default_workspace_settings() -> Raw:
    """What holds in a mesh of several clusters until somebody says otherwise, under the name that the guides use.

    Services have a host that is the same in every cluster, and clusters reach each other through the gateways with
    Istio's label.
    """
    return {
        "apiVersion": _ADMIN,
        "kind": "WorkspaceSettings",
        "metadata": {"name": "default", "namespace": ADMIN_NAMESPACE},
        "spec": {
            "options": {
                "eastWestGateways": [{"selector": {"labels": {"istio": "eastwestgateway"}}}],
                "federation": {"enabled": True, "hostSuffix": "global"},
                "serviceIsolation": {"enabled": False},
            }
        },
    }


def workload_objects(mesh: LocalMesh, cluster: str, placements: Placements) -> Iterator[Raw]:
    """ServiceAccounts, Services, Pods and EndpointSlices of one cluster's workloads; statuses go separately."""
    workloads = [workload for workload in mesh.workloads if workload.cluster == cluster]
    for namespace, name in sorted({(one.namespace, one.service_account) for one in workloads}):
        metadata = {"name": name, "namespace": namespace}
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    services: dict[tuple[str, str], list[Workload]] = {}
    for workload in workloads:
        if workload.service_name is not None:
            services.setdefault((workload.namespace, workload.service_name), []).append(workload)
    for sharing in services.values():
        yield _service(sharing)
    for workload in workloads:
        placement = placements[workload.key]
        yield _pod(workload, placement)
        if workload.service is not None:
            yield _endpoint_slice(workload, placement)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """How the process of one container is."""

    started: datetime
    """When it was started last, or when it was found not to run."""
    ready: bool = True
    waiting: str = ""
    """Why it does not run, as Kubernetes writes reasons; empty where it runs."""
    restarts: int = 0


def pod_status(
    workload: Workload, placement: Placement, started: datetime, containers: Mapping[str, ContainerState] | None = None
) -> Raw:
    """The status of a Pod that runs since ``started``: its address, and how its containers are, all ready unless said.

    It is ready as long as all its containers are.
    """
    moment = _moment(started)
    states = containers or {name: ContainerState(started=started) for name in container_names(workload)}
    ready = all(state.ready for state in states.values())
    conditions = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    changed = _moment(max(state.started for state in states.values()))
    return {
        "status": {
            "phase": "Running",
            "startTime": moment,
            "podIP": placement.address,
            "podIPs": [{"ip": placement.address}],
            "hostIP": "127.0.0.1",
            "hostIPs": [{"ip": "127.0.0.1"}],
            "conditions": [
                {
                    "type": kind,
                    "status": str(holds),
                    "lastTransitionTime": changed if kind.endswith("Ready") else moment,
                }
                | ({} if holds else {"reason": "ContainersNotReady"})
                for kind, holds in conditions.items()
            ],
            "containerStatuses": [_container_status(name, state) for name, state in states.items()],
        }
    }


def _container_status(name: str, state: ContainerState) -> Raw:
    return {
        "name": name,
        "image": _image(name),
        "imageID": "",
        "ready": state.ready,
        "started": not state.waiting,
        "restartCount": state.restarts,
        # kubectl counts as ready only what it sees running
        "state": {"waiting": {"reason": state.waiting}}
        if state.waiting
        else {"running": {"startedAt": _moment(state.started)}},
    }


def endpoint_slice_change(workload: Workload, placement: Placement, *, ready: bool) -> Raw:
    """A merge patch by which the workload's EndpointSlice says that its endpoint is ready, or is not."""
    return {"endpoints": [_endpoint(workload, placement, ready=ready)]}


def endpoint_slice_name(workload: Workload) -> str:
    """The name of the workload's EndpointSlice."""
    return f"{workload.service_name}-{workload.name}"


def _moment(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def load_balancer_status(mesh: LocalMesh, cluster: str, placements: Placements) -> Iterator[tuple[str, str, Raw]]:
    """Namespace, name and status of the Services of a cluster's gateways: a load balancer has their Pods' addresses."""
    addresses: dict[tuple[str, str], list[str]] = {}
    for workload in mesh.workloads:
        if workload.cluster == cluster and workload.is_gateway:
            key = (workload.namespace, str(workload.service_name))
            addresses.setdefault(key, []).append(placements[workload.key].address)
    for (namespace, name), found in addresses.items():
        yield namespace, name, {"status": {"loadBalancer": {"ingress": [{"ip": address} for address in found]}}}


def _service(sharing: list[Workload]) -> Raw:
    first = sharing[0]
    common = dict(set.intersection(*(set(workload.pod_labels.items()) for workload in sharing)))
    # A Service stands in front of all versions, also of those that a later mesh file adds.
    selector = {name: value for name, value in common.items() if name != "version"} or common
    ports = first.service.ports if first.service else ()
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(str(first.service_name), first, dict(sorted(selector.items()))),
        "spec": {
            "type": "LoadBalancer" if first.is_gateway else "ClusterIP",
            "selector": dict(sorted(selector.items())),
            "ports": [
                {"port": port.port, "targetPort": port.target, "protocol": "TCP"}
                | ({"name": port.name} if port.name else {})
                for port in ports
            ],
        },
    }


def _pod(workload: Workload, placement: Placement) -> Raw:
    annotations = {PROXY_ANNOTATION: workload.proxy.value}
    if placement.apps:
        addresses = {str(port): address for port, address in sorted(placement.apps.items())}
        annotations[APP_ADDRESSES_ANNOTATION] = msgspec.json.encode(addresses).decode()
    metadata = _metadata(workload.name, workload, dict(workload.pod_labels))
    ports = [{"containerPort": port} for port in (workload.service.targets if workload.service else ())]
    main, *others = container_names(workload)
    # Without it kubectl says at each `exec` and `logs` which of the containers it took.
    annotations[DEFAULT_CONTAINER_ANNOTATION] = main
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata | {"annotations": annotations},
        "spec": {
            "serviceAccountName": workload.service_account,
            # A scheduler that is nowhere: no node of a real cluster takes the Pod.
            "schedulerName": MANAGED["app.kubernetes.io/managed-by"],
            "automountServiceAccountToken": False,
            "containers": [
                {"name": main, "image": _image(main), "ports": ports},
                *({"name": name, "image": _image(name)} for name in others),
            ],
        },
    }


def container_names(workload: Workload) -> tuple[str, ...]:
    """The containers of the workload's Pod: its program and its Envoy, or the Envoy that it is."""
    return (PROXY_CONTAINER,) if workload.is_gateway else (workload.name, PROXY_CONTAINER)


def _image(container: str) -> str:
    # A container needs an image. Here there is none, and the name says so.
    return f"meshpass.invalid/local-process/{container}"


def _endpoint_slice(workload: Workload, placement: Placement) -> Raw:
    ports = workload.service.ports if workload.service else ()
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _metadata(
            endpoint_slice_name(workload),
            workload,
            {"kubernetes.io/service-name": str(workload.service_name)},
        ),
        "addressType": "IPv4",
        "endpoints": [_endpoint(workload, placement, ready=True)],
        "ports": [{"name": port.name, "port": port.target, "protocol": "TCP"} for port in ports],
    }


def _endpoint(workload: Workload, placement: Placement, *, ready: bool) -> Raw:
    return {
        "addresses": [placement.address],
        "conditions": {"ready": ready, "serving": ready, "terminating": False},
        "targetRef": {"kind": "Pod", "name": workload.name, "namespace": workload.namespace},
    }


def _metadata(name: str, workload: Workload, labels: Mapping[str, str]) -> Raw:
    return {"name": name, "namespace": workload.namespace, "labels": {**labels, **MANAGED}}
