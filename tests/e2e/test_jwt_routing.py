"""Routes in a real Envoy: chosen again after verification, preflights, phases, and policies that change under load."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.envoy_mesh import EnvoyMesh, run_envoy_mesh
from tests.support.jwt_objects import (
    DENIED,
    FAILS,
    HOST,
    LABEL,
    MISSING,
    bearer,
    policy,
    protect,
    protect_with,
    provider,
    table,
)
from tests.support.objects import forward
from tests.support.tokens import DEV, LOGIN, LOGIN_ISSUER, break_signature, public_pem, sign

from meshpass.translate import FeatureGates

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

GOOD = sign(DEV)
SOLO = sign({**DEV, "org": "solo.io"})
ORG = [{"claim": "org", "header": "x-company"}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EnvoyMesh]:
    async with run_envoy_mesh() as running:
        yield running


def company_table() -> dict[str, Any]:
    canary = {**forward("canary", **LABEL), "matchers": [{"headers": [{"name": "x-company", "value": "solo.io"}]}]}
    return table(canary, forward(**LABEL))


@pytest.mark.parametrize("phase", ["preAuthz", "postAuthz"])
@pytest.mark.parametrize(("clear", "routed"), [("AUTO", "canary"), ("TRUE", "canary"), ("FALSE", "httpbin")])
async def test_claim_based_routing(mesh: EnvoyMesh, clear: str, routed: str, phase: str) -> None:
    """A claim in a header chooses the route, unless the policy says that the route stays."""
    config = {"clearRouteCache": clear, "phase": {phase: {}}, "providers": {"dev": provider(claimsToHeaders=ORG)}}
    async with mesh.having(company_table(), policy(**config)):
        answer = await mesh.request(HOST, headers=bearer(SOLO))
        assert (answer.upstream, answer.seen("x-company")) == (routed, ["solo.io"])
        assert (await mesh.request(HOST, headers=bearer(GOOD))).upstream == "httpbin"
        assert (await mesh.request(HOST, headers=bearer(GOOD, x_company="solo.io"))).seen("x-company") == ["internal"]
        for headers in ({}, {"x-company": "solo.io"}):
            answer = await mesh.request(HOST, headers=headers)
            assert (answer.status, answer.text) == (401, MISSING)


async def test_a_route_that_asks_for_the_claim_header_alone_is_404(mesh: EnvoyMesh) -> None:
    """The first match decides what is verified: without a route to match, nothing is."""
    only = {**forward("canary", **LABEL), "matchers": [{"headers": [{"name": "x-company", "value": "solo.io"}]}]}
    async with mesh.having(table(only), policy(providers={"dev": provider(claimsToHeaders=ORG)})):
        assert (await mesh.request(HOST, headers=bearer(SOLO))).status == 404


async def test_the_recipe_against_spoofing(mesh: EnvoyMesh) -> None:
    """The first route refuses whoever brings the header; the policy leaves the route as it is after writing it."""
    refuse = {
        "name": "refuse",
        "matchers": [{"headers": [{"name": "X-Email"}]}],
        "directResponse": {"status": 400, "body": "x-email is not yours"},
    }
    email = [{"claim": "email", "header": "X-Email"}]
    for clear, expected in (("FALSE", 200), ("TRUE", 400)):
        config = {"clearRouteCache": clear, "providers": {"dev": provider(claimsToHeaders=email)}}
        async with mesh.having(table(refuse, forward(**LABEL)), policy(**config)):
            answer = await mesh.request(HOST, headers=bearer(GOOD))
            assert answer.status == expected
            if expected == 200:
                assert answer.seen("x-email") == ["dev1@solo.io"]
            spoofed = await mesh.request(HOST, headers=bearer(GOOD, x_email="evil"))
            assert (spoofed.status, spoofed.text) == (400, "x-email is not yours")


async def test_routing_by_what_verification_takes_away(mesh: EnvoyMesh) -> None:
    """A route that matches on the token's own header is left when the token is taken out and the route chosen again."""
    with_token = {**forward("canary", **LABEL), "matchers": [{"headers": [{"name": "X-Auth"}]}]}
    for clear, routed in (("TRUE", "httpbin"), ("AUTO", "canary")):
        async with mesh.having(table(with_token, forward(**LABEL)), policy(clearRouteCache=clear)):
            assert (await mesh.request(HOST, headers=bearer(GOOD))).upstream == routed


async def test_routing_cannot_leave_a_policy(mesh: EnvoyMesh) -> None:
    """A claim that leads to the route of another policy is judged by that policy's rules no more, nor less, than the first."""
    canary = {
        **forward("canary", route="other"),
        "matchers": [{"headers": [{"name": "x-company", "value": "solo.io"}]}],
    }
    objects = [
        table(canary, forward(**LABEL)),
        policy(providers={"dev": provider(claimsToHeaders=ORG)}, claims=[{"key": "group", "values": ["engineering"]}]),
        policy("other", labels={"route": "other"}, providers={"login": provider(LOGIN_ISSUER)}),
    ]
    async with mesh.having(*objects):
        assert (await mesh.request(HOST, headers=bearer(SOLO))).upstream == "canary"
        stranger = sign({**DEV, "org": "solo.io", "group": "none"})
        answer = await mesh.request(HOST, headers=bearer(stranger))
        assert (answer.status, answer.text) == (403, DENIED)


# Preflights


@pytest.mark.parametrize("phase", ["preAuthz", "postAuthz"])
async def test_a_preflight_passes_and_nothing_else(mesh: EnvoyMesh, phase: str) -> None:
    """OPTIONS with Origin and the method that is asked for needs no token; any other OPTIONS does."""
    origin = {"Origin": "https://app.example.com"}
    method = {"Access-Control-Request-Method": "GET"}
    async with mesh.having(*protect(phase={phase: {}}, claims=[{"key": "org", "values": ["internal"]}])):
        # The application has no answer to OPTIONS of its own: what matters is that it was asked.
        assert (await mesh.request(HOST, headers=origin | method, method="OPTIONS")).upstream == "httpbin"
        for headers in ({}, origin, method):
            answer = await mesh.request(HOST, headers=headers, method="OPTIONS")
            assert (answer.status, answer.text) == (401, MISSING)
        answer = await mesh.request(HOST, headers=origin | method)
        assert (answer.status, answer.text) == (401, MISSING)


async def test_every_method_is_protected(mesh: EnvoyMesh) -> None:
    """Nothing is open for being rare."""
    async with mesh.having(*protect()):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
            answer = await mesh.request(HOST, "/anything", method=method, headers={"Connection": "close"})
            assert answer.status == 401, method


@pytest.mark.parametrize(
    "path",
    ["//get", "/./get", "/a/../get", "/get/", "/get?", "/get#x", "/%67et", "/get;x", "/", "/GET", "/get%00", "*"],
)
async def test_no_spelling_of_a_path_is_open(mesh: EnvoyMesh, path: str) -> None:
    """Every path of the host is refused without a token, however it is written."""
    async with mesh.having(*protect()):
        answer = await mesh.request(HOST, path)
        assert answer.status in {400, 401, 404}
        assert answer.upstream is None


async def test_no_spelling_of_a_host_is_open(mesh: EnvoyMesh) -> None:
    """Case, a port and a trailing dot make no other host of it: refused, or unknown."""
    async with mesh.having(*protect()):
        for host in (HOST.upper(), f"{HOST}:80", f"{HOST}.", f"{HOST}:8000", f"x.{HOST}"):
            answer = await mesh.request(host)
            assert answer.upstream is None, host
            assert answer.status in {401, 404, 502}, host


# Phases and changes


async def test_both_phases_answer_alike(mesh: EnvoyMesh) -> None:
    """The phase changes an order, not a verdict."""
    rules = {"claims": [{"key": "org", "values": ["internal"]}], "providers": {"dev": provider(claimsToHeaders=ORG)}}
    answers = []
    for phase in ({"preAuthz": {}}, {"postAuthz": {}}, {"preAuthz": {"priority": -3}}, {"postAuthz": {"priority": 7}}):
        async with mesh.having(*protect(phase=phase, **rules)):
            found = []
            for headers in ({}, bearer(GOOD), bearer(break_signature(GOOD)), bearer(SOLO)):
                answer = await mesh.request(HOST, headers=headers)
                found.append((answer.status, answer.seen("x-company") if answer.upstream else answer.text))
            answers.append(found)
    assert answers[0] == [(401, MISSING), (200, ["internal"]), (401, FAILS), (403, DENIED)]
    assert all(found == answers[0] for found in answers)


async def test_a_live_policy_changes_in_every_way(mesh: EnvoyMesh) -> None:
    """Phase, keys, issuer, claims, lax and back: each verdict is that of the policy as it is, on kept connections."""
    other = sign(DEV, key="other")
    steps: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [401, 200, 401, 401]),
        ({"phase": {"postAuthz": {}}}, [401, 200, 401, 401]),
        ({"phase": {"postAuthz": {}}, "providers": {"dev": provider(jwks=public_pem("other"))}}, [401, 401, 200, 401]),
        ({"providers": {"dev": provider(jwks=public_pem("other"))}}, [401, 401, 200, 401]),
        ({"providers": {"dev": provider(jwks=public_pem("main") + public_pem("other"))}}, [401, 200, 200, 401]),
        ({"providers": {"dev": provider(LOGIN_ISSUER)}}, [401, 401, 401, 200]),
        (
            {"providers": {"dev": provider("")}, "claims": [{"key": "org", "values": ["external"]}]},
            [401, 403, 401, 200],
        ),
        ({"validationPolicy": "ALLOW_MISSING"}, [200, 200, 401, 401]),
        ({"validationPolicy": "ALLOW_MISSING_OR_FAILED"}, [200, 200, 200, 200]),
        ({"phase": {"postAuthz": {}}, "validationPolicy": "ALLOW_MISSING_OR_FAILED"}, [200, 200, 200, 200]),
        ({"providers": {}}, [403, 403, 403, 403]),
        ({}, [401, 200, 401, 401]),
    ]
    async with mesh.having(table(), policy()):
        await mesh.request(HOST)
        opened = mesh.client.connections
        for config, expected in steps * 2:
            await mesh.apply(policy(**config))
            tokens = (None, GOOD, other, sign(LOGIN))
            answers = [await mesh.request(HOST, headers=bearer(token) if token else {}) for token in tokens]
            assert [answer.status for answer in answers] == expected, config
        assert mesh.client.connections == opened


async def test_a_policy_comes_and_goes(mesh: EnvoyMesh) -> None:
    """Attached by a label, detached by another, deleted: the route follows at once."""
    async with mesh.having(table(forward(**LABEL))):
        assert (await mesh.request(HOST)).status == 200
        await mesh.apply(policy())
        assert (await mesh.request(HOST)).status == 401
        await mesh.apply(table(forward(route="elsewhere")))
        assert (await mesh.request(HOST)).status == 200
        await mesh.apply(policy(labels={"route": "elsewhere"}))
        assert (await mesh.request(HOST)).status == 401
        await mesh.delete(policy())
        assert (await mesh.request(HOST)).status == 200


async def test_the_gate_of_east_west_routes(mesh: EnvoyMesh) -> None:
    """Off, policies on routes hold at gateways only, and say so in their status."""
    table_, policy_ = protect()
    async with mesh.having(table_, policy_, gates=FeatureGates(EnableJWTPolicyEastWestRoute=False)):
        assert (await mesh.request(HOST)).status == 200
        state = mesh.status(policy_)["common"]["State"]
        assert state["approval"] == "WARNING"
        assert "EnableJWTPolicyEastWestRoute" in state["message"]


async def test_deny_by_default_covers_paths_without_a_route(mesh: EnvoyMesh) -> None:
    """A host whose table asks for authentication answers 403 where it would answer 404; other hosts do not."""
    gates = FeatureGates(GatewayDefaultDenyAllHTTPRequests=True)
    label = {"gateway.gloo.solo.io/require_auth": "true"}
    only_get = {**forward(**label, **LABEL), "matchers": [{"uri": {"exact": "/get"}}]}
    plain = {**forward(), "matchers": [{"uri": {"exact": "/get"}}]}
    guarded = table(only_get)
    guarded["metadata"]["labels"] = label
    async with mesh.having(guarded, table(plain, host="open.example.com", name="open"), gates=gates):
        for path in ("/get", "/anything"):
            answer = await mesh.request(HOST, path)
            assert (answer.status, answer.text) == (403, DENIED)
        assert (await mesh.request("open.example.com")).status == 200
        assert (await mesh.request("open.example.com", "/anything")).status == 404
        await mesh.apply(policy())
        assert (await mesh.request(HOST)).status == 401
        assert (await mesh.request(HOST, headers=bearer(GOOD))).status == 200
        await mesh.apply(policy(providers={}))
        assert (await mesh.request(HOST, headers=bearer(GOOD))).status == 403
        await mesh.delete(policy())
        assert (await mesh.request(HOST, headers=bearer(GOOD))).status == 403


async def test_an_invalid_policy_denies_and_says_so(mesh: EnvoyMesh) -> None:
    """Whatever is wrong with it; a younger sound policy does not take its place."""
    for config in (
        {"providers": {}},
        {"providers": {"dev": {"issuer": "x"}}},
        {"providers": {"dev": provider(jwks="no key")}},
        {"providers": {"dev": provider(), "bad": provider(jwks="no key")}},
        {"claims": [{"key": "a", "values": ["x*y"]}]},
        {"requiredScopes": ["two words"]},
    ):
        wrong = policy("wrong", created="2024-01-01T00:00:00Z", **config)
        sound = policy("sound", created="2024-02-01T00:00:00Z")
        async with mesh.having(table(), wrong, sound):
            answer = await mesh.request(HOST, headers=bearer(GOOD))
            assert (answer.status, answer.text) == (403, DENIED)
            assert mesh.status(wrong)["common"]["State"]["approval"] == "INVALID"
            assert mesh.status(sound)["common"]["State"]["approval"] == "FAILED"


@pytest.mark.parametrize("query", ["", "?a=1", "?a=1&auth_token=abc"])
async def test_the_realm_has_no_query(mesh: EnvoyMesh, query: str) -> None:
    """Nor does a header of the client change it."""
    async with mesh.having(*protect_with(tokenSource={"queryParams": ["auth_token"]})):
        answer = await mesh.request(HOST, f"/get{query}", headers={"x-envoy-original-path": "/evil"})
        error = ', error="invalid_token"' if "abc" in query else ""
        assert answer.header("www-authenticate") == f'Bearer realm="http://{HOST}/get"{error}'
