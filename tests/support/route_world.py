"""RouteWorld: an EnvoyMesh with more behind it, for tests of routes: a bookshop, a server outside, TCP servers.

Beside what ``envoy_mesh`` has: namespace bookinfo of the same workspace with the Services productpage, details, ratings
and reviews (versions v1 to v3) on port 9080; Services tcp-echo and second-echo of namespace httpbin, port 9000, which
say their name and a line back; and ``outside``, which listens and is no Service. All of them echo (``echo_server``).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.echo_server import run_echoes
from tests.support.envoy_mesh import (
    CALLER,
    CLIENT,
    GATEWAY,
    GATEWAY_PORTS,
    SETTLE_SECONDS,
    EnvoyMesh,
    build_endpoints,
    run_envoy_mesh,
)
from tests.support.objects import CLUSTER_ANNOTATION

from meshpass.translate.sidecar import OUTBOUND_PORT

Manifest = dict[str, Any]

BOOKSHOP = {"productpage": ("v1",), "details": ("v1",), "ratings": ("v1",), "reviews": ("v1", "v2", "v3")}
TCP = ("tcp-echo", "second-echo")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteWorld:
    """The mesh, and the port of ``outside``."""

    mesh: EnvoyMesh
    outside_port: int

    async def tunnel(self, authority: str, line: bytes = b"", *, node: str = CLIENT) -> tuple[int, bytes]:
        """The status of CONNECT, and the line that comes back through the tunnel for this one."""
        reader, writer = await asyncio.open_connection(self.mesh.address(node), OUTBOUND_PORT)
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                status = int(head.split()[1])
                writer.write(line)
                return status, await reader.readline() if status == 200 and line else b""
        finally:
            writer.close()

    async def pass_on(self, port: int, line: bytes) -> bytes:
        """The line that comes back from a TCP port of the gateway for this one."""
        reader, writer = await self.gateway_connection(port)
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                writer.write(line)
                return await reader.readline()
        finally:
            writer.close()

    async def gateway_connection(
        self, port: int, server_name: str = ""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the gateway, as soon as it listens; with TLS if a server name is asked for."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if server_name else None
        if context is not None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        place = (self.mesh.address(GATEWAY), GATEWAY_PORTS[port])
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                try:
                    return await asyncio.open_connection(*place, ssl=context, server_hostname=server_name or None)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.01)


@asynccontextmanager
async def run_route_world(*nodes: str) -> AsyncIterator[RouteWorld]:
    """Inside, it runs, with an Envoy for each of the nodes."""
    versions = [
        f"{name}-{version}" if len(BOOKSHOP[name]) > 1 else name for name in BOOKSHOP for version in BOOKSHOP[name]
    ]
    async with AsyncExitStack() as stack:
        mesh = await stack.enter_async_context(run_envoy_mesh(*(nodes or (CLIENT, CALLER))))
        ports = await stack.enter_async_context(run_echoes("httpbin", "canary", "outside", *versions))
        tcp_ports = {name: await stack.enter_async_context(_run_line_echo(name)) for name in TCP}
        stack.callback(mesh.client.close)
        await mesh.apply(*_objects(ports, tcp_ports))
        yield RouteWorld(mesh=mesh, outside_port=ports["outside"])


@asynccontextmanager
async def _run_line_echo(name: str) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(name.encode() + b" " + line)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


def _objects(ports: Mapping[str, int], tcp_ports: Mapping[str, int]) -> list[Manifest]:
    found = [_object("v1", "Namespace", "bookinfo", cluster=cluster) for cluster in ("mgmt", "cluster1", "cluster2")]
    namespaces = [{"name": name} for name in ("gloo-mesh", "httpbin", "team", "bookinfo")]
    workspace = _object(
        "admin.gloo.solo.io/v2",
        "Workspace",
        "mesh",
        namespace="gloo-mesh",
        cluster="mgmt",
        spec={"workloadClusters": [{"name": "*", "namespaces": namespaces}]},
    )
    workspace["metadata"]["creationTimestamp"] = "2024-01-01T00:00:00Z"
    found.append(workspace)
    found += [build_endpoints(name, "127.0.0.1", ports[name]) for name in ("httpbin", "canary")]
    for name, versions in BOOKSHOP.items():
        found.append(_service(name, "bookinfo", {"name": "http", "port": 9080}))
        for version in versions:
            pod = f"{name}-{version}"
            port = ports[pod if pod in ports else name]
            found += [_pod(pod, name, version), _slice(pod, name, "bookinfo", "http", port)]
    for name in TCP:
        found.append(_service(name, "httpbin", {"name": "tcp", "port": 9000}))
        found.append(_slice(name, name, "httpbin", "tcp", tcp_ports[name]))
    return found


def _service(name: str, namespace: str, port: Manifest) -> Manifest:
    service = _object("v1", "Service", name, namespace=namespace, spec={"selector": {"app": name}, "ports": [port]})
    service["metadata"]["labels"] = {"app": name}
    return service


def _pod(name: str, app: str, version: str) -> Manifest:
    pod = _object("v1", "Pod", name, namespace="bookinfo", status={"podIP": "127.0.0.1"})
    pod["metadata"]["labels"] = {"app": app, "version": version}
    return pod


def _slice(name: str, service: str, namespace: str, port_name: str, port: int) -> Manifest:
    endpoint = {
        "addresses": ["127.0.0.1"],
        "conditions": {"ready": True},
        "targetRef": {"kind": "Pod", "name": name, "namespace": namespace},
    }
    found = _object(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        name,
        namespace=namespace,
        addressType="IPv4",
        endpoints=[endpoint],
        ports=[{"name": port_name, "port": port}],
    )
    found["metadata"]["labels"] = {"kubernetes.io/service-name": service}
    return found


def _object(
    api_version: str, kind: str, name: str, *, namespace: str = "", cluster: str = "cluster1", **rest: Any
) -> Manifest:
    metadata: Manifest = {"name": name, "annotations": {CLUSTER_ANNOTATION: cluster}}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}
