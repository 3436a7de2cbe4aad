"""Mutual TLS between real Envoys: who is let in, what the application is told, and certificates that change under load."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support.certificates import Authority, Certificate
from tests.support.envoy_mesh import CALLER, CLIENT, GUARDED, INBOUND_PORT, EnvoyMesh, run_envoy_mesh
from tests.support.mesh_issuer import MeshIssuer, account

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

HOST = "guarded:8000"
XFCC = "x-forwarded-client-cert"
PEER_NAME = "8000.guarded.httpbin.cluster1.svc.meshpass.internal"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EnvoyMesh]:
    async with run_envoy_mesh(CLIENT, CALLER, GUARDED, issuer=MeshIssuer()) as running:
        yield running


async def test_a_sidecar_shows_who_its_workload_is(mesh: EnvoyMesh) -> None:
    """The application is told the SPIFFE ID of the caller, by each caller its own, and nothing that the client says."""
    for node, name in ((CLIENT, "client"), (CALLER, "caller")):
        answer = await mesh.request(HOST, node=node, headers={XFCC: "URI=spiffe://mesh.example/ns/x/sa/evil"})

        (shown,) = answer.seen(XFCC)
        parts = dict(part.split("=", 1) for part in shown.split(";"))
        assert answer.upstream == "guarded"
        assert parts.keys() == {"By", "Hash", "URI"}
        assert (parts["By"], parts["URI"]) == (account("guarded"), account(name))


async def test_plain_text_is_taken_as_long_as_nobody_says_otherwise(mesh: EnvoyMesh) -> None:
    """And says nothing of a caller, whatever the client says."""
    answer = await mesh.request_inbound(headers={XFCC: f"URI={account('client')}"})

    assert (answer.status, answer.upstream, answer.seen(XFCC)) == (200, "guarded", [])
