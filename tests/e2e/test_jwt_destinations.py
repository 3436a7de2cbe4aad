"""Policies on destinations: enforced by the callee's own Envoy, whoever calls and by whichever way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.envoy_mesh import CALLER, CLIENT, GUARDED, EnvoyMesh, build_service, run_envoy_mesh
from tests.support.jwt_objects import DENIED, FAILS, HOST, LABEL, MISSING, bearer, policy, provider, table
from tests.support.objects import forward, jwt_policy
from tests.support.tokens import DEV, LOGIN, LOGIN_ISSUER, break_signature, sign

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

SERVICE = "guarded.httpbin:8000"
GOOD, OTHER = sign(DEV), sign(LOGIN)
ORG = [{"claim": "org", "header": "x-org"}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EnvoyMesh]:
    async with run_envoy_mesh(CLIENT, CALLER, GUARDED) as running:
        yield running


def on_destination(name: str = "destination", created: str = "", select: Any = None, **config: Any) -> dict[str, Any]:
    config = {"providers": {"dev": provider()}} | config
    select = select or {"selector": {"name": "guarded"}}
    return jwt_policy(name, created=created, applyToDestinations=[select], config=config)


async def test_every_caller_needs_a_token(mesh: EnvoyMesh) -> None:
    """From two sidecars, by any of the Service's names, and straight to the pod's port."""
    policy_ = on_destination(providers={"dev": provider(claimsToHeaders=ORG)})
    async with mesh.having(policy_):
        for node in (CLIENT, CALLER):
            for host in ("guarded:8000", SERVICE, "guarded.httpbin.svc.cluster.local:8000"):
                answer = await mesh.request(host, node=node)
                assert (answer.status, answer.text) == (401, MISSING)
                assert answer.header("www-authenticate") == f'Bearer realm="http://{host}/get"'
                answer = await mesh.request(host, node=node, headers=bearer(GOOD, x_org="evil"))
                assert (answer.upstream, answer.seen("x-org"), answer.seen("x-auth")) == ("guarded", ["internal"], [])
        for headers, expected in (({}, MISSING), (bearer(break_signature(GOOD)), FAILS)):
            answer = await mesh.request_inbound(headers=headers)
            assert (answer.status, answer.text) == (401, expected)
        assert (await mesh.request_inbound(headers=bearer(GOOD))).seen("x-org") == ["internal"]
        assert (await mesh.request("httpbin.httpbin:8000")).status == 200
        status = mesh.status(policy_)
        assert (status["numSelectedRoutes"], status["numSelectedDestinationPorts"]) == (0, 1)


@pytest.mark.parametrize(
    ("select", "protected"),
    [
        ({}, True),
        ({"selector": {"name": "guarded"}}, True),
        ({"selector": {"labels": {"app": "guarded"}}}, True),
        ({"selector": {"labels": {"app": "httpbin"}}}, False),
        ({"selector": {"namespace": "httpbin", "cluster": "cluster1"}}, True),
        ({"selector": {"namespace": "team"}}, False),
        ({"selector": {"cluster": "cluster2"}}, False),
        ({"selector": {"name": "guarded"}, "port": {"number": 8000}}, True),
        ({"selector": {"name": "guarded"}, "port": {"number": 9000}}, False),
        ({"selector": {"name": "guarded"}, "kind": "SERVICE"}, True),
    ],
)
async def test_destinations_are_selected(mesh: EnvoyMesh, select: dict[str, Any], protected: bool) -> None:
    """By name, labels, namespace, cluster and port."""
    async with mesh.having(on_destination(select=select)):
        assert (await mesh.request(SERVICE)).status == (401 if protected else 200)
        assert (await mesh.request_inbound()).status == (401 if protected else 200)


async def test_claims_scopes_and_lax_policies_hold_inbound_too(mesh: EnvoyMesh) -> None:
    """What a policy says means the same on both sides."""
    rules = [{"key": "org", "values": ["internal"]}]
    async with mesh.having(on_destination(claims=rules, requiredScopes=["is:developer"])):
        assert (await mesh.request_inbound(headers=bearer(GOOD))).status == 200
        answer = await mesh.request_inbound(headers=bearer(sign({**DEV, "org": "x"})))
        assert (answer.status, answer.text) == (403, DENIED)
    for phase in ("preAuthz", "postAuthz"):
        lax = {"validationPolicy": "ALLOW_MISSING_OR_FAILED", "phase": {phase: {}}}
        async with mesh.having(on_destination(**lax)):
            bad = break_signature(GOOD)
            answer = await mesh.request_inbound(headers=bearer(bad), query={"auth_token": bad, "a": "1"})
            assert (answer.seen("x-auth"), answer.args) == ([], {"a": ["1"]})
    async with mesh.having(on_destination(providers={})):
        answer = await mesh.request_inbound(headers=bearer(GOOD))
        assert (answer.status, answer.text) == (403, DENIED)


@pytest.mark.parametrize("keep", [False, True])
async def test_route_and_destination_on_one_path(mesh: EnvoyMesh, keep: bool) -> None:
    """Both have to pass, so the route's policy has to keep the token for the destination's."""
    objects = [
        table(forward("guarded", **LABEL)),
        policy(providers={"dev": provider(keepToken=keep)}),
        on_destination(providers={"dev": provider(claimsToHeaders=ORG)}),
    ]
    async with mesh.having(*objects):
        answer = await mesh.request(HOST, headers=bearer(GOOD))
        if keep:
            assert (answer.upstream, answer.seen("x-org"), answer.seen("x-auth")) == ("guarded", ["internal"], [])
        else:
            assert (answer.status, answer.text) == (401, MISSING)
        assert (await mesh.request(HOST)).status == 401
        # Who goes to the Service's own name is not on the route, but still at the destination.
        assert (await mesh.request(SERVICE)).status == 401
        assert (await mesh.request(SERVICE, headers=bearer(GOOD))).status == 200


async def test_different_tokens_for_route_and_destination(mesh: EnvoyMesh) -> None:
    """The route takes its own token and leaves the destination's, which is in another header."""
    source = {"headers": [{"name": "X-Inner"}]}
    objects = [
        table(forward("guarded", **LABEL)),
        policy(),
        on_destination(providers={"login": provider(LOGIN_ISSUER, tokenSource=source, claimsToHeaders=ORG)}),
    ]
    async with mesh.having(*objects):
        answer = await mesh.request(HOST, headers=bearer(GOOD, X_Inner=OTHER))
        assert (answer.seen("x-org"), answer.seen("x-auth"), answer.seen("x-inner")) == (["external"], [], [])
        assert (await mesh.request(HOST, headers=bearer(GOOD))).status == 401
        assert (await mesh.request(HOST, headers=bearer(GOOD, X_Inner=GOOD))).status == 401


@pytest_asyncio.fixture(loop_scope="module")
async def also(mesh: EnvoyMesh) -> AsyncIterator[dict[str, Any]]:
    """A second Service in front of the pod; with new connections, see test_a_service_more_refuses_no_good_token."""
    service = build_service("also", app="guarded")
    async with mesh.having(service):
        mesh.client.close()
        yield service
    mesh.client.close()


@pytest.mark.usefixtures("also")
async def test_two_services_on_one_port(mesh: EnvoyMesh) -> None:
    """The policies of both Services have to pass: what comes in does not prove which of them was meant."""
    inner = {"headers": [{"name": "X-Inner"}]}
    objects = [
        on_destination("first", select={"selector": {"name": "guarded"}}),
        on_destination(
            "second",
            select={"selector": {"name": "also"}},
            providers={"login": provider(LOGIN_ISSUER, tokenSource=inner)},
        ),
    ]
    async with mesh.having(*objects):
        assert (await mesh.request_inbound(headers=bearer(GOOD, X_Inner=OTHER))).status == 200
        for headers in ({}, bearer(GOOD), {"X-Inner": OTHER}, bearer(OTHER, X_Inner=GOOD)):
            assert (await mesh.request_inbound(headers=headers)).status == 401
    async with mesh.having(objects[1]):
        assert (await mesh.request_inbound()).status == 401
        assert (await mesh.request_inbound(headers={"X-Inner": OTHER})).status == 200


@pytest.mark.usefixtures("also")
async def test_two_services_on_one_port_may_ask_for_the_same_token(mesh: EnvoyMesh) -> None:
    """The first that accepts it leaves it to the second, which takes it out of the request."""
    objects = [
        on_destination("first", select={"selector": {"name": "guarded"}}),
        on_destination(
            "second",
            select={"selector": {"name": "also"}},
            providers={"any": provider(), "login": provider(LOGIN_ISSUER)},
        ),
    ]
    async with mesh.having(*objects):
        answer = await mesh.request_inbound(headers=bearer(GOOD))
        assert (answer.status, answer.seen("x-auth")) == (200, [])
        for headers in ({}, bearer(OTHER)):
            assert (await mesh.request_inbound(headers=headers)).status == 401


async def test_a_service_more_refuses_no_good_token(mesh: EnvoyMesh) -> None:
    """Connections that are kept while a second Service comes to lead to the port go on as before."""
    async with mesh.having(on_destination()):
        assert (await mesh.request_inbound(headers=bearer(GOOD))).status == 200
        async with mesh.having(build_service("also", app="guarded")):
            answer = await mesh.request_inbound(headers=bearer(GOOD))
            mesh.client.close()
            assert answer.status == 200
        mesh.client.close()


async def test_the_oldest_policy_holds_on_a_destination(mesh: EnvoyMesh) -> None:
    """The younger one is FAILED, and holds when the older one goes."""
    older = on_destination("older", created="2024-01-01T00:00:00Z")
    younger = on_destination("younger", created="2024-02-01T00:00:00Z", providers={"login": provider(LOGIN_ISSUER)})
    async with mesh.having(older, younger):
        assert (await mesh.request_inbound(headers=bearer(GOOD))).status == 200
        assert (await mesh.request_inbound(headers=bearer(OTHER))).status == 401
        assert mesh.status(younger)["common"]["State"]["approval"] == "FAILED"
        await mesh.delete(older)
        assert (await mesh.request_inbound(headers=bearer(OTHER))).status == 200
        assert (await mesh.request_inbound(headers=bearer(GOOD))).status == 401
        assert mesh.status(younger)["common"]["State"]["approval"] == "ACCEPTED"


async def test_a_destination_of_another_workspace_is_not_reached(mesh: EnvoyMesh) -> None:
    """A policy selects in its own workspace only."""
    stranger = jwt_policy(
        "stranger",
        namespace="elsewhere",
        applyToDestinations=[{}],
        config={"providers": {"dev": provider()}},
    )
    async with mesh.having(stranger):
        assert (await mesh.request_inbound()).status == 200


async def test_a_destination_policy_comes_and_changes_on_kept_connections(mesh: EnvoyMesh) -> None:
    """It is there from one request to the next, and no connection is closed for it."""
    assert (await mesh.request_inbound()).status == 200
    opened = mesh.client.connections
    for _ in range(5):
        await mesh.apply(on_destination())
        assert (await mesh.request_inbound()).status == 401
        await mesh.apply(on_destination(phase={"postAuthz": {}}, providers={"login": provider(LOGIN_ISSUER)}))
        assert [(await mesh.request_inbound(headers=bearer(token))).status for token in (GOOD, OTHER)] == [401, 200]
        await mesh.delete(on_destination())
        assert (await mesh.request_inbound()).status == 200
    assert mesh.client.connections == opened


async def test_a_client_does_not_write_claims_inbound(mesh: EnvoyMesh) -> None:
    """Neither through a sidecar nor past it; what a route's policy wrote is not taken for a claim of the destination."""
    async with mesh.having(
        on_destination(providers={"dev": provider(claimsToHeaders=ORG)}, validationPolicy="ALLOW_MISSING")
    ):
        assert (await mesh.request(SERVICE, headers={"x-org": "evil"})).seen("x-org") == []
        assert (await mesh.request_inbound(headers={"x-org": "evil"})).seen("x-org") == []


async def test_what_a_route_policy_wrote_reaches_the_destination(mesh: EnvoyMesh) -> None:
    """A claim header of the caller's side passes a destination whose policy has nothing to do with it."""
    objects = [
        table(forward("guarded", **LABEL)),
        policy(providers={"dev": provider(keepToken=True, claimsToHeaders=ORG)}),
        on_destination(),
    ]
    async with mesh.having(*objects):
        assert (await mesh.request(HOST, headers=bearer(GOOD, x_org="evil"))).seen("x-org") == ["internal"]
