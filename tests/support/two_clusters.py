"""TwoClusters: manifests in, answers of real Envoys out, from one cluster of a mesh to the other.

    async with run_two_clusters(EAST, issuer=MeshIssuer()) as mesh:
        await mesh.apply(settings())
        answer = await mesh.request("web.httpbin.cluster2.federated.example:8000")

The mesh: Service ``web`` of namespace httpbin, port 8000, is in both clusters: the pod ``near`` of cluster1, the pod
``far`` of cluster2, each with a sidecar. Pod ``client`` of cluster1 calls. Where the node EAST is asked for, cluster2 has
an east-west gateway. All of it is in one workspace, whose settings are in namespace httpbin of the management cluster.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.envoy_mesh import SETTLE_SECONDS, EnvoyMesh, free_network, run_applications, run_envoy
from tests.support.http_client import Answer
from tests.support.mesh_issuer import MeshIssuer
from tests.support.objects import CLUSTER_ANNOTATION

from meshpass.envoy.snapshot import Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.memo import Memo
from meshpass.translate.sidecar import OUTBOUND_PORT
from meshpass.xds.cache import SnapshotCache
from meshpass.xds.server import AdsServer

CLIENT = "sidecar~cluster1~httpbin~client"
NEAR = "sidecar~cluster1~httpbin~near"
FAR = "sidecar~cluster2~httpbin~far"
EAST = "gateway~cluster2~gateways~east"
PODS = {CLIENT: 1, NEAR: 2, FAR: 3, EAST: 4}
POD_PORT, SERVICE_PORT, TLS_PORT = 8080, 8000, 15443
SUFFIX = "federated.example"


class TwoClusters(EnvoyMesh):
    """Both clusters. Nodes and applications can be stopped and started."""

    def __init__(self, cache: SnapshotCache, memo: Memo, *, nodes: tuple[str, ...], issuer: MeshIssuer | None) -> None:
        super().__init__(cache, memo, nodes=nodes, network=free_network(), issuer=issuer)
        self.directory = Path()
        self._running: dict[str, AsyncExitStack] = {}
        self.applications: dict[str, ExitStack] = {}
        self.ports: dict[str, int] = {}

    def address(self, node: str) -> str:
        """The IP address of a pod."""
        return f"{self.network}.{PODS[node]}"

    async def start(self, node: str) -> None:
        """The node's Envoy runs."""
        stack = AsyncExitStack()
        place = self.directory / f"{node.replace('~', '-')}-{len(list(self.directory.iterdir()))}"
        await stack.enter_async_context(run_envoy(node, place, self.directory / "run" / "ads.sock", self))
        self._running[node] = stack

    async def stop(self, node: str) -> None:
        """The node's Envoy is killed."""
        await self._running.pop(node).aclose()

    async def stop_all(self) -> None:
        """All of them are."""
        for node in tuple(self._running):
            await self.stop(node)

    def run_application(self, name: str) -> None:
        """The application of a pod listens, on a port of its own."""
        stack = self.applications[name] = ExitStack()
        self.ports.update(stack.enter_context(run_applications(name)))

    async def stop_application(self, name: str) -> None:
        """The application of a pod ends; nobody listens in its place."""
        await asyncio.to_thread(self.applications.pop(name).close)

    async def stop_applications(self) -> None:
        """All of them end."""
        for name in tuple(self.applications):
            await self.stop_application(name)

    async def accepting(self) -> None:
        """Returns when every listener accepts."""
        places = [(self.address(node), OUTBOUND_PORT) for node in self.nodes if node != EAST]
        places += [(self.address(node), POD_PORT) for node in (NEAR, FAR) if node in self.nodes]
        async with asyncio.timeout(SETTLE_SECONDS):
            for address, port in places:
                await accepting(address, port)

    async def sent(self, node: str, backend: str) -> dict[str, int]:
        """Statistics of a node's backend: the name of each with its sum over all endpoints, such as ``cx_total``."""
        reader, writer = await asyncio.open_unix_connection(str(self.admin[node]))
        writer.write(b"GET /clusters HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
        found = Counter[str]()
        for line in (await reader.read()).decode().splitlines():
            match line.split("::"):
                case [name, _, statistic, value] if name == backend and value.isdecimal():
                    found[statistic] += int(value)
        writer.close()
        return found

    async def answers(self, host: str, upstream: str | None, count: int = 3) -> Answer:
        """The last of so many answers in a row from an application, None: from a proxy; AssertionError if it never comes to that.

        Workers have what is acknowledged a moment later.
        """
        seen = 0
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                answer = await self.request(host)
                seen = seen + 1 if answer.upstream == upstream else 0
                if seen == count:
                    return answer


async def accepting(address: str, port: int) -> None:
    """Returns when somebody accepts there."""
    while True:
        try:
            _, writer = await asyncio.open_connection(address, port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


@asynccontextmanager
async def run_two_clusters(*further: str, issuer: MeshIssuer | None = None) -> AsyncIterator[TwoClusters]:
    """Inside, the mesh runs with the Envoys of CLIENT, NEAR and FAR, and of ``further`` nodes."""
    cache, memo = SnapshotCache(), Memo()

    def plan(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
        return plan_transition(current, target, memo)

    async with AsyncExitStack() as stack:
        mesh = TwoClusters(cache, memo, nodes=(CLIENT, NEAR, FAR, *further), issuer=issuer)
        # Paths of unix sockets are short; pytest's own directories are not.
        mesh.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="meshpass-")))
        stack.callback(mesh.client.close)
        for name in ("near", "far"):
            mesh.run_application(name)
        stack.push_async_callback(mesh.stop_applications)
        await stack.enter_async_context(AdsServer(cache, plan, listen=mesh.directory / "run" / "ads.sock"))
        stack.push_async_callback(mesh.stop_all)
        for node in mesh.nodes:
            await mesh.start(node)
        await mesh.apply(*build_world(mesh))
        await mesh.accepting()
        yield mesh


def build_world(mesh: TwoClusters) -> Iterator[dict[str, Any]]:
    """The objects that are always there."""
    for cluster in ("mgmt", "cluster1", "cluster2"):
        for name in ("gloo-mesh", "httpbin", "gateways"):
            yield manifest("v1", "Namespace", name, cluster=cluster, namespace="")
    yield workspace("mesh", "*")
    for cluster, node in (("cluster1", NEAR), ("cluster2", FAR)):
        yield web(cluster)
        yield endpoints(mesh, cluster)
        yield pod(mesh, node, app="web")
    yield pod(mesh, CLIENT, app="client")
    if EAST in mesh.nodes:
        yield gateway_pod(mesh)
        yield gateway_service(mesh)


def manifest(
    api_version: str, kind: str, name: str, *, cluster: str, namespace: str = "httpbin", **rest: Any
) -> dict[str, Any]:
    """An object of a cluster."""
    metadata: dict[str, Any] = {"name": name, "annotations": {CLUSTER_ANNOTATION: cluster}}
    metadata |= {"namespace": namespace} if namespace else {}
    metadata |= {"labels": rest.pop("labels", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def web(cluster: str) -> dict[str, Any]:
    """The Service ``web`` of a cluster."""
    ports = [{"name": "http", "port": SERVICE_PORT, "targetPort": POD_PORT}]
    spec = {"selector": {"app": "web"}, "ports": ports}
    return manifest("v1", "Service", "web", cluster=cluster, labels={"app": "web"}, spec=spec)


def endpoints(mesh: TwoClusters, cluster: str, *, ready: bool = True) -> dict[str, Any]:
    """The EndpointSlice of ``web`` in a cluster."""
    node = {"cluster1": NEAR, "cluster2": FAR}[cluster]
    reference = {"kind": "Pod", "name": node.rpartition("~")[2], "namespace": "httpbin"}
    one = {"addresses": [mesh.address(node)], "conditions": {"ready": ready}, "targetRef": reference}
    return manifest(
        "discovery.k8s.io/v1", "EndpointSlice", "web-1", cluster=cluster,
        labels={"kubernetes.io/service-name": "web"}, addressType="IPv4", endpoints=[one],
        ports=[{"name": "http", "port": POD_PORT}],
    )  # fmt: skip


def pod(mesh: TwoClusters, node: str, *, app: str) -> dict[str, Any]:
    """The pod of a sidecar; its service account has its name."""
    _, cluster, _, name = node.split("~")
    found = manifest(
        "v1", "Pod", name, cluster=cluster, labels={"app": app}, spec={"serviceAccountName": name},
        status={"podIP": mesh.address(node), "phase": "Running"},
    )  # fmt: skip
    found["metadata"]["annotations"]["meshpass.dev/proxy"] = "sidecar"
    if name in mesh.ports:
        address = json.dumps({POD_PORT: f"127.0.0.1:{mesh.ports[name]}"})
        found["metadata"]["annotations"]["meshpass.dev/app-addresses"] = address
    return found


def gateway_pod(mesh: TwoClusters) -> dict[str, Any]:
    """The east-west gateway of cluster2."""
    found = manifest(
        "v1", "Pod", "east", cluster="cluster2", namespace="gateways", labels={"istio": "eastwestgateway"},
        spec={"serviceAccountName": "east"}, status={"podIP": mesh.address(EAST), "phase": "Running"},
    )  # fmt: skip
    found["metadata"]["annotations"]["meshpass.dev/proxy"] = "gateway"
    return found


def gateway_service(mesh: TwoClusters) -> dict[str, Any]:
    """The Service in front of it, whose port is not that of the pod, and whose load balancer is the pod."""
    labels = {"istio": "eastwestgateway"}
    ports = [{"name": "tls", "port": 443, "targetPort": TLS_PORT}]
    return manifest(
        "v1", "Service", "east", cluster="cluster2", namespace="gateways", labels=labels,
        spec={"type": "LoadBalancer", "selector": labels, "ports": ports},
        status={"loadBalancer": {"ingress": [{"ip": mesh.address(EAST)}]}},
    )  # fmt: skip


def workspace(name: str, namespace: str) -> dict[str, Any]:
    """A Workspace of a namespace in every cluster."""
    clusters = [{"name": "*", "namespaces": [{"name": namespace}]}]
    return manifest(
        "admin.gloo.solo.io/v2", "Workspace", name, cluster="mgmt", namespace="gloo-mesh",
        spec={"workloadClusters": clusters},
    )  # fmt: skip


def settings(**federation: Any) -> dict[str, Any]:
    """The WorkspaceSettings, with federation."""
    options = {"federation": {"enabled": True, "hostSuffix": SUFFIX, **federation}}
    return manifest("admin.gloo.solo.io/v2", "WorkspaceSettings", "settings", cluster="mgmt", spec={"options": options})


def virtual(cluster: str = "cluster1", **further: Any) -> dict[str, Any]:
    """The VirtualDestination ``web.global`` in front of both Services."""
    ports = [{"number": 80, "protocol": "HTTP", "targetPort": {"name": "http"}}]
    spec: Mapping[str, Any] = {"hosts": ["web.global"], "services": [{"labels": {"app": "web"}}], "ports": ports}
    return manifest(
        "networking.gloo.solo.io/v2", "VirtualDestination", "web", cluster=cluster, spec={**spec, **further}
    )
