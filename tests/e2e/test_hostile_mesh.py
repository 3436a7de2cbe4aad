"""Callers that write the same thing in another way, between real Envoys: what is refused is refused in every form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.access_objects import access_policy, allow
from tests.support.envoy_mesh import CLIENT, GUARDED, INBOUND_PORT, EnvoyMesh, run_envoy_mesh
from tests.support.mesh_issuer import MeshIssuer

from meshpass.translate.sidecar import OUTBOUND_PORT

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EnvoyMesh]:
    async with run_envoy_mesh(CLIENT, GUARDED, issuer=MeshIssuer()) as running:
        yield running


async def raw_status(mesh: EnvoyMesh, head: str) -> int:
    """Of the answer of the pod ``guarded`` to whoever goes to its address with these lines."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(mesh.address(GUARDED), INBOUND_PORT)
        try:
            writer.write(f"{head}Connection: close\r\n\r\n".encode())
            return int((await reader.readline()).split()[1])
        finally:
            writer.close()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("admin.example", 403),
        ("ADMIN.example", 403),
        ("admin.example.", 403),
        ("Admin.Example.:80", 403),
        ("admin.example:", 403),
        ("admin.example:8443", 403),
        ("other.example", 200),
        ("admin.example.org", 200),
    ],
)
async def test_a_host_that_is_refused_is_refused_in_every_form(mesh: EnvoyMesh, host: str, status: int) -> None:
    """Case, the dot of the root and the port do not make it another host."""
    match = {"request": {"headers": {"Host": {"notValues": ["admin.example"]}}}}
    async with mesh.having(access_policy(allow(match=match))):
        assert await raw_status(mesh, f"GET /get HTTP/1.1\r\nHost: {host}\r\n") == status
        whole = await raw_status(mesh, f"GET http://{host}/get HTTP/1.1\r\nHost: other.example\r\n")
        twice = await raw_status(mesh, f"GET /get HTTP/1.1\r\nHost: other.example\r\nHost: {host}\r\n")

    assert [one == 200 for one in (whole, twice)] == [status == 200] * 2


async def test_a_request_is_no_grpc_because_it_says_so(mesh: EnvoyMesh) -> None:
    """On a port that speaks something else, methods hold also for what says that it is gRPC."""
    async with mesh.having(access_policy(allow(allowedMethods=["GET"]))):
        answer = await mesh.request(
            "guarded:8000", "/post", method="POST", headers={"Content-Type": "application/grpc"}
        )

        assert answer.upstream is None
        assert ("grpc-message", "RBAC: access denied") in answer.headers


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-Client-Cert", "x_forwarded_client_cert", "X-Envoy-Original-Path", "X-Envoy-External-Address"],
)
async def test_what_a_client_says_of_itself_does_not_arrive(mesh: EnvoyMesh, header: str) -> None:
    """Straight to the pod, in plain text: the application is told nothing that looks like the proxy's word."""
    answer = await mesh.request_inbound(headers={header: "URI=spiffe://mesh.example/ns/httpbin/sa/client"})

    assert answer.seen("X-Forwarded-Client-Cert") == []
    assert answer.seen("X-Envoy-Original-Path") == answer.seen("X-Envoy-External-Address") == []


async def test_nobody_else_speaks_with_the_identity_of_a_workload(mesh: EnvoyMesh) -> None:
    """Where a workload sends its requests, only programs of its own place get in: they get its certificate shown."""
    ask = b"GET http://guarded.httpbin:8000/get HTTP/1.1\r\nHost: guarded.httpbin:8000\r\nConnection: close\r\n\r\n"
    own, stranger = [await _ask_from(source, mesh, ask) for source in ("127.0.0.1", "127.9.9.9")]

    assert own.startswith(b"HTTP/1.1 200")
    assert stranger == b""


async def _ask_from(source: str, mesh: EnvoyMesh, request: bytes) -> bytes:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(mesh.address(CLIENT), OUTBOUND_PORT, local_addr=(source, 0))
        try:
            writer.write(request)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()
