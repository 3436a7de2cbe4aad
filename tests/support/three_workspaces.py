"""ThreeWorkspaces: manifests in, answers of real Envoys out, from one workspace to another.

    async with run_three_workspaces() as mesh:
        await mesh.apply(settings("web", exportTo=sharing("shop")), settings("shop", importFrom=sharing("web")))
        answer = await mesh.call("www.example.com")

The mesh: in cluster1 the workspace ``web`` has the Service ``web`` (port 8000) with the pod ``server`` behind it, the
workspace ``shop`` the pod ``client``, and the workspace ``edge`` the gateway pod ``gateway`` with a VirtualGateway ``gateway``
on port 80. Each has the namespace of its name. All workloads have identities, service accounts of their names.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.envoy_mesh import SETTLE_SECONDS, EnvoyMesh, free_network, run_applications, run_envoy
from tests.support.http_client import Answer, Request
from tests.support.jwt_objects import provider
from tests.support.mesh_issuer import MeshIssuer
from tests.support.objects import CLUSTER_ANNOTATION
from tests.support.two_clusters import accepting

from meshpass.envoy.snapshot import Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.memo import Memo
from meshpass.translate.sidecar import OUTBOUND_PORT
from meshpass.xds.cache import SnapshotCache
from meshpass.xds.server import AdsServer

SHOP = "sidecar~cluster1~shop~client"
WEB = "sidecar~cluster1~web~server"
EDGE = "gateway~cluster1~edge~gateway"
NODES = (SHOP, WEB, EDGE)
POD_PORT = 8080
Manifest = dict[str, Any]


class ThreeWorkspaces(EnvoyMesh):
    """The workspaces, and an Envoy in each."""

    def address(self, node: str) -> str:
        """The IP address of a pod."""
        return f"{self.network}.{NODES.index(node) + 1}"

    async def accepting(self) -> None:
        """Returns when every listener accepts."""
        async with asyncio.timeout(SETTLE_SECONDS):
            for node, port in ((SHOP, OUTBOUND_PORT), (WEB, POD_PORT), (EDGE, POD_PORT)):
                await accepting(self.address(node), port)

    async def ask_gateway(self, host: str, path: str = "/get", *, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer of the gateway to a client from outside."""
        request = Request(url=f"http://{host}{path}", headers=tuple((headers or {}).items()), proxied=False)
        return await self.client.send((self.address(EDGE), POD_PORT), request)

    async def call(self, host: str, path: str = "/get", *, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to a request of workspace shop."""
        return await self.request(host, path, headers=headers or {}, node=SHOP)


@asynccontextmanager
async def run_three_workspaces() -> AsyncIterator[ThreeWorkspaces]:
    """Inside, the mesh runs."""
    cache, memo = SnapshotCache(), Memo()

    def plan(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
        return plan_transition(current, target, memo)

    async with AsyncExitStack() as stack:
        # Paths of unix sockets are short; pytest's own directories are not.
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="meshpass-")))
        ports = stack.enter_context(run_applications("web"))
        mesh = ThreeWorkspaces(cache, memo, nodes=NODES, network=free_network(), issuer=MeshIssuer())
        stack.callback(mesh.client.close)
        ads_socket = directory / "run" / "ads.sock"
        await stack.enter_async_context(AdsServer(cache, plan, listen=ads_socket))
        for node in NODES:
            await stack.enter_async_context(run_envoy(node, directory / node.rpartition("~")[2], ads_socket, mesh))
        await mesh.apply(*build_world(mesh, ports["web"]))
        await mesh.accepting()
        yield mesh


def build_world(mesh: ThreeWorkspaces, port: int) -> Iterator[Manifest]:
    """The objects that are always there."""
    for name in ("web", "shop", "edge"):
        yield manifest("v1", "Namespace", name, "")
        spec: Manifest = {"workloadClusters": [{"name": "*", "namespaces": [{"name": name}]}]}
        yield manifest("admin.gloo.solo.io/v2", "Workspace", name, "gloo-mesh", cluster="mgmt", spec=spec)
    labels = {"app": "web"}
    ports = [{"name": "http", "port": 8000, "targetPort": POD_PORT}]
    yield manifest("v1", "Service", "web", "web", labels=labels, spec={"selector": labels, "ports": ports})
    server = {"addresses": [mesh.address(WEB)], "targetRef": {"kind": "Pod", "name": "server", "namespace": "web"}}
    yield manifest(
        "discovery.k8s.io/v1", "EndpointSlice", "web-1", "web", labels={"kubernetes.io/service-name": "web"},
        addressType="IPv4", endpoints=[server | {"conditions": {"ready": True}}],
        ports=[{"name": "http", "port": POD_PORT}],
    )  # fmt: skip
    yield _pod(mesh, WEB, "web", {"meshpass.dev/app-addresses": json.dumps({POD_PORT: f"127.0.0.1:{port}"})})
    yield _pod(mesh, SHOP, "shop", {})
    yield _pod(mesh, EDGE, "edge", {})
    spec = {"type": "LoadBalancer", "selector": {"app": "edge"}}
    ports = [{"name": "http2", "port": 80, "targetPort": POD_PORT}]
    yield manifest("v1", "Service", "ingress", "edge", spec=spec | {"ports": ports})
    listeners = [{"port": {"number": 80}, "http": {}}]
    yield manifest("networking.gloo.solo.io/v2", "VirtualGateway", "gateway", "edge", spec={"listeners": listeners})


def _pod(mesh: ThreeWorkspaces, node: str, app: str, annotations: Mapping[str, str]) -> Manifest:
    proxy, _, namespace, name = node.split("~")
    found = manifest(
        "v1", "Pod", name, namespace, labels={"app": app}, spec={"serviceAccountName": name},
        status={"podIP": mesh.address(node), "phase": "Running"},
    )  # fmt: skip
    found["metadata"]["annotations"] |= {"meshpass.dev/proxy": proxy, **annotations}
    return found


def manifest(
    api_version: str, kind: str, name: str, namespace: str, *, cluster: str = "cluster1", **rest: Any
) -> Manifest:
    """An object; ``labels`` are its own."""
    metadata: Manifest = {"name": name, "annotations": {CLUSTER_ANNOTATION: cluster}, "labels": rest.pop("labels", {})}
    metadata |= {"namespace": namespace} if namespace else {}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def settings(workspace: str, **spec: Any) -> Manifest:
    """The WorkspaceSettings of a workspace."""
    return manifest("admin.gloo.solo.io/v2", "WorkspaceSettings", "settings", workspace, spec=spec)


def sharing(workspace: str, *kinds: str) -> list[Manifest]:
    """Imports or exports: of a workspace, objects of these kinds; all without."""
    resources = {"resources": [{"kind": kind} for kind in kinds]} if kinds else {}
    return [{"workspaces": [{"name": workspace}], **resources}]


def table(name: str, workspace: str, *http: Manifest, **spec: Any) -> Manifest:
    """A RouteTable of a workspace; one without hosts is for others to delegate to."""
    return manifest("networking.gloo.solo.io/v2", "RouteTable", name, workspace, spec={"http": list(http), **spec})


def to_web(**labels: str) -> Manifest:
    """A route to the Service of workspace web."""
    reference = {"ref": {"name": "web", "namespace": "web", "cluster": "cluster1"}, "port": {"number": 8000}}
    return {"name": "web", "labels": labels, "forwardTo": {"destinations": [reference]}}


def policy(workspace: str, issuer: str) -> Manifest:
    """A JWTPolicy that asks for every route that it can have."""
    spec = {"applyToRoutes": [{}], "config": {"providers": {"own": provider(issuer)}}}
    return manifest("security.policy.gloo.solo.io/v2", "JWTPolicy", "everything", workspace, spec=spec)
