"""World: a mesh whose application speaks gRPC, WebSocket and something that is no HTTP, and all ways into it.

async with run_world() as world:
    async with world.call(Place.EDGE) as client:
        said = await client.describe(f"{CLOSED}/Describe", GOOD)

Every request passes two Envoys: the sidecar of ``client`` or the gateway, then the sidecar of the application.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.support.envoy_mesh import (
    CLIENT,
    GATEWAY,
    GATEWAY_PORTS,
    GUARDED,
    SETTLE_SECONDS,
    EnvoyMesh,
    build_endpoints,
    run_envoy_mesh,
    secret,
)
from tests.support.gateway_objects import HTTP, make_pair, virtual_gateway
from tests.support.grpc_echo import GrpcClient, GrpcEcho, run_grpc_echo
from tests.support.http2_client import Http2Client
from tests.support.jwt_objects import (
    HOST,
    LABEL,
    Manifest,
    bearer,
    policy,
)
from tests.support.objects import forward, route_table
from tests.support.tokens import DEV, sign
from tests.support.websocket_echo import WebSocketEcho, open_websocket, run_websocket_echo

from meshpass.translate.sidecar import OUTBOUND_PORT

TOKEN = sign(DEV)
GOOD = bearer(TOKEN)
OPEN, CLOSED = "/tests.Open", "/tests.Guarded"
CERTIFICATE, PRIVATE_KEY = make_pair(HOST)
GRPC, WEB, RAW = 9000, 9001, 9002
KIBIBYTE, MEBIBYTE = 2**10, 2**20


class Place(StrEnum):
    """Where a client enters the mesh."""

    SIDECAR = "sidecar"
    EDGE = "gateway"
    EDGE_TLS = "gateway-with-tls"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The mesh with its servers."""

    mesh: EnvoyMesh
    grpc: GrpcEcho
    other: GrpcEcho
    web: WebSocketEcho

    def address(self, place: Place) -> tuple[str, int]:
        """Where to connect to."""
        match place:
            case Place.SIDECAR:
                return self.mesh.address(CLIENT), OUTBOUND_PORT
            case Place.EDGE:
                return self.mesh.address(GATEWAY), GATEWAY_PORTS[80]
            case Place.EDGE_TLS:
                return self.mesh.address(GATEWAY), GATEWAY_PORTS[443]

    def call(self, place: Place, authority: str = HOST) -> GrpcClient:
        """A gRPC channel."""
        return GrpcClient(self.address(place), authority, certificates=CERTIFICATE if place is Place.EDGE_TLS else "")

    def websocket(self, place: Place, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> Any:
        """A WebSocket."""
        context = trusting() if place is Place.EDGE_TLS else None
        scheme = "wss" if context else "ws"
        return open_websocket(self.address(place), f"{scheme}://{HOST}{path}", headers, context=context, **more)

    def http2(self, place: Place) -> Any:
        """An HTTP/2 connection."""
        if place is Place.EDGE_TLS:
            return Http2Client.open(self.address(place), trusting("h2", "http/1.1"), HOST)
        return Http2Client.open(self.address(place))


def trusting(*protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CERTIFICATE)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def pod(mesh: EnvoyMesh, ports: Mapping[int, int]) -> Manifest:
    """The pod ``guarded`` with more ports than it has by itself."""
    addresses = json.dumps({port: f"127.0.0.1:{real}" for port, real in ports.items()})
    annotations = {"meshpass.dev/proxy": "sidecar", "meshpass.dev/app-addresses": addresses}
    metadata = {"name": "guarded", "namespace": "httpbin", "labels": {"app": "guarded"}, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"podIP": mesh.address(GUARDED)}}


def service(name: str, ports: Mapping[str, int], **selector: str) -> Manifest:
    listed = [{"name": port, "port": number} for port, number in ports.items()]
    metadata = {"name": name, "namespace": "httpbin", "labels": {"app": name}}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": selector, "ports": listed},
    }


def endpoints(name: str, address: str, ports: Mapping[str, int]) -> Manifest:
    made = build_endpoints(name, address, 1)
    return made | {"ports": [{"name": port, "port": number} for port, number in ports.items()]}


SPEAKER = {"grpc-echo": GRPC, "http-web": WEB, "tcp-raw": RAW}


def matching(uri: Manifest, name: str, port: int, /, *, headers: Any = (), **labels: str) -> Manifest:
    """A route to a Service for this path."""
    to = forward(name, port, **labels)
    return to | {"name": next(iter(uri.values())), "matchers": [{"uri": uri, "headers": list(headers)}]}


ROUTES = (
    matching({"prefix": OPEN}, "speaker", GRPC),
    matching({"prefix": CLOSED}, "speaker", GRPC, **LABEL),
    matching({"prefix": "/open"}, "speaker", WEB),
    matching({"prefix": "/guarded"}, "speaker", WEB, **LABEL),
    matching({"prefix": "/anything"}, "httpbin", 8000),
    matching({"prefix": "/get"}, "httpbin", 8000, **LABEL),
    matching({"prefix": "/post"}, "httpbin", 8000, **LABEL),
    matching({"prefix": "/nowhere"}, "nobody", WEB),
    matching({"prefix": "/tests.Nowhere"}, "nobody", GRPC),
    matching({"prefix": "/tests.Empty"}, "empty", GRPC),
)
"""gRPC, WebSocket and other requests, open and protected; and some that nobody answers."""


def table(*http: Manifest, name: str = "table", **spec: Any) -> Manifest:
    """A table of HOST for sidecars and gateway."""
    where: dict[str, Any] = {"hosts": [HOST], "workloadSelectors": [{}], "virtualGateways": [{"name": "gateway"}]}
    return route_table(name, http=list(http or ROUTES), **(where | spec))


@asynccontextmanager
async def instead(world: World, *manifests: Manifest) -> AsyncIterator[None]:
    """Inside, these take the place of the table and the policy that are always there."""
    try:
        await world.mesh.apply(*manifests)
        yield
    finally:
        await world.mesh.apply(table(), policy())


def gateway(*more: Manifest) -> Manifest:
    tls = {"mode": "SIMPLE", "secretName": "certificate"}
    return virtual_gateway(HTTP, {"port": {"number": 443}, "http": {}, "tls": tls}, *more)


@asynccontextmanager
async def run_world() -> AsyncIterator[World]:
    """Inside, the mesh runs, with the table, the policy and the gateway, and all of it accepts."""
    async with AsyncExitStack() as stack:
        mesh = await stack.enter_async_context(run_envoy_mesh(CLIENT, GUARDED, GATEWAY))
        one, other = [await stack.enter_async_context(run_grpc_echo(name)) for name in ("one", "other")]
        web = await stack.enter_async_context(run_websocket_echo())
        raw = await asyncio.start_server(talk_back, "127.0.0.1", 0)
        stack.callback(raw.close)
        ports = {GRPC: one.port, WEB: web.port, RAW: raw.sockets[0].getsockname()[1]}
        await mesh.apply(
            pod(mesh, ports),
            service("speaker", SPEAKER, app="guarded"),
            endpoints("speaker", mesh.address(GUARDED), SPEAKER),
            service("other", {"grpc": GRPC}),
            endpoints("other", "127.0.0.1", {"grpc": other.port}),
            service("empty", {"grpc": GRPC}),
            secret("certificate", {"tls.crt": CERTIFICATE, "tls.key": PRIVATE_KEY}),
            gateway(),
            table(),
            policy(),
        )
        world = World(mesh=mesh, grpc=one, other=other, web=web)
        for address in map(world.address, Place):
            await accepting(*address)
        for port in ports:
            await accepting(mesh.address(GUARDED), port)
        yield world


async def accepting(address: str, port: int) -> None:
    """Returns when somebody listens there."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection(address, port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


async def talk_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An application that speaks no HTTP: it speaks first, then repeats every line."""
    writer.write(b"hello\n")
    with suppress(ConnectionError):
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    writer.close()


async def failure(call: Awaitable[object]) -> tuple[str, str]:
    """Code and details of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as info:
        await call
    return info.value.code().name, info.value.details()


async def echoes(chat: Any, message: bytes = b"again") -> bool:
    """Whether a chat still goes both ways."""
    await chat.write(message)
    async with asyncio.timeout(10):
        return bool(await chat.read() == message)


def traffic(**config: Any) -> Manifest:
    return {
        "apiVersion": "resilience.policy.gloo.solo.io/v2",
        "kind": "RetryTimeoutPolicy",
        "metadata": {"name": "traffic", "namespace": "httpbin"},
        "spec": {"applyToRoutes": [{"route": {"labels": LABEL}}], "config": config},
    }
