"""AccessPolicies between real Envoys: who may call a workload, with what, and what of it is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.access_objects import access_policy, allow, by_account, by_token
from tests.support.envoy_mesh import CALLER, CLIENT, GUARDED, EnvoyMesh, run_envoy_mesh
from tests.support.http_client import Answer
from tests.support.jwt_objects import DENIED, MISSING, bearer, provider
from tests.support.mesh_issuer import MeshIssuer
from tests.support.objects import jwt_policy
from tests.support.tokens import DEV, DEV_ISSUER, LOGIN, LOGIN_ISSUER, sign

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

SERVER = "guarded:8000"
ALLOWED, REFUSED = (200, "guarded"), (403, None)
DEV_TOKEN = sign({**DEV, "sub": "dev/1"})
LOGIN_TOKEN = sign({**LOGIN, "sub": "user2"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EnvoyMesh]:
    async with run_envoy_mesh(CLIENT, CALLER, GUARDED, issuer=MeshIssuer()) as running:
        yield running


def verdict(answer: Answer) -> tuple[int, str | None]:
    """Status, and the application that answered; of a refusal also its words have to be right."""
    if answer.status == 403:
        assert answer.text == DENIED
    return answer.status, answer.upstream


async def ask(mesh: EnvoyMesh, path: str = "/get", **request: Any) -> tuple[int, str | None]:
    return verdict(await mesh.request(SERVER, path, **request))


def tokens(**config: Any) -> dict[str, Any]:
    """Tokens of both issuers are verified before anybody asks who may call."""
    providers = {"dev": provider(), "login": provider(LOGIN_ISSUER)}
    destinations = [{"selector": {"name": "guarded"}}]
    return jwt_policy("tokens", applyToDestinations=destinations, config={"providers": providers} | config)


async def test_only_a_service_account_that_is_allowed_may_call(mesh: EnvoyMesh) -> None:
    """Another sidecar is refused, and so is who comes without a certificate."""
    async with mesh.having(access_policy(allow(by_account("client")))):
        assert await ask(mesh) == ALLOWED
        assert await ask(mesh, node=CALLER) == REFUSED
        assert verdict(await mesh.request_inbound()) == REFUSED
    assert await ask(mesh, node=CALLER) == ALLOWED


@pytest.mark.parametrize(
    ("selector", "client", "caller"),
    [
        ({}, True, True),
        ({"namespace": "httpbin"}, True, True),
        ({"namespace": "team"}, False, False),
        ({"name": "caller"}, False, True),
        ({"name": "caller", "namespace": "httpbin", "cluster": "cluster1"}, False, True),
        ({"name": "nobody"}, False, False),
        ({"labels": {"team": "blue"}}, True, False),
        ({"labels": {"team": "red"}}, False, False),
        ({"workspace": "mesh"}, True, True),
        ({"workspace": "elsewhere"}, False, False),
    ],
)
async def test_service_accounts_are_selected(
    mesh: EnvoyMesh, selector: dict[str, Any], client: bool, caller: bool
) -> None:
    """By name, namespace, cluster, workspace and labels, all of which have to fit."""
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "client", "namespace": "httpbin", "labels": {"team": "blue"}},
    }
    async with mesh.having(account, access_policy(allow({"serviceAccountSelector": selector}))):
        for node, may in ((CLIENT, client), (CALLER, caller)):
            assert await ask(mesh, node=node) == (ALLOWED if may else REFUSED)


async def test_an_entry_that_says_nothing_allows_nobody(mesh: EnvoyMesh) -> None:
    """Beside another entry it takes nothing away; a single empty client is everybody."""
    async with mesh.having(access_policy({})):
        assert await ask(mesh) == REFUSED
    async with mesh.having(access_policy({}, allow(by_account("client")))):
        assert (await ask(mesh), await ask(mesh, node=CALLER)) == (ALLOWED, REFUSED)
    async with mesh.having(access_policy(allow({}))):
        assert (await ask(mesh, node=CALLER), verdict(await mesh.request_inbound())) == (ALLOWED, ALLOWED)


async def test_a_policy_that_says_nothing_of_who_may_call_refuses_nobody(mesh: EnvoyMesh) -> None:
    """It may be there for its mode of TLS alone."""
    async with mesh.having(access_policy(mode="PERMISSIVE")):
        assert await ask(mesh, node=CALLER) == ALLOWED


@pytest.mark.parametrize(
    ("allowed", "path", "may"),
    [
        (["/get"], "/get", True),
        (["/get"], "/get?x=/other", True),
        (["/get"], "/GET", False),
        (["/get"], "/get/more", False),
        (["/get"], "/anything/../get", True),
        (["/get"], "//get", True),
        (["/anything*"], "/anything/one", True),
        (["/anything*"], "/get", False),
        (["/anything/*"], "/anything/%2e%2e/get", False),
        (["/anything/*"], "/anything/..%2fget", False),
        (["*/one"], "/anything/one", True),
        (["*/one"], "/anything/one?x=y", True),
        (["*/one"], "/get?x=/one", False),
        (["*"], "/get", True),
        (["/get", "/anything*"], "/anything/x", True),
    ],
)
async def test_paths_are_compared_in_their_one_form(mesh: EnvoyMesh, allowed: list[str], path: str, may: bool) -> None:
    """Without the query, as a whole, by how they begin or how they end."""
    async with mesh.having(access_policy(allow(allowedPaths=allowed))):
        status, _ = await ask(mesh, path)
        assert (status != 403) is may


@pytest.mark.parametrize(
    ("method", "headers", "may"),
    [
        ("GET", {}, True),
        ("PUT", {}, False),
        ("POST", {"content-type": "application/grpc"}, False),
        ("get", {}, False),
    ],
)
async def test_methods_are_compared_as_they_are(
    mesh: EnvoyMesh, method: str, headers: dict[str, str], may: bool
) -> None:
    """What a client calls gRPC is none on a port that does not speak it."""
    async with mesh.having(access_policy(allow(allowedMethods=["GET", "HEAD"]))):
        answer = await mesh.request(SERVER, "/anything", method=method, headers=headers)
        assert (answer.upstream == "guarded") is may


@pytest.mark.parametrize(
    ("condition", "headers", "may"),
    [
        ({"values": ["blue"]}, [("x-team", "blue")], True),
        ({"values": ["blue"]}, [("x-team", "blueish")], False),
        ({"values": ["blue"]}, [], False),
        ({"values": ["blue"]}, [("x-team", "red"), ("x-team", "blue")], True),
        ({"values": ["blue"]}, [("x-team", "blue, red")], False),
        ({"values": ["blue*"]}, [("x-team", "blueish")], True),
        ({"values": ["*ish"]}, [("x-team", "blueish")], True),
        ({"values": ["b*u*h"]}, [("x-team", "blueish")], True),
        ({"values": ["b*u*h"]}, [("x-team", "blue")], False),
        ({"values": ["*"]}, [("x-team", "x")], True),
        ({"values": ["*"]}, [], False),
        ({"notValues": ["red"]}, [], True),
        ({"notValues": ["red"]}, [("x-team", "blue")], True),
        ({"notValues": ["red"]}, [("x-team", "red")], False),
        ({"notValues": ["red"]}, [("x-team", "blue"), ("x-team", "red")], False),
        ({"notValues": ["red"]}, [("x-team", "blue,  red , green")], False),
        ({"notValues": ["red"]}, [("x-team", "reddish")], True),
        ({"notValues": ["r*d"]}, [("x-team", "blue, red")], False),
        ({"notValues": ["*"]}, [("x-team", "blue")], False),
        ({"values": ["b*"], "notValues": ["*x"]}, [("x-team", "bx")], False),
        ({"values": ["b*"], "notValues": ["*x"]}, [("x-team", "by")], True),
    ],
)
async def test_headers_are_compared(
    mesh: EnvoyMesh, condition: dict[str, Any], headers: list[tuple[str, str]], may: bool
) -> None:
    """In one of several lines, each as a whole; a value that is refused also in a list (RFC 9110 §5.3)."""
    match = {"request": {"headers": {"X-Team": condition}}}
    async with mesh.having(access_policy(allow(match=match))):
        assert await ask(mesh, headers=headers) == (ALLOWED if may else REFUSED)


async def test_long_patterns_are_taken(mesh: EnvoyMesh) -> None:
    """The longest there are, with as many gaps as fit, are no expression that is too large for Envoy."""
    pattern = "*".join("é" * 128)
    values = {"values": [pattern], "notValues": [pattern + "x"]}
    async with mesh.having(access_policy(allow(match={"request": {"headers": {"x-team": values}}}))):
        assert await ask(mesh) == REFUSED


async def test_the_host_that_is_asked_for_is_a_header(mesh: EnvoyMesh) -> None:
    """Under the name by which HTTP/1.1 knows it."""
    match = {"request": {"headers": {"host": {"values": [SERVER]}}}}
    async with mesh.having(access_policy(allow(match=match))):
        assert await ask(mesh) == ALLOWED
        assert verdict(await mesh.request_inbound()) == REFUSED


async def test_addresses_of_the_connection(mesh: EnvoyMesh) -> None:
    """Of the peer, whatever x-forwarded-for says."""
    address = mesh.address(CLIENT)
    for block in (address, f"{address}/32", f"{address.rpartition('.')[0]}.0/30"):
        async with mesh.having(access_policy(allow(allowedIpBlocks=[block]))):
            assert await ask(mesh) == ALLOWED
            assert verdict(await mesh.request_inbound(headers={"x-forwarded-for": address})) == REFUSED


async def test_addresses_of_the_first_client(mesh: EnvoyMesh) -> None:
    """The last that x-forwarded-for says; without it that of the connection."""
    async with mesh.having(access_policy(allow(allowedRemoteIpBlocks=["192.0.2.0/24", mesh.address(CALLER)]))):
        assert await ask(mesh, headers={"x-forwarded-for": "198.51.100.1, 192.0.2.7"}) == ALLOWED
        assert await ask(mesh, headers={"x-forwarded-for": "192.0.2.7, 198.51.100.1"}) == REFUSED
        assert await ask(mesh) == REFUSED
        assert await ask(mesh, node=CALLER) == ALLOWED


@pytest.mark.parametrize(
    ("client", "verdicts"),
    [
        (by_token(f"{DEV_ISSUER}/dev/1"), (True, False)),
        (by_token(f"{DEV_ISSUER}/dev"), (False, False)),
        (by_token(f"{DEV_ISSUER}/*"), (True, False)),
        (by_token("https://*"), (True, True)),
        (by_token("*/dev/1"), (True, False)),
        (by_token("*/1"), (True, False)),
        (by_token("*r2"), (False, True)),
        (by_token("*"), (True, True)),
        (by_token("*.com/user2"), (False, True)),
        (by_token(but=(f"{DEV_ISSUER}/*",)), (False, True)),
        (by_token("*", but=("*/user2",)), (True, False)),
    ],
)
async def test_identities_of_tokens(mesh: EnvoyMesh, client: dict[str, Any], verdicts: tuple[bool, bool]) -> None:
    """Issuer and subject of a token that was verified before, with wildcards at one end."""
    async with mesh.having(tokens(), access_policy(allow(client))):
        for token, may in zip((DEV_TOKEN, LOGIN_TOKEN), verdicts, strict=True):
            assert await ask(mesh, headers=bearer(token)) == (ALLOWED if may else REFUSED)
        answer = await mesh.request(SERVER)
        assert (answer.status, answer.text) == (401, MISSING)


async def test_who_shows_no_token_is_nobody(mesh: EnvoyMesh) -> None:
    """Where tokens may be missing: nobody of those that are asked for, and none of those that are refused either."""
    async with mesh.having(tokens(validationPolicy="ALLOW_MISSING"), access_policy(allow(by_token("*")))):
        assert (await ask(mesh), await ask(mesh, headers=bearer(DEV_TOKEN))) == (REFUSED, ALLOWED)
    async with mesh.having(tokens(validationPolicy="ALLOW_MISSING"), access_policy(allow(by_token(but=("*/user2",))))):
        assert (await ask(mesh), await ask(mesh, headers=bearer(LOGIN_TOKEN))) == (ALLOWED, REFUSED)


@pytest.mark.parametrize("client", [by_token("*"), by_token(but=("*/nobody",))])
async def test_identities_that_nobody_verifies_before_are_nobodys(mesh: EnvoyMesh, client: dict[str, Any]) -> None:
    """Without a policy about tokens, and with one that comes later; the status says so."""
    policy = access_policy(allow(client))
    for others in ((), (tokens(phase={"postAuthz": {}}),)):
        async with mesh.having(policy, *others):
            assert await ask(mesh, headers=bearer(DEV_TOKEN)) == REFUSED
            assert "no JWTPolicy verifies tokens in phase preAuthz" in mesh.status(policy)["common"]["State"]["message"]


async def test_account_and_token_of_one_client_are_asked_for_together(mesh: EnvoyMesh) -> None:
    """And tokens are asked for before anything else: 401 comes before 403."""
    client = by_account("client") | by_token(f"{DEV_ISSUER}/*")
    async with mesh.having(tokens(), access_policy(allow(client))):
        assert await ask(mesh, headers=bearer(DEV_TOKEN)) == ALLOWED
        assert await ask(mesh, headers=bearer(DEV_TOKEN), node=CALLER) == REFUSED
        assert await ask(mesh, headers=bearer(LOGIN_TOKEN)) == REFUSED
        assert (await mesh.request(SERVER, node=CALLER)).status == 401


async def test_any_rule_of_any_policy_allows(mesh: EnvoyMesh) -> None:
    """Rules of several policies add up, within an entry all parts have to hold."""
    one = access_policy(
        allow(by_account("client"), allowedPaths=["/get"]), allow(by_account("caller"), allowedMethods=["PUT"])
    )
    other = access_policy(allow(allowedPaths=["/status/*"]), name="other")
    async with mesh.having(one, other):
        assert (await ask(mesh), await ask(mesh, node=CALLER)) == (ALLOWED, REFUSED)
        assert await ask(mesh, "/anything") == REFUSED
        assert await ask(mesh, "/anything", method="PUT", node=CALLER) == ALLOWED
        assert (await mesh.request(SERVER, "/status/204", node=CALLER)).status == 204


async def test_a_policy_that_cannot_be_built_closes_its_ports(mesh: EnvoyMesh) -> None:
    """Whatever others allow there; what it does not select stays as it is."""
    sound = access_policy(allow(), name="sound")
    broken = access_policy(allow(allowedIpBlocks=["10.0.0.0/33"]))
    async with mesh.having(sound, broken):
        assert await ask(mesh) == REFUSED
        assert (await mesh.request("httpbin:8000")).status == 200
        assert mesh.status(broken)["common"]["State"]["approval"] == "INVALID"
        assert "closed by another policy" in mesh.status(sound)["common"]["State"]["message"]
    assert await ask(mesh) == ALLOWED


async def test_what_is_only_tried_refuses_nothing_and_is_counted(mesh: EnvoyMesh) -> None:
    """As if the entries with dryRun were all there is."""
    prefix = "http.inbound-8080.rbac.trial."
    before = [await mesh.counted(GUARDED, prefix + name) for name in ("shadow_allowed", "shadow_denied")]
    async with mesh.having(access_policy(allow(by_account("client"), dryRun=True))):
        assert (await ask(mesh), await ask(mesh, node=CALLER)) == (ALLOWED, ALLOWED)
    async with mesh.having(access_policy(allow(), allow(by_account("client"), dryRun=True))):
        assert (await ask(mesh), await ask(mesh, node=CALLER)) == (ALLOWED, ALLOWED)
    after = [await mesh.counted(GUARDED, prefix + name) for name in ("shadow_allowed", "shadow_denied")]
    assert [new - old for new, old in zip(after, before, strict=True)] == [2, 2]
