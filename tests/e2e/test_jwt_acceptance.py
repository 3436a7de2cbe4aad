"""The acceptance cases of the API's behaviour, one after the other in one Envoy, each with a host of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.support.envoy_mesh import EnvoyMesh, run_envoy_mesh
from tests.support.http_client import Answer
from tests.support.objects import forward, jwt_policy, route_table
from tests.support.tokens import (
    DEV,
    DEV_ISSUER,
    LOGIN,
    LOGIN_ISSUER,
    NESTED,
    break_signature,
    forge,
    public_pem,
    sign,
)

from meshpass.translate import FeatureGates

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

PUBLISHED = Path(__file__).parents[3] / "shared" / "data"
"""The guide's own tokens and key, where a checkout of them is at hand."""

TOKENS = {
    "dev": sign(DEV),
    "login": sign(LOGIN),
    "nested": sign(NESTED),
    "unknown key": sign(DEV, key="other"),
    "broken": break_signature(sign(DEV)),
    "expired and unsigned": forge({"alg": "RS256", "typ": "JWT"}, {**DEV, "exp": 1000000000}, b"signature"),
    "company": sign({**DEV, "solo.io/company": "solo"}),
}

MALFORMED = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
MISSING = "Jwt is missing"
FAILS = "Jwt verification fails"
UNKNOWN_ISSUER = "Jwt issuer is not configured"
DENIED = "RBAC: access denied"
REQUIRE_AUTH = {"gateway.gloo.solo.io/require_auth": "true"}
DENY_BY_DEFAULT = FeatureGates(GatewayDefaultDenyAllHTTPRequests=True)


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request, and what it is answered."""

    header: str = ""
    """The token in ``X-Auth``, by its name in TOKENS."""
    query: str = ""
    """The token in the query, by its name in TOKENS."""
    headers: Mapping[str, str] | None = None
    parameters: Mapping[str, str] | None = None
    path: str = "/get"
    host: str = ""
    """Another host than the case's."""
    matched: bool = True
    """False leaves out the header that the guide's route asks for."""
    status: int = 200
    body: str | None = None
    seen: Mapping[str, list[str]] | None = None
    """Request headers as the application saw them."""
    args: Mapping[str, list[str]] | None = None
    realm: str = ""
    """The realm of the challenge, if not the request's URL without its query."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Some objects, and the answers that follow from them."""

    number: str
    asks: tuple[Ask, ...]
    objects: tuple[dict[str, Any], ...] = ()
    gates: FeatureGates | None = None
    statuses: tuple[tuple[str, str, str], ...] = ()
    """Name of a policy, its approval, and a part of its message."""

    @property
    def host(self) -> str:
        """The case's own host."""
        return f"case-{self.number}.example.com"


def provider(issuer: str = DEV_ISSUER, **changes: Any) -> dict[str, Any]:
    """The guide's provider."""
    return {
        "issuer": issuer,
        "local": {"inline": public_pem("main")},
        "tokenSource": {"headers": [{"name": "X-Auth", "prefix": "Bearer "}], "queryParams": ["auth_token"]},
        "claimsToHeaders": [
            {"claim": "org", "header": "x-org", "append": True},
            {"claim": "email", "header": "x-email", "append": True},
        ],
        **changes,
    }


def table(number: str, **changes: Any) -> dict[str, Any]:
    """The guide's RouteTable on the case's host, labelled with the case."""
    route = {**forward(), "labels": {"case": number}, "matchers": [{"headers": [{"name": "X-httpbin-mesh"}]}]}
    spec = {"hosts": [f"case-{number}.example.com"], "workloadSelectors": [{}], "http": [route]} | changes
    return route_table(f"case-{number}", **spec)


def policy(number: str, *, name: str = "", created: str = "", select: Any = None, **config: Any) -> dict[str, Any]:
    """The guide's JWTPolicy on the case's routes, in the management cluster."""
    select = {"applyToRoutes": [{"route": {"labels": {"case": number}}}]} if select is None else select
    config = {"phase": {"preAuthz": {}}, "providers": {"dev-example": provider()}} | config
    return jwt_policy(name or f"case-{number}", cluster="mgmt", created=created, config=config, **select)


def seed(number: str, **config: Any) -> tuple[dict[str, Any], ...]:
    """The guide's two objects for a case."""
    return (table(number), policy(number, **config))


def one(**changes: Any) -> dict[str, Any]:
    """Providers: the guide's, changed."""
    return {"dev-example": provider(**changes)}


BOTH = {"dev-example": provider(), "login-example": provider(LOGIN_ISSUER)}
OK = Ask(header="dev", seen={"x-org": ["internal"], "x-email": ["dev1@solo.io"], "x-auth": []}, args={})
LONG = "/get/" + "a" * 400

CASES = (
    Case(number="01", objects=seed("01"), asks=(Ask(status=401, body=MISSING),)),
    Case(
        number="02",
        objects=seed("02"),
        asks=(Ask(query="dev", args={}, seen={"x-org": ["internal"], "x-email": ["dev1@solo.io"], "accept": ["*/*"]}),),
    ),
    Case(number="03", objects=seed("03"), asks=(OK,)),
    Case(
        number="04",
        objects=seed("04"),
        asks=(
            Ask(header="dev", query="broken", status=401, body=FAILS),
            Ask(header="broken", query="dev", status=401, body=FAILS),
            Ask(header="dev", query="dev", args={}, seen={"x-auth": []}),
        ),
    ),
    Case(
        number="05",
        objects=seed("05"),
        asks=(Ask(matched=False, status=404, body=""), Ask(matched=False, header="dev", status=404, body="")),
    ),
    Case(number="06", objects=seed("06"), asks=(Ask(header="login", status=401, body=UNKNOWN_ISSUER),)),
    Case(
        number="07",
        objects=seed("07"),
        asks=(Ask(header="broken", status=401, body=FAILS), Ask(query="unknown key", status=401, body=FAILS)),
    ),
    Case(
        number="08",
        objects=seed("08"),
        asks=(Ask(header="expired and unsigned", status=401, body="Jwt is expired"),),
    ),
    Case(
        number="09",
        objects=seed("09"),
        asks=(Ask(headers={"X-Auth": TOKENS["dev"]}, status=401, body=MISSING),),
    ),
    Case(
        number="10",
        objects=seed("10"),
        asks=(
            Ask(headers={"x-auth": f"bearer {TOKENS['dev']}"}, status=401, body=MISSING),
            Ask(headers={"x-auth": f"Bearer {TOKENS['dev']}"}),
        ),
    ),
    Case(
        number="11",
        objects=seed("11"),
        asks=(Ask(headers={"Authorization": f"Bearer {TOKENS['dev']}"}, status=401, body=MISSING),),
    ),
    Case(
        number="12",
        objects=seed("12"),
        asks=(Ask(header="dev", parameters={"auth_token": "abc"}, status=401, body=MALFORMED),),
    ),
    Case(
        number="13",
        objects=seed("13"),
        asks=(Ask(header="dev", headers={"X-Org": "evil"}, seen={"x-org": ["evil", "internal"]}),),
        statuses=(("case-13", "ACCEPTED", "ClaimHeaderSpoofable"),),
    ),
    Case(
        number="14",
        objects=seed("14", providers=one(claimsToHeaders=[{"claim": "org", "header": "x-org"}])),
        asks=(Ask(header="dev", headers={"X-Org": "evil"}, seen={"x-org": ["internal"]}),),
        statuses=(("case-14", "ACCEPTED", ""),),
    ),
    Case(
        number="15",
        objects=seed("15", providers=one(keepToken=True)),
        asks=(
            Ask(query="dev", args={"auth_token": [TOKENS["dev"]]}),
            Ask(header="dev", seen={"x-auth": [f"Bearer {TOKENS['dev']}"]}),
        ),
    ),
    Case(
        number="16",
        objects=seed("16", providers=one(audiences=["a"])),
        asks=(Ask(header="dev", status=403, body="Audiences in Jwt are not allowed"),),
    ),
    Case(
        number="17",
        objects=seed("17", providers=BOTH, claims=[{"key": "email", "values": ["*@solo.io"]}]),
        asks=(OK, Ask(header="login", status=403, body=DENIED)),
    ),
    Case(
        number="18",
        objects=seed("18", providers=BOTH, requiredScopes=["is:developer"]),
        asks=(OK, Ask(header="login", status=403, body=DENIED)),
    ),
    Case(
        number="19",
        objects=seed(
            "19",
            claims=[{"key": "resource_access.account.groups", "nestedClaimDelimiter": ".", "values": ["qa"]}],
        ),
        asks=(Ask(header="nested"), Ask(header="dev", status=403, body=DENIED)),
    ),
    Case(
        number="20",
        objects=seed("20", validationPolicy="ALLOW_MISSING"),
        asks=(Ask(seen={"x-org": []}), Ask(header="broken", status=401, body=FAILS), OK),
    ),
    Case(
        number="21",
        objects=seed("21", validationPolicy="ALLOW_MISSING_OR_FAILED"),
        asks=(Ask(seen={"x-org": []}), Ask(header="broken", seen={"x-org": [], "x-auth": []}), OK),
    ),
    Case(
        number="22",
        objects=(
            table("22"),
            policy("22", name="older", created="2024-03-01T00:00:00Z"),
            policy(
                "22", name="newer", created="2024-03-02T00:00:00Z", providers={"login-example": provider(LOGIN_ISSUER)}
            ),
        ),
        asks=(Ask(header="login", status=401, body=UNKNOWN_ISSUER), OK),
        statuses=(
            ("older", "ACCEPTED", ""),
            ("newer", "FAILED", "conflicts with existing policy applied to route. Skipping applying newer"),
        ),
    ),
    # 23 is in a test of its own below: it deletes the older policy of 22.
    Case(
        number="24",
        objects=(
            table("24"),
            jwt_policy(
                "case-24",
                namespace="elsewhere",
                applyToRoutes=[{"route": {"labels": {"case": "24"}}}],
                config={"providers": one()},
            ),
        ),
        asks=(Ask(),),
    ),
    Case(
        number="25",
        objects=(
            table("25"),
            table("25b", hosts=["case-25b.example.com"]),
            policy("25", select={}),
        ),
        asks=(
            Ask(status=401, body=MISSING),
            OK,
            Ask(host="case-25b.example.com", status=401, body=MISSING),
            Ask(host="httpbin.httpbin:8000"),
        ),
    ),
    Case(
        number="26",
        objects=(table("26"), policy("26", select={"applyToDestinations": [{"selector": {"name": "canary"}}]})),
        asks=(Ask(),),
    ),
    Case(
        number="27",
        objects=seed("27", claims=[{"key": "org"}]),
        # A policy that is wrong is not enforced as written; what it selects is denied (decision 5).
        asks=(Ask(header="dev", status=403, body=DENIED), Ask(status=403, body=DENIED)),
        statuses=(("case-27", "INVALID", "neither values nor notValues"),),
    ),
    Case(
        number="27b",
        objects=seed("27b", claims=[{"key": "org", "values": ["internal"]}, {"key": "org", "values": ["a"]}]),
        asks=(Ask(header="dev", status=403, body=DENIED),),
        statuses=(("case-27b", "INVALID", "org is there twice"),),
    ),
    Case(
        number="28",
        objects=seed("28", claims=[{"key": "solo.io/company", "values": ["solo"]}]),
        asks=(Ask(header="company"), Ask(header="dev", status=403, body=DENIED)),
    ),
    Case(
        number="29",
        objects=seed("29", providers={"dev-example": provider(local=None, remote={"url": "http://127.0.0.1:1/keys"})}),
        asks=(
            Ask(header="dev", status=401, body="Jwks remote fetch is failed"),
            Ask(query="dev", status=401, body="Jwks remote fetch is failed"),
            Ask(status=401, body=MISSING),
        ),
        statuses=(("case-29", "WARNING", "not been fetched"),),
    ),
    Case(
        number="30",
        objects=(table("30", http=[{**forward(), "labels": REQUIRE_AUTH}]),),
        gates=DENY_BY_DEFAULT,
        asks=(Ask(status=403, body=DENIED), Ask(header="dev", status=403, body=DENIED)),
    ),
    Case(
        number="31",
        objects=(table("31", http=[{**forward(), "labels": {"case": "31", **REQUIRE_AUTH}}]), policy("31")),
        gates=DENY_BY_DEFAULT,
        asks=(Ask(status=401, body=MISSING), OK),
    ),
    Case(
        number="32",
        objects=(
            table(
                "32",
                http=[
                    {**forward("nowhere"), "matchers": [{"uri": {"prefix": "/anything/bad"}}]},
                    {**forward(), "labels": {"case": "32"}},
                ],
            ),
            policy("32"),
        ),
        asks=(Ask(path="/anything/bad", status=500), OK, Ask(status=401, body=MISSING)),
    ),
    Case(
        number="33",
        objects=(
            route_table(
                "case-33", hosts=["case-33.example.com"], virtualGateways=[{"name": "north"}], http=[forward()]
            ),
        ),
        asks=(Ask(status=502, body="no route in the mesh for case-33.example.com"),),
    ),
    Case(number="34", objects=seed("34"), asks=(Ask(host="httpbin.httpbin:8000"), Ask(status=401, body=MISSING))),
    Case(
        number="35",
        objects=seed("35"),
        asks=(
            Ask(path=LONG, parameters={"page": "1"}, status=401, realm=f"http://case-35.example.com{LONG[:256]}"),
            Ask(path=LONG, query="broken", status=401, realm=f"http://case-35.example.com{LONG[:256]}"),
        ),
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EnvoyMesh]:
    async with run_envoy_mesh() as running:
        yield running


async def ask(mesh: EnvoyMesh, case: Case, what: Ask, tokens: Mapping[str, str] = TOKENS) -> Answer:
    headers = {"Accept": "*/*", **({"X-httpbin-mesh": "true"} if what.matched else {}), **(what.headers or {})}
    if what.header:
        headers["X-Auth"] = f"Bearer {tokens[what.header]}"
    query = {**(what.parameters or {}), **({"auth_token": tokens[what.query]} if what.query else {})}
    return await mesh.request(what.host or case.host, what.path, headers=headers, query=query)


def check(case: Case, what: Ask, answer: Answer) -> None:
    assert answer.status == what.status, answer
    if what.status == 200:
        assert answer.upstream is not None
    else:
        assert answer.upstream is None
        assert what.body in {None, answer.text}
    for name, values in (what.seen or {}).items():
        assert [part.strip() for line in answer.seen(name) for part in line.split(",")] == values, name
    if what.args is not None:
        assert answer.args == what.args
    challenge = answer.header("www-authenticate")
    if what.status == 401 or what.body == "Audiences in Jwt are not allowed":
        realm = what.realm or f"http://{case.host if not what.host else what.host}{what.path}"
        error = "" if answer.text == MISSING else ', error="invalid_token"'
        assert challenge == f'Bearer realm="{realm}"{error}'
        assert answer.header("content-type") == "text/plain"
    else:
        assert challenge is None
    if answer.upstream is None and what.status in {401, 403, 404}:
        assert answer.header("content-length") == str(len(answer.body))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.number) for case in CASES])
async def test_case(mesh: EnvoyMesh, case: Case) -> None:
    """Every request of the case is answered as the API says."""
    by_name = {manifest["metadata"]["name"]: manifest for manifest in case.objects}
    async with mesh.having(*case.objects, gates=case.gates):
        for what in case.asks:
            check(case, what, await ask(mesh, case, what))
        for name, approval, message in case.statuses:
            state = mesh.status(by_name[name])["common"]["State"]
            assert (state["approval"], message in state["message"]) == (approval, True), state


async def test_case_23(mesh: EnvoyMesh) -> None:
    """When the older of two policies is deleted, the newer one holds, and says so."""
    case = next(case for case in CASES if case.number == "22")
    older, newer = case.objects[1:]
    async with mesh.having(*case.objects):
        check(case, case.asks[0], await ask(mesh, case, case.asks[0]))
        await mesh.delete(older)
        assert (await ask(mesh, case, Ask(header="login"))).seen("x-org") == ["external"]
        assert (await ask(mesh, case, Ask(header="dev"))).text == UNKNOWN_ISSUER
        status = mesh.status(newer)
        assert (status["common"]["State"]["approval"], status["numSelectedRoutes"]) == ("ACCEPTED", 1)
        await mesh.apply(older)
        check(case, case.asks[0], await ask(mesh, case, case.asks[0]))


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the guide's published tokens are not at hand")
async def test_the_published_tokens_of_the_guide(mesh: EnvoyMesh) -> None:
    """The guide's own tokens verify with the guide's own key, and lead to the guide's answers."""
    tokens = {
        name: (PUBLISHED / f"{file}.jwt").read_text().strip()
        for name, file in {"dev": "dev-example", "login": "login-example", "nested": "nested"}.items()
    }
    key = {"inline": (PUBLISHED / "public-key.pem").read_text()}
    providers = {
        "dev-example": provider(local=key, keepToken=False),
        "login-example": provider(LOGIN_ISSUER, local=key),
    }
    case = Case(number="guide", asks=())
    async with mesh.having(*seed("guide", providers=one(local=key))):
        check(case, OK, await ask(mesh, case, OK, tokens))
        refused = Ask(header="login", status=401, body=UNKNOWN_ISSUER)
        check(case, refused, await ask(mesh, case, refused, tokens))
    nested = [{"key": "resource_access.account.groups", "nestedClaimDelimiter": ".", "values": ["qa"]}]
    async with mesh.having(*seed("guide", providers=providers, claims=nested)):
        check(case, OK, await ask(mesh, case, Ask(query="nested"), tokens))
        for name in ("dev", "login"):
            denied = Ask(query=name, status=403, body=DENIED)
            check(case, denied, await ask(mesh, case, denied, tokens))


async def test_there_are_35_cases() -> None:
    """No case was forgotten; 23 has a test of its own."""
    assert {int(case.number[:2]) for case in CASES} == set(range(1, 36)) - {23}
