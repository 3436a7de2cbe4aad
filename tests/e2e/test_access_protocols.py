"""AccessPolicies on ports that speak gRPC, or no HTTP at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio
from tests.support.access_objects import access_policy, allow, by_account
from tests.support.envoy_mesh import CALLER, CLIENT, GUARDED, EnvoyMesh, run_envoy_mesh
from tests.support.grpc_echo import GrpcClient, run_grpc_echo
from tests.support.mesh_issuer import MeshIssuer
from tests.support.protocol_world import GRPC, RAW, accepting, endpoints, failure, pod, service, talk_back

from meshpass.translate.sidecar import OUTBOUND_PORT

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

PORTS = {"grpc-echo": GRPC, "tcp-raw": RAW}
SAID = b"hello\nagain\n"
METHOD = "/tests.Open/Describe"
DENIED = ("PERMISSION_DENIED", "RBAC: access denied")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EnvoyMesh]:
    async with (
        run_envoy_mesh(CLIENT, CALLER, GUARDED, issuer=MeshIssuer()) as running,
        run_grpc_echo("echo") as echo,
        await asyncio.start_server(talk_back, "127.0.0.1", 0) as raw,
    ):
        await running.apply(
            pod(running, {GRPC: echo.port, RAW: raw.sockets[0].getsockname()[1]}),
            service("speaker", PORTS, app="guarded"),
            endpoints("speaker", running.address(GUARDED), PORTS),
        )
        for port in PORTS.values():
            await accepting(running.address(GUARDED), port)
        yield running


async def converse(mesh: EnvoyMesh, node: str | None) -> bytes:
    """All that a server says that speaks first, to a sidecar's workload, or to somebody without a sidecar."""
    said = b""
    place = (mesh.address(GUARDED), RAW) if node is None else (mesh.address(node), OUTBOUND_PORT)
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*place)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            if node is not None:
                host = f"speaker.httpbin:{RAW}".encode()
                writer.write(b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (host, host))
                if not (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200"):
                    return b""
            said = await reader.readline()
            writer.write(b"again\n")
            said += await reader.readline()
        writer.close()
    return said


async def test_who_may_connect_where_there_is_no_http(mesh: EnvoyMesh) -> None:
    """By certificate and by address; an application that speaks first says nothing to those who may not."""
    assert await converse(mesh, CALLER) == SAID
    address = mesh.address(CLIENT)
    for entry in (allow(by_account("client")), allow(allowedIpBlocks=[address])):
        async with mesh.having(access_policy(entry)):
            assert await converse(mesh, CLIENT) == SAID
            assert (await converse(mesh, CALLER), await converse(mesh, None)) == (b"", b"")
    assert await converse(mesh, None) == SAID


async def test_entries_about_requests_let_nobody_connect(mesh: EnvoyMesh) -> None:
    """One without such conditions does, beside them."""
    about_requests = allow(allowedPaths=["*/x"])
    async with mesh.having(access_policy(about_requests)):
        assert await converse(mesh, CLIENT) == b""
    async with mesh.having(access_policy(about_requests, allow(by_account("caller")))):
        assert (await converse(mesh, CLIENT), await converse(mesh, CALLER)) == (b"", SAID)


async def test_a_policy_that_cannot_be_built_lets_nobody_connect(mesh: EnvoyMesh) -> None:
    """With TLS or without."""
    async with mesh.having(access_policy(allow(allowedIpBlocks=["x"]))):
        assert (await converse(mesh, CLIENT), await converse(mesh, None)) == (b"", b"")


async def test_grpc_is_allowed_by_path_whatever_is_said_of_methods(mesh: EnvoyMesh) -> None:
    """Its requests are all POST; refusals are what gRPC calls them."""
    async with GrpcClient((mesh.address(CLIENT), OUTBOUND_PORT), f"speaker.httpbin:{GRPC}") as client:
        async with mesh.having(access_policy(allow(allowedPaths=[METHOD], allowedMethods=["GET"]))):
            await client.describe(METHOD)
            assert await failure(client.describe("/tests.Open/Other")) == DENIED
        async with mesh.having(access_policy(allow(by_account("caller")))):
            assert await failure(client.describe(METHOD)) == DENIED
