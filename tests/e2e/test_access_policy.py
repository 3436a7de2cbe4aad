"""AccessPolicies between real Envoys: who may call a workload, with what, and what of it is refused."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.access_objects import access_policy, allow, by_account, by_token
from tests.support.envoy_mesh import CALLER, CLIENT, GUARDED, EnvoyMesh, run_envoy_mesh
from tests.support.http_client import Answer
from tests.support.jwt_objects import DENIED, MISSING, bearer, provider
from tests.support.load import Load, Timeline
from tests.support.mesh_issuer import MeshIssuer, account
from tests.support.objects import jwt_policy, key_of, read_objects
from tests.support.peer_client import call_as
from tests.support.tokens import DEV, DEV_ISSUER, LOGIN, LOGIN_ISSUER, sign

from meshpass.translate.sidecar import OUTBOUND_PORT

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


async def test_a_mode_that_is_asked_for_holds(mesh: EnvoyMesh) -> None:
    """STRICT refuses who shows nothing; with DISABLE nobody shows who they are, and callers know."""
    async with mesh.having(access_policy(mode="STRICT")):
        await cut_off(mesh)
        assert await ask(mesh) == ALLOWED
    for mode in ("DISABLE", ""):
        async with mesh.having(access_policy(mode=mode)):
            assert await ask(mesh) == verdict(await mesh.request_inbound()) == ALLOWED
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await call_as(mesh, account("client"))
    assert (await call_as(mesh, account("client")))[0] == 200


ISOLATED = {"options": {"serviceIsolation": {"enabled": True}}}
EXPORTING = ISOLATED | {"exportTo": [{"workspaces": [{"name": "elsewhere"}]}]}
IMPORTING = {"importFrom": [{"workspaces": [{"name": "mesh"}]}]}
STRANGER = account("stranger", "elsewhere")


def settings(namespace: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "admin.gloo.solo.io/v2",
        "kind": "WorkspaceSettings",
        "metadata": {"name": "settings", "namespace": namespace},
        "spec": spec,
    }


async def test_an_isolated_workspace_lets_in_its_own_and_those_who_import(mesh: EnvoyMesh) -> None:
    """Others are refused, and so is who shows nothing."""
    assert (await call_as(mesh, STRANGER))[0] == 200
    for owner, user, may in (
        (ISOLATED, {}, False),
        (ISOLATED, IMPORTING, False),
        (EXPORTING, {}, False),
        (EXPORTING, IMPORTING, True),
    ):
        async with mesh.having(settings("httpbin", **owner), settings("elsewhere", **user)):
            await cut_off(mesh)
            assert (await ask(mesh), await ask(mesh, node=CALLER)) == (ALLOWED, ALLOWED)
            status, body = await call_as(mesh, STRANGER)
            assert (status, body) == (403, DENIED) if not may else status == 200


async def test_a_policy_takes_the_place_of_isolation_but_for_its_tls(mesh: EnvoyMesh) -> None:
    """It lets in whom isolation does not, and refuses whom isolation lets in."""
    isolated = settings("httpbin", **EXPORTING)
    async with mesh.having(isolated, settings("elsewhere", **IMPORTING), access_policy(allow(by_account("client")))):
        await cut_off(mesh)
        assert (await ask(mesh), await ask(mesh, node=CALLER)) == (ALLOWED, REFUSED)
        assert (await call_as(mesh, STRANGER))[0] == 403
    async with mesh.having(isolated, access_policy(allow(), mode="DISABLE")):
        await cut_off(mesh)
        assert (await call_as(mesh, STRANGER))[0] == 200


async def test_service_accounts_of_others_are_selected_where_they_import(mesh: EnvoyMesh) -> None:
    """Else a name of theirs means nobody."""
    policy = access_policy(allow(by_account("stranger")))
    async with mesh.having(policy):
        assert (await call_as(mesh, STRANGER))[0] == 403
        exporting = settings("httpbin", exportTo=EXPORTING["exportTo"])
        async with mesh.having(exporting, settings("elsewhere", **IMPORTING)):
            assert (await call_as(mesh, STRANGER))[0] == 200


async def cut_off(mesh: EnvoyMesh) -> None:
    """Returns once who shows nothing is cut off: workers follow soon after the acknowledgement."""
    async with asyncio.timeout(5):
        while True:
            mesh.client.close()
            try:
                await mesh.request_inbound()
            except ConnectionError:
                return


@pytest.mark.timeout(120)
async def test_edits_under_load_answer_nothing_wrong(mesh: EnvoyMesh) -> None:
    """Every answer is that of a state that may have answered it, and no connection fails: rules, tokens, modes, all at once."""
    by_client, by_caller = allow(by_account("client")), allow(by_account("caller"))
    by_dev = allow(by_token(f"{DEV_ISSUER}/*"), by_account("caller"))
    states: tuple[tuple[list[dict[str, Any]], dict[str, tuple[int, ...]]], ...] = (
        ([], {"client": (200, 200), "caller": (200, 200)}),
        ([access_policy(by_client)], {"client": (200, 200), "caller": (403, 403)}),
        ([access_policy(by_client, by_caller)], {"client": (200, 200), "caller": (200, 200)}),
        ([access_policy(by_caller, mode="STRICT")], {"client": (403, 403), "caller": (200, 200)}),
        ([access_policy(by_dev), tokens()], {"client": (401, 200), "caller": (401, 200)}),
        ([access_policy(by_client), tokens(requiredScopes=["nothing"])], {"client": (401, 403), "caller": (401, 403)}),
        (
            [access_policy(by_dev), tokens(validationPolicy="ALLOW_MISSING")],
            {"client": (403, 200), "caller": (200, 200)},
        ),
        ([access_policy({})], {"client": (403, 403), "caller": (403, 403)}),
        ([access_policy(by_client, mode="STRICT")], {"client": (200, 200), "caller": (403, 403)}),
        ([tokens()], {"client": (401, 200), "caller": (401, 200)}),
    )
    plain = b"GET http://guarded:8000/get HTTP/1.1\r\nHost: guarded:8000\r\n\r\n"
    requests = [plain, plain[:-2] + f"X-Auth: Bearer {DEV_TOKEN}\r\n\r\n".encode()]
    timeline = Timeline()
    order = [0]
    chosen = random.Random(7)
    async with (
        Load((mesh.address(CLIENT), OUTBOUND_PORT), timeline, requests, clients=3, seed=1) as one,
        Load((mesh.address(CALLER), OUTBOUND_PORT), timeline, requests, clients=3, seed=2) as other,
    ):
        held: list[dict[str, Any]] = []
        for _ in range(40):
            order.append(chosen.randrange(len(states)))
            wanted = states[order[-1]][0]
            timeline.begin()
            mesh.objects = mesh.objects.with_changes(read_objects(*wanted), map(key_of, held))
            await mesh.publish()
            timeline.acknowledge()
            await one.settle()
            await other.settle()
            held = wanted
    await mesh.delete(*held)
    for name, load in (("client", one), ("caller", other)):
        assert len(load.exchanges) > 400
        assert load.closed == 0
        for exchange in load.exchanges:
            meant = {
                states[order[state]][1][name][exchange.request] for state in range(exchange.first, exchange.last + 1)
            }
            assert exchange.status in meant
