"""Workspaces with real Envoys: what is reached from another workspace, and whose policies hold, with and without sharing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from tests.support.http_client import Answer
from tests.support.jwt_objects import MISSING, UNKNOWN_ISSUER, bearer
from tests.support.three_workspaces import (
    ThreeWorkspaces,
    manifest,
    policy,
    run_three_workspaces,
    settings,
    sharing,
    table,
    to_web,
)
from tests.support.tokens import DEV, DEV_ISSUER, LOGIN, LOGIN_ISSUER, sign

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

HOST = "www.example.com"
SERVICE = "web.web.svc.cluster.local:8000"
GATEWAYS = [{"name": "gateway", "namespace": "edge"}]
OF_WEB, OF_OTHERS = bearer(sign(DEV)), bearer(sign(LOGIN))
Manifest = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[ThreeWorkspaces]:
    async with run_three_workspaces() as running:
        yield running


def pair(owner: str, user: str, *kinds: str) -> tuple[Manifest, Manifest]:
    """The settings of two workspaces that share these kinds."""
    return settings(owner, exportTo=sharing(user, *kinds)), settings(user, importFrom=sharing(owner))


async def becomes(ask: Callable[[], Awaitable[Answer]], status: int) -> Answer:
    """The answer, once it has that status. A listener's worker has what is acknowledged a moment later."""
    async with asyncio.timeout(10):
        while True:
            answer = await ask()
            if answer.status == status:
                return answer
            await asyncio.sleep(0.01)


async def test_a_route_reaches_a_service_of_another_workspace_if_both_agree(mesh: ThreeWorkspaces) -> None:
    """Neither side alone opens it, and either side alone closes it again."""
    exported, imported = pair("web", "shop", "SERVICE")

    async def ask() -> Answer:
        return await mesh.call(HOST)

    async with mesh.having(table("table", "shop", to_web(), hosts=[HOST])):
        await becomes(ask, 500)
        for side in (exported, imported):
            async with mesh.having(side):
                assert (await ask()).status == 500
        for first, second in ((exported, imported), (imported, exported)):
            async with mesh.having(first):
                async with mesh.having(second):
                    assert (await becomes(ask, 200)).upstream == "web"
                await becomes(ask, 500)
        async with mesh.having(*pair("web", "shop", "ROUTE_TABLE")):
            assert (await ask()).status == 500


async def test_destinations_are_known_by_their_hosts_where_they_are_imported(mesh: ThreeWorkspaces) -> None:
    """Elsewhere there is no such host."""
    spec = {
        "hosts": ["virtual.example"],
        "services": [{"labels": {"app": "web"}}],
        "ports": [{"number": 80, "protocol": "HTTP", "targetPort": {"name": "http"}}],
    }
    virtual = manifest("networking.gloo.solo.io/v2", "VirtualDestination", "virtual", "web", spec=spec)

    async def ask() -> Answer:
        return await mesh.call("virtual.example")

    async with mesh.having(virtual):
        assert (await becomes(ask, 502)).text == "no route in the mesh for virtual.example"
        async with mesh.having(*pair("web", "shop", "VIRTUAL_DESTINATION")):
            assert (await becomes(ask, 200)).upstream == "web"
        await becomes(ask, 502)


async def test_an_imported_table_keeps_the_policies_of_its_workspace(mesh: ThreeWorkspaces) -> None:
    """And those of the workspace that imports it do not reach it."""
    own = table("own", "web", to_web(), hosts=[HOST])
    web, shop = policy("web", DEV_ISSUER), policy("shop", LOGIN_ISSUER)

    async def ask(headers: dict[str, str] | None = None) -> Answer:
        return await mesh.call(HOST, headers=headers)

    async with mesh.having(own, web, shop):
        await becomes(ask, 502)
        async with mesh.having(*pair("web", "shop", "ROUTE_TABLE")):
            assert (await becomes(ask, 401)).text == MISSING
            assert (await ask(OF_WEB)).upstream == "web"
            assert (await ask(OF_OTHERS)).text == UNKNOWN_ISSUER
            await mesh.delete(web)
            await becomes(ask, 200)
        await becomes(ask, 502)


async def test_a_gateway_serves_what_its_workspace_imports(mesh: ThreeWorkspaces) -> None:
    """The policies of the table's workspace hold there; those of the gateway's do not."""
    own = table("own", "web", to_web(), hosts=[HOST], virtualGateways=GATEWAYS)

    async def ask(headers: dict[str, str] | None = None) -> Answer:
        return await mesh.ask_gateway(HOST, headers=headers)

    async with mesh.having(own, policy("web", DEV_ISSUER), policy("edge", LOGIN_ISSUER)):
        await becomes(ask, 404)
        async with mesh.having(*pair("web", "edge", "ROUTE_TABLE")):
            assert (await becomes(ask, 401)).text == MISSING
            assert (await ask(OF_WEB)).upstream == "web"
            assert (await ask(OF_OTHERS)).status == 401
        await becomes(ask, 404)


async def test_delegated_routes_are_under_the_policies_of_their_own_workspace(mesh: ThreeWorkspaces) -> None:
    """The parent's hold on what the parent answers itself."""
    delegated = {
        "name": "web",
        "matchers": [{"uri": {"prefix": "/get"}}],
        "delegate": {"routeTables": [{"name": "child", "namespace": "web"}]},
    }
    root = table("root", "edge", delegated, to_web() | {"name": "rest"}, hosts=[HOST], virtualGateways=GATEWAYS)

    async def ask(path: str = "/get", headers: dict[str, str] | None = None) -> Answer:
        return await mesh.ask_gateway(HOST, path, headers=headers)

    async with mesh.having(
        root, table("child", "web", to_web()), policy("web", DEV_ISSUER), policy("edge", LOGIN_ISSUER)
    ):
        # What cannot be delegated is the parent's own route, and under its policies.
        assert (await becomes(lambda: ask(headers=OF_OTHERS), 500)).upstream is None
        async with mesh.having(*pair("web", "edge")):
            assert (await becomes(lambda: ask(headers=OF_WEB), 200)).upstream == "web"
            assert (await ask()).text == MISSING
            assert (await ask(headers=OF_OTHERS)).text == UNKNOWN_ISSUER
            assert (await ask("/headers", OF_OTHERS)).upstream == "web"
            assert (await ask("/headers", OF_WEB)).text == UNKNOWN_ISSUER
        await becomes(lambda: ask(headers=OF_OTHERS), 500)


async def test_an_isolated_workspace_is_called_by_those_who_import_from_it(mesh: ThreeWorkspaces) -> None:
    """At the Service's own name, past every route table."""
    isolated = {"options": {"serviceIsolation": {"enabled": True}}}

    async def ask() -> Answer:
        return await mesh.call(SERVICE)

    await becomes(ask, 200)
    async with mesh.having(settings("web", **isolated)):
        await becomes(ask, 403)
        async with mesh.having(
            settings("web", exportTo=sharing("shop"), **isolated), settings("shop", importFrom=sharing("web"))
        ):
            assert (await becomes(ask, 200)).upstream == "web"
    await becomes(ask, 200)


async def test_trimmed_sidecars_know_what_is_imported(mesh: ThreeWorkspaces) -> None:
    """Of the rest they say that there is no such host, be it a Service of their cluster."""
    trimmed = {"options": {"serviceIsolation": {"trimProxyConfig": True}}}

    async def ask() -> Answer:
        return await mesh.call(SERVICE)

    await becomes(ask, 200)
    async with mesh.having(settings("shop", **trimmed), settings("web", exportTo=sharing("shop"))):
        await becomes(ask, 502)
        await mesh.apply(settings("shop", importFrom=sharing("web"), **trimmed))
        assert (await becomes(ask, 200)).upstream == "web"
        await mesh.apply(settings("shop", importFrom=sharing("web"), options={"trimAllProxyConfig": True}))
        await becomes(ask, 502)
        async with mesh.having(table("table", "shop", to_web(), hosts=[SERVICE.partition(":")[0]])):
            assert (await becomes(ask, 200)).upstream == "web"
    await becomes(ask, 200)
