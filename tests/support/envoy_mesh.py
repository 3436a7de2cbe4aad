"""EnvoyMesh: manifests in, answers of real Envoys out, without API servers.

    async with run_envoy_mesh() as mesh:
        await mesh.apply(route_table(...), jwt_policy(...))
        answer = await mesh.request("www.example.com", "/get", headers={"X-Auth": f"Bearer {token}"})

The mesh: namespace httpbin of cluster1, with Services ``httpbin`` (the guide's) and ``canary`` whose pods have no
sidecar, and ``guarded``, whose pod has one; pods ``client`` and ``caller`` call. Where the node GATEWAY is asked for,
pod ``edge`` is a gateway behind the Service ``ingress``. Namespace ``team`` is in the same
workspace, namespace ``elsewhere`` in another. All of them are in mgmt, cluster1 and cluster2.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import uvicorn
from tests.support.http_client import UPSTREAM, Answer, Headers, HttpClient, Place, Request, leaked
from tests.support.mesh_issuer import MeshIssuer
from tests.support.objects import key_of, read_objects, translate_objects

from meshpass.api.objectset import ObjectSet
from meshpass.certificatefile import CertificateFiles
from meshpass.envoy.build import build_snapshot
from meshpass.envoy.snapshot import Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.ir import InboundListener, MutualTlsMode, Proxy
from meshpass.localmesh.apps import httpbin
from meshpass.localmesh.bootstrap import BootstrapSettings, build_bootstrap, build_command
from meshpass.localmesh.envoy_binary import find_envoy
from meshpass.memo import Memo
from meshpass.translate import FeatureGates, Translation
from meshpass.translate.identity import NO_IDENTITIES
from meshpass.translate.keysource import KeySets
from meshpass.translate.sidecar import OUTBOUND_PORT
from meshpass.translate.status import Programming, build_status
from meshpass.xds.cache import SnapshotCache
from meshpass.xds.server import AdsServer

CLIENT = "sidecar~cluster1~httpbin~client"
CALLER = "sidecar~cluster1~httpbin~caller"
GUARDED = "sidecar~cluster1~httpbin~guarded"
GATEWAY = "gateway~cluster1~httpbin~edge"
INBOUND_PORT = 8080
SETTLE_SECONDS = 20.0

APPLICATIONS = ("httpbin", "canary", "guarded")
_PODS = {CLIENT: 1, CALLER: 2, GUARDED: 3, GATEWAY: 4}
GATEWAY_PORTS = {80: 8080, 443: 8443, 31400: 31400}
"""Port of the Service ``ingress`` → port of the gateway."""

Source = Path | str | Mapping[str, Any]


class EnvoyMesh:
    """Some objects, and the Envoys that do what they say. Not thread-safe."""

    def __init__(
        self,
        cache: SnapshotCache,
        memo: Memo,
        *,
        nodes: tuple[str, ...],
        network: str,
        issuer: MeshIssuer | None = None,
    ) -> None:
        self.cache = cache
        self.memo = memo
        self.nodes = nodes
        self.network = network
        self.issuer = issuer
        self.strict: frozenset[str] = frozenset()
        """Nodes whose callers have to show who they are."""
        self.admin: dict[str, Path] = {}
        """Node → the socket where its Envoy says how it is."""
        self.gates = FeatureGates()
        self.key_sets: KeySets = {}
        self.files = CertificateFiles(interval_seconds=0.05)
        self.objects = ObjectSet.empty()
        self.client = HttpClient()

    def address(self, node: str) -> str:
        """The IP address of a pod."""
        return f"{self.network}.{_PODS[node]}"

    async def apply(self, *sources: Source) -> Translation:
        """Add or replace objects; returns when every Envoy has acknowledged. AssertionError if one rejects anything."""
        self.objects = self.objects.with_changes(read_objects(*sources))
        return await self.publish()

    async def delete(self, *manifests: Mapping[str, Any]) -> Translation:
        """Delete objects; returns like ``apply``."""
        self.objects = self.objects.with_changes({}, map(key_of, manifests))
        return await self.publish()

    async def publish(self) -> Translation:
        """Translate the objects, gates, key sets and files as they are now; returns like ``apply``."""
        while True:
            translation = self.translate()
            if self.files.follow(translation.files):
                await self.files.wait_changed(self.files.revision)
            elif self.issuer is None or not self.issuer.issue(translation.identities):
                break
        self._publish(translation)
        await self.synced()
        return translation

    def _publish(self, translation: Translation) -> None:
        for node in self.nodes:
            proxy = translation.proxies[node]
            self.cache.set(build_snapshot(_make_strict(proxy) if node in self.strict else proxy, self.memo))

    async def follow_files(self) -> NoReturn:
        """Has the Envoys follow the files that objects name, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.files.run())
            while True:
                await self.files.wait_changed(self.files.revision)
                self._publish(self.translate())

    def translate(self) -> Translation:
        """What follows from the objects as they are."""
        return translate_objects(
            self.objects,
            self.memo,
            key_sets=self.key_sets,
            gates=self.gates,
            files=self.files.files,
            identities=self.issuer.identities if self.issuer is not None else NO_IDENTITIES,
        )

    @asynccontextmanager
    async def having(
        self, *manifests: Mapping[str, Any], gates: FeatureGates | None = None
    ) -> AsyncIterator[Translation]:
        """Inside, the objects are there; afterwards they are not."""
        self.gates = gates or FeatureGates()
        try:
            yield await self.apply(*manifests)
        finally:
            self.gates = FeatureGates()
            await self.delete(*manifests)

    async def synced(self) -> None:
        """Returns when every Envoy has acknowledged all that it was told. AssertionError if one rejects anything."""
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                seen = self.cache.revision
                states = [self.cache.state(node) for node in self.nodes]
                assert [(one.names, one.message) for state in states for one in state.rejections] == []
                if all(state.in_sync for state in states):
                    return
                await self.cache.wait_changed(seen)

    def status(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """The status of an object, all proxies having acknowledged."""
        return build_status(self.translate().report.objects[key_of(manifest)], Programming())

    async def request(
        self,
        host: str,
        path: str = "/get",
        *,
        headers: Headers = (),
        query: Mapping[str, str] | None = None,
        method: str = "GET",
        node: str = CLIENT,
    ) -> Answer:
        """The answer to ``http://host/path?query`` from the pod of ``node``, through its sidecar."""
        url = f"http://{host}{path}" + _encode_query(query)
        return await self._send((self.address(node), OUTBOUND_PORT), url, method, headers, proxied=True)

    async def request_inbound(
        self, path: str = "/get", *, headers: Headers = (), query: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer of the pod ``guarded`` to somebody who has no sidecar and goes to the pod's address."""
        place = (self.address(GUARDED), INBOUND_PORT)
        url = f"http://{place[0]}:{place[1]}{path}" + _encode_query(query)
        return await self._send(place, url, "GET", headers, proxied=False)

    async def _send(self, place: Place, url: str, method: str, headers: Headers, *, proxied: bool) -> Answer:
        pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers)
        request = Request(url=url, method=method, headers=pairs, proxied=proxied)
        return await self.client.send(place, request)

    async def counted(self, node: str, name: str) -> int:
        """What the Envoy of a node has counted under the name of a statistic."""
        reader, writer = await asyncio.open_unix_connection(str(self.admin[node]))
        writer.write(b"GET /stats?usedonly HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
        lines = (await reader.read()).decode().splitlines()
        writer.close()
        return next((int(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}: ")), 0)

    async def accepting(self) -> None:
        """Returns when every listener accepts: one that is acknowledged may not yet be bound in the worker."""
        places = [(self.address(node), OUTBOUND_PORT) for node in self.nodes if node != GATEWAY]
        places += [(self.address(GUARDED), INBOUND_PORT)] if GUARDED in self.nodes else []
        async with asyncio.timeout(SETTLE_SECONDS):
            for address, port in places:
                while True:
                    try:
                        _, writer = await asyncio.open_connection(address, port)
                    except ConnectionRefusedError:
                        await asyncio.sleep(0.01)
                    else:
                        writer.close()
                        break


def _make_strict(proxy: Proxy) -> Proxy:
    listeners = tuple(
        replace(one, mutual_tls=MutualTlsMode.STRICT) if isinstance(one, InboundListener) else one
        for one in proxy.listeners
    )
    return replace(proxy, listeners=listeners)


def _encode_query(query: Mapping[str, str] | None) -> str:
    return "?" + "&".join(f"{quote(name)}={quote(value)}" for name, value in query.items()) if query else ""


@asynccontextmanager
async def run_envoy_mesh(*nodes: str, issuer: MeshIssuer | None = None) -> AsyncIterator[EnvoyMesh]:
    """Inside, the mesh runs with an Envoy for each of the nodes (that of ``client`` if none is named).

    With an issuer workloads have identities, each that of the service account of its own name, and speak mutual TLS.
    """
    nodes = nodes or (CLIENT,)
    cache, memo = SnapshotCache(), Memo()

    def plan(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
        return plan_transition(current, target, memo)

    async with AsyncExitStack() as stack:
        # Paths of unix sockets are short; pytest's own directories are not.
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="meshpass-")))
        ports = stack.enter_context(run_applications(*APPLICATIONS))
        ads_socket = directory / "run" / "ads.sock"
        mesh = EnvoyMesh(cache, memo, nodes=nodes, network=free_network(), issuer=issuer)
        stack.callback(mesh.client.close)
        await stack.enter_async_context(AdsServer(cache, plan, listen=ads_socket))
        for node in nodes:
            await stack.enter_async_context(run_envoy(node, directory / node.rpartition("~")[2], ads_socket, mesh))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        following = tasks.create_task(mesh.follow_files())
        stack.callback(following.cancel)
        await mesh.apply(build_world(mesh, ports))
        await mesh.accepting()
        yield mesh


@asynccontextmanager
async def run_envoy(node: str, directory: Path, ads_socket: Path, mesh: EnvoyMesh) -> AsyncIterator[None]:
    """Inside, the Envoy of a node runs, with its files in a directory that is not there yet."""
    address = mesh.address(node) if mesh.issuer is not None else ""
    bootstrap, log = _write_bootstrap(node, directory, ads_socket, address), directory / "envoy.log"
    mesh.admin[node] = directory / "admin.sock"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *build_command(find_envoy(), bootstrap), stdout=output, stderr=output, env={"PATH": os.defpath}
        )
    try:
        yield
        assert process.returncode is None, f"Envoy ended by itself: {_read(log)[-2000:]}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    found = leaked(mesh.client.tokens, _read(log))
    assert found is None, f"a token is in the log of {node}"


def _write_bootstrap(node: str, directory: Path, ads_socket: Path, address: str) -> Path:
    directory.mkdir()
    settings = BootstrapSettings(
        node=node,
        node_cluster="tests",
        ads_socket=ads_socket,
        admin_socket=directory / "admin.sock",
        address=address,
    )
    bootstrap = directory / "bootstrap.json"
    bootstrap.write_text(json.dumps(build_bootstrap(settings)))
    return bootstrap


def _read(log: Path) -> str:
    return log.read_text(errors="replace")


def free_network() -> str:
    """Three parts of a loopback address under which nobody listens, so that tests of several processes do not meet."""
    while True:
        network = f"127.{random.SystemRandom().randint(64, 126)}.{random.SystemRandom().randint(1, 254)}"
        with socket.socket() as probe:
            try:
                probe.bind((f"{network}.1", OUTBOUND_PORT))
            except OSError:
                continue
            return network


@contextmanager
def run_applications(*names: str) -> Iterator[Mapping[str, int]]:
    """Inside, an httpbin listens for each name; the names with their ports."""
    sockets = {name: socket.create_server(("127.0.0.1", 0), backlog=1024) for name in names}
    ports = {name: int(one.getsockname()[1]) for name, one in sockets.items()}
    by_port = {port: name.encode() for name, port in ports.items()}

    async def application(scope: httpbin.Scope, receive: httpbin.Receive, send: httpbin.Send) -> None:
        async def send_named(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((UPSTREAM.encode(), by_port[scope["server"][1]]))
            await send(message)

        await httpbin.application(scope, receive, send_named)

    config = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=(list(sockets.values()),), daemon=True)
    thread.start()
    try:
        yield ports
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def build_world(mesh: EnvoyMesh, ports: Mapping[str, int]) -> str:
    """The objects that are always there, as YAML (which JSON is)."""
    objects: list[dict[str, Any]] = []
    for cluster in ("mgmt", "cluster1", "cluster2"):
        objects += [
            _object("v1", "Namespace", name, cluster=cluster) for name in ("gloo-mesh", "httpbin", "team", "elsewhere")
        ]
    objects += [
        _workspace("mesh", "2024-01-01T00:00:00Z", "gloo-mesh", "httpbin", "team"),
        _workspace("elsewhere", "2024-01-02T00:00:00Z", "elsewhere"),
    ]
    for name in APPLICATIONS:
        direct = name != "guarded"
        place = ("127.0.0.1", ports[name]) if direct else (mesh.address(GUARDED), INBOUND_PORT)
        objects += [build_service(name), build_endpoints(name, *place)]
    if GATEWAY in mesh.nodes:
        objects += _gateway(mesh.address(GATEWAY))
    for node in (CLIENT, CALLER, GUARDED):
        name = node.rpartition("~")[2]
        spec = {"serviceAccountName": name}
        pod = _object("v1", "Pod", name, namespace="httpbin", spec=spec, status={"podIP": mesh.address(node)})
        pod["metadata"]["labels"] = {"app": name}
        addresses = json.dumps({INBOUND_PORT: f"127.0.0.1:{ports['guarded']}"})
        pod["metadata"]["annotations"] |= {"meshpass.dev/proxy": "sidecar", "meshpass.dev/app-addresses": addresses}
        objects.append(pod)
    return "\n---\n".join(json.dumps(one) for one in objects)


def _gateway(address: str) -> Iterator[dict[str, Any]]:
    """The pod of the gateway, and the Service in front of it."""
    runs_as = {"serviceAccountName": "edge"}
    pod = _object("v1", "Pod", "edge", namespace="httpbin", spec=runs_as, status={"podIP": address})
    pod["metadata"]["labels"] = {"istio": "ingressgateway"}
    pod["metadata"]["annotations"] |= {"meshpass.dev/proxy": "gateway"}
    yield pod
    ports = [{"name": f"p{port}", "port": port, "targetPort": target} for port, target in GATEWAY_PORTS.items()]
    spec = {"type": "LoadBalancer", "selector": {"istio": "ingressgateway"}, "ports": ports}
    yield _object("v1", "Service", "ingress", namespace="httpbin", spec=spec)


def build_service(name: str, *, app: str = "") -> dict[str, Any]:
    """A Service of namespace httpbin, port 8000, in front of the pods with this label ``app``."""
    port = {"name": "http", "port": 8000, "targetPort": INBOUND_PORT}
    service = _object(
        "v1", "Service", name, namespace="httpbin", spec={"selector": {"app": app or name}, "ports": [port]}
    )
    service["metadata"]["labels"] = {"app": name}
    return service


def build_endpoints(name: str, address: str, port: int) -> dict[str, Any]:
    """The EndpointSlice of a Service with one address."""
    endpoints = _object(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        f"{name}-1",
        namespace="httpbin",
        addressType="IPv4",
        endpoints=[{"addresses": [address], "conditions": {"ready": True}}],
        ports=[{"name": "http", "port": port}],
    )
    endpoints["metadata"]["labels"] = {"kubernetes.io/service-name": name}
    return endpoints


def _workspace(name: str, created: str, *namespaces: str) -> dict[str, Any]:
    selectors = [{"name": namespace} for namespace in namespaces]
    spec = {"workloadClusters": [{"name": "*", "namespaces": selectors}]}
    workspace = _object("admin.gloo.solo.io/v2", "Workspace", name, namespace="gloo-mesh", cluster="mgmt", spec=spec)
    workspace["metadata"]["creationTimestamp"] = created
    return workspace


def _object(
    api_version: str, kind: str, name: str, *, namespace: str = "", cluster: str = "cluster1", **rest: Any
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "annotations": {"golden.meshpass.dev/cluster": cluster}}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def secret(
    name: str, data: Mapping[str, str], *, namespace: str = "httpbin", cluster: str = "cluster1"
) -> dict[str, Any]:
    """A Secret with these texts."""
    encoded = {entry: base64.b64encode(text.encode()).decode() for entry, text in data.items()}
    return _object("v1", "Secret", name, namespace=namespace, cluster=cluster, data=encoded)
