"""AccessPolicies behind a gateway: who the gateway is, and where its clients come from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.access_objects import access_policy, allow, by_account
from tests.support.envoy_mesh import (
    CLIENT,
    GATEWAY,
    GATEWAY_PORTS,
    GUARDED,
    SETTLE_SECONDS,
    EnvoyMesh,
    run_envoy_mesh,
)
from tests.support.gateway_objects import virtual_gateway
from tests.support.http_client import Answer, Request
from tests.support.jwt_objects import HOST
from tests.support.mesh_issuer import MeshIssuer
from tests.support.objects import forward, route_table

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EnvoyMesh]:
    async with run_envoy_mesh(GATEWAY, CLIENT, GUARDED, issuer=MeshIssuer()) as running:
        gateways = [{"name": "gateway", "namespace": "httpbin", "cluster": "cluster1"}]
        await running.apply(
            virtual_gateway(), route_table(hosts=[HOST], virtualGateways=gateways, http=[forward("guarded")])
        )
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                try:
                    await from_outside(running)
                except ConnectionError:
                    await asyncio.sleep(0.01)
                else:
                    break
        yield running


async def from_outside(mesh: EnvoyMesh, said: str = "") -> Answer:
    """The answer to somebody on 127.0.0.1 who goes to the gateway, and may say where the request is from."""
    headers = (("x-forwarded-for", said),) if said else ()
    request = Request(url=f"http://{HOST}/get", headers=headers, proxied=False)
    return await mesh.client.send((mesh.address(GATEWAY), GATEWAY_PORTS[80]), request)


async def test_the_gateway_is_a_caller_like_others(mesh: EnvoyMesh) -> None:
    """By the service account that it runs as; sidecars are others."""
    async with mesh.having(access_policy(allow(by_account("edge")))):
        assert (await from_outside(mesh)).upstream == "guarded"
        assert (await mesh.request("guarded:8000")).status == 403
    async with mesh.having(access_policy(allow(by_account("client")))):
        assert (await from_outside(mesh)).status == 403


async def test_clients_of_the_gateway_are_known_by_its_word(mesh: EnvoyMesh) -> None:
    """What they say of themselves comes before that, and others than the gateway are not asked."""
    # For a client on a loopback address, Envoy writes the machine's own.
    address = (await from_outside(mesh)).seen("x-forwarded-for")[0]
    other = "198.51.100.1"
    inside = allow(by_account("edge"), allowedRemoteIpBlocks=[address])
    outside = allow(by_account("edge"), allowedRemoteIpBlocks=[other])
    async with mesh.having(access_policy(inside)):
        assert (await from_outside(mesh)).upstream == "guarded"
        assert (await from_outside(mesh, said=other)).upstream == "guarded"
        assert (await mesh.request("guarded:8000", headers={"x-forwarded-for": address})).status == 403
    async with mesh.having(access_policy(outside)):
        assert (await from_outside(mesh, said=other)).status == 403


async def test_a_gateway_is_not_protected_and_the_status_says_so(mesh: EnvoyMesh) -> None:
    """A policy that selects nothing else."""
    policy = access_policy({}, applyToWorkloads=[{"selector": {"labels": {"istio": "ingressgateway"}}}])
    async with mesh.having(policy):
        assert (await from_outside(mesh)).upstream == "guarded"
        state = mesh.status(policy)["common"]["State"]
        assert state["approval"] == "WARNING"
        assert "is not for gateways: httpbin/edge of cluster cluster1" in state["message"]
