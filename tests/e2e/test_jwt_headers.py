"""What the application gets to see: tokens taken out or kept, claims written to headers, and nothing from a client."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.envoy_mesh import EnvoyMesh, run_envoy_mesh
from tests.support.http_client import Answer
from tests.support.jwt_objects import (
    FAILS,
    HOST,
    MISSING,
    UNKNOWN_ISSUER,
    bearer,
    policy,
    protect,
    protect_with,
    provider,
    table,
)
from tests.support.objects import forward, route_table
from tests.support.tokens import DEV, LOGIN, LOGIN_ISSUER, NESTED, break_signature, sign

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

GOOD, OTHER = sign(DEV), sign(LOGIN)
BAD = break_signature(GOOD)
NO_SIGNATURE = "401 Jwt signature is an invalid Base64url encoded"
LAX = {"validationPolicy": "ALLOW_MISSING_OR_FAILED"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EnvoyMesh]:
    async with run_envoy_mesh() as running:
        yield running


def outcome(answer: Answer) -> str:
    return "" if answer.status == 200 and answer.upstream else f"{answer.status} {answer.text}"


def write(claim: str, header: str, *, append: bool = False) -> dict[str, Any]:
    return {"claim": claim, "header": header, "append": append}


# Where tokens are looked for, and what becomes of them


@pytest.mark.parametrize(
    ("source", "headers", "query", "expected"),
    [
        ({}, {"Authorization": f"Bearer {GOOD}"}, {}, ""),
        ({}, {}, {"access_token": GOOD}, ""),
        ({}, {"Authorization": f"bearer {GOOD}"}, {}, f"401 {MISSING}"),
        ({}, {"Authorization": f"Basic {GOOD}"}, {}, f"401 {MISSING}"),
        ({}, {"Authorization": f"Bearer {GOOD}"}, {"access_token": BAD}, f"401 {FAILS}"),
        ({}, {"Authorization": f"Bearer {BAD}"}, {"access_token": GOOD}, f"401 {FAILS}"),
        ({}, {"X-Auth": f"Bearer {GOOD}"}, {"auth_token": GOOD}, f"401 {MISSING}"),
        ({"headers": [{"name": "jwt"}]}, {"JWT": GOOD}, {}, ""),
        ({"headers": [{"name": "jwt"}]}, {"jwt": f"Bearer {GOOD}"}, {}, "401 Jwt header is an invalid JSON"),
        ({"headers": [{"name": "jwt"}]}, {}, {"access_token": GOOD}, f"401 {MISSING}"),
        ({"headers": [{"name": "jwt"}]}, {"Authorization": f"Bearer {GOOD}"}, {}, f"401 {MISSING}"),
        ({"queryParams": ["t"]}, {}, {"t": GOOD}, ""),
        ({"queryParams": ["t"]}, {}, {"T": GOOD}, f"401 {MISSING}"),
        ({"queryParams": ["t"]}, {"Authorization": f"Bearer {GOOD}"}, {}, f"401 {MISSING}"),
        ({"queryParams": ["t", "u"]}, {}, {"t": GOOD, "u": GOOD}, ""),
        ({"queryParams": ["t", "u"]}, {}, {"t": GOOD, "u": BAD}, f"401 {FAILS}"),
        ({"headers": [{"name": "a"}, {"name": "b"}]}, {"a": GOOD, "b": GOOD}, {}, ""),
        ({"headers": [{"name": "a"}, {"name": "b"}]}, {"a": GOOD, "b": BAD}, {}, f"401 {FAILS}"),
        ({"headers": [{"name": "a"}, {"name": "b"}]}, {"a": BAD, "b": GOOD}, {}, f"401 {FAILS}"),
        ({"headers": [{"name": "a"}, {"name": "b", "prefix": "T "}]}, {"a": GOOD, "b": "nothing"}, {}, ""),
        # The prefix is found anywhere; all that follows it is the token.
        ({"headers": [{"name": "a", "prefix": "token="}]}, {"a": f"v=1; token={GOOD}"}, {}, ""),
        ({"headers": [{"name": "a", "prefix": "token="}]}, {"a": f"token={GOOD}; x=2"}, {}, NO_SIGNATURE),
        ({"headers": [{"name": "a", "prefix": "token="}]}, {"a": f'token="{GOOD}"'}, {}, NO_SIGNATURE),
        ({"headers": [{"name": "a", "prefix": "Token="}]}, {"a": f"token={GOOD}"}, {}, f"401 {MISSING}"),
        ({"headers": [{"name": "Cookie", "prefix": "session="}]}, {"Cookie": f"a=b; session={GOOD}"}, {}, ""),
        ({"headers": [{"name": "a", "prefix": "p"}]}, {"a": f"p{GOOD}"}, {}, ""),
    ],
)
async def test_places_of_tokens(
    mesh: EnvoyMesh, source: dict[str, Any], headers: dict[str, str], query: dict[str, str], expected: str
) -> None:
    """Tokens are looked for where the policy says, or where the standard does; each that is found has to verify."""
    async with mesh.having(*protect_with(tokenSource=source)):
        answer = await mesh.request(HOST, headers=headers, query=query)
        assert outcome(answer) == expected
        if answer.upstream:
            assert GOOD not in answer.text


@pytest.mark.parametrize("keep", [False, True])
async def test_a_verified_token_is_taken_out_unless_it_is_to_be_kept(mesh: EnvoyMesh, keep: bool) -> None:
    """Of headers and of the query, whose other parameters stay as they are."""
    more = {"a": "1", "z": "2"}
    async with mesh.having(*protect_with(keepToken=keep)):
        answer = await mesh.request(HOST, headers=bearer(GOOD, x_other="stays"))
        assert answer.seen("x-auth") == ([f"Bearer {GOOD}"] if keep else [])
        assert answer.seen("x-other") == ["stays"]
        for query in (
            {"auth_token": GOOD, **more},
            {**more, "auth_token": GOOD},
            {"a": "1", "auth_token": GOOD, "z": more["z"]},
        ):
            answer = await mesh.request(HOST, query=query)
            assert answer.args == {name: [value] for name, value in more.items()} | (
                {"auth_token": [GOOD]} if keep else {}
            )
        answer = await mesh.request(HOST, headers=bearer(GOOD), query={"auth_token": GOOD})
        assert (GOOD in answer.text) is keep


@pytest.mark.parametrize("value", ["x y", "x&b=1", "x%41y", "ä", "x\r\nx-injected: yes", "#"])
async def test_the_rest_of_the_query_stays_as_it_is(mesh: EnvoyMesh, value: str) -> None:
    """Taking the token out leaves the other parameters to the byte."""
    async with mesh.having(*protect_with()):
        answer = await mesh.request(HOST, query={"auth_token": GOOD, "a": value})
        assert (answer.status, answer.args) == (200, {"a": [value]})


async def test_the_same_parameter_twice(mesh: EnvoyMesh) -> None:
    """Nothing that was not verified gets through under the name of a token."""
    async with mesh.having(*protect_with()):
        for first, second in ((GOOD, BAD), (BAD, GOOD), (GOOD, "x")):
            answer = await mesh.request(HOST, f"/get?auth_token={first}&auth_token={second}")
            if answer.upstream:
                assert answer.args == {}
            else:
                assert answer.status == 401


async def test_the_same_header_twice(mesh: EnvoyMesh) -> None:
    """Two lines of one header are one value; what is let through holds no token."""
    async with mesh.having(*protect_with()):
        for first, second in ((GOOD, BAD), (BAD, GOOD)):
            lines = [("X-Auth", f"Bearer {first}"), ("X-Auth", f"Bearer {second}")]
            answer = await mesh.request(HOST, headers=lines)
            if answer.upstream:
                assert answer.seen("x-auth") == []
            else:
                assert answer.status == 401


# Lax policies


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("bad", [BAD, "garbage", "gar.ba.ge", OTHER, sign(DEV, key="third"), sign({**DEV, "exp": 1})])
async def test_a_failed_token_that_may_pass_is_not_sent_on(mesh: EnvoyMesh, keep: bool, bad: str) -> None:
    """From header and query alike, whatever keepToken says of good ones; nor are claims written."""
    claims = [write("org", "x-org"), write("email", "x-email", append=True)]
    async with mesh.having(*protect(providers={"dev": provider(keepToken=keep, claimsToHeaders=claims)}, **LAX)):
        for headers, query in (
            (bearer(bad), {}),
            ({}, {"auth_token": bad}),
            (bearer(bad), {"auth_token": bad}),
        ):
            answer = await mesh.request(HOST, headers={**headers, "x-org": "evil"}, query={**query, "a": "1"})
            assert outcome(answer) == ""
            assert bad not in answer.text
            assert answer.seen("x-auth") == []
            assert answer.args == {"a": ["1"]}
            assert (answer.seen("x-org"), answer.seen("x-email")) == ([], [])


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("bad", [BAD, "garbage", OTHER, sign({**DEV, "exp": 1})])
async def test_a_failed_token_beside_a_good_one_is_not_sent_on(mesh: EnvoyMesh, keep: bool, bad: str) -> None:
    """Wherever the good one is; claims in headers are those of the good one, or none."""
    claims = [write("org", "x-org")]
    for names in (("dev",), ("dev", "other")):
        providers = {
            name: provider(DEV["iss"] if name == "dev" else "https://x", keepToken=keep, claimsToHeaders=claims)
            for name in names
        }
        async with mesh.having(*protect(providers=providers, **LAX)):
            for headers, query in ((bearer(bad), {"auth_token": GOOD}), (bearer(GOOD), {"auth_token": bad})):
                answer = await mesh.request(HOST, headers={**headers, "x-org": "evil"}, query={**query, "a": "1"})
                assert outcome(answer) == ""
                assert bad not in answer.text
                assert answer.args["a"] == ["1"]
                assert answer.seen("x-org") in ([], ["internal"])


async def test_of_several_providers_one_may_accept_what_others_refuse(mesh: EnvoyMesh) -> None:
    """A token that one provider accepts is no failed token, kept or not as that provider says."""
    for keep in (False, True):
        providers = {
            "a-dev": provider(keepToken=keep, claimsToHeaders=[write("org", "x-org")]),
            "b-login": provider(LOGIN_ISSUER, keepToken=keep, claimsToHeaders=[write("org", "x-org")]),
        }
        async with mesh.having(*protect(providers=providers, **LAX)):
            for token, org in ((GOOD, "internal"), (OTHER, "external")):
                answer = await mesh.request(HOST, headers=bearer(token))
                assert answer.seen("x-org") == [org]
                assert answer.seen("x-auth") == ([f"Bearer {token}"] if keep else [])
                answer = await mesh.request(HOST, query={"auth_token": token})
                assert answer.args == ({"auth_token": [token]} if keep else {})
            for token in (BAD, sign({**DEV, "iss": "nobody"}), break_signature(OTHER)):
                answer = await mesh.request(HOST, headers=bearer(token), query={"auth_token": token})
                assert (answer.seen("x-org"), answer.seen("x-auth"), answer.args) == ([], [], {})


@pytest.mark.parametrize("lax", [{}, {"validationPolicy": "ALLOW_MISSING"}, LAX])
async def test_without_a_token_nothing_is_written(mesh: EnvoyMesh, lax: dict[str, Any]) -> None:
    """A client's copy of a claim header does not pass for a claim, with whatever validation policy."""
    config = {"claimsToHeaders": [write("org", "x-org")], "outputPayloadToHeader": "x-payload"}
    async with mesh.having(*protect(providers={"dev": provider(**config)}, **lax)):
        answer = await mesh.request(HOST, headers={"x-org": "evil", "x-payload": "evil", "x-else": "mine"})
        if not lax:
            assert outcome(answer) == f"401 {MISSING}"
            return
        assert (answer.seen("x-org"), answer.seen("x-payload"), answer.seen("x-else")) == ([], [], ["mine"])


# Claims to headers


RENDERED = (
    ("text", "text"),
    ("", None),
    (5, "5"),
    (0, "0"),
    (-1.5, "-1.5"),
    (123456, "123456"),
    (True, "true"),
    (False, "false"),
    ("007", "007"),
    ("with space, comma", "with space, comma"),
    ("%REQ(x-auth)%", "%REQ(x-auth)%"),
    ("ünïcode", "ünïcode"),
)
LISTS = (["a", "b"], [1, True, "x"], {"k": ["v", {"n": 1}]})
PLAIN_NAMES = ("c", "solo.io/company", "a_b-c")
OTHER_NAMES = ("https://example.com/c:d", "c'd\"e)f]g%h", "ä b")


async def rendered(mesh: EnvoyMesh, claim: str, value: Any) -> list[str]:
    async with mesh.having(*protect_with(claimsToHeaders=[write(claim, "x-c")])):
        answer = await mesh.request(HOST, headers=bearer(sign({**DEV, claim: value}), x_c="evil"))
        assert outcome(answer) == ""
        return [line.encode("latin-1").decode() for line in answer.seen("x-c")]


@pytest.mark.parametrize(("value", "expected"), RENDERED)
@pytest.mark.parametrize("claim", PLAIN_NAMES + OTHER_NAMES)
async def test_a_claim_is_rendered(mesh: EnvoyMesh, claim: str, value: Any, expected: str | None) -> None:
    """Text as it is, numbers and booleans as text, whatever the claim's name."""
    assert await rendered(mesh, claim, value) == ([] if expected is None else [expected])


@pytest.mark.parametrize("value", LISTS)
@pytest.mark.parametrize("claim", PLAIN_NAMES)
async def test_a_list_is_rendered_as_json(mesh: EnvoyMesh, claim: str, value: Any) -> None:
    """And so is an object."""
    assert [json.loads(line) for line in await rendered(mesh, claim, value)] == [value]


@pytest.mark.xfail(strict=True, reason="an expression's list has no text: CelList value")
@pytest.mark.parametrize("value", LISTS)
@pytest.mark.parametrize("claim", OTHER_NAMES)
async def test_a_list_under_an_odd_name_is_rendered_as_json(mesh: EnvoyMesh, claim: str, value: Any) -> None:
    """And so is an object."""
    assert [json.loads(line) for line in await rendered(mesh, claim, value)] == [value]


@pytest.mark.parametrize("claim", PLAIN_NAMES + OTHER_NAMES)
async def test_a_large_number_is_rendered_in_digits(mesh: EnvoyMesh, claim: str) -> None:
    """A whole number is written in digits, as it stands in the token."""
    assert await rendered(mesh, claim, 1700000000) == ["1700000000"]


async def test_absent_claims_are_left_out(mesh: EnvoyMesh) -> None:
    """And the client's copy of the header with them; null is as good as absent; nested claims are no top-level claims."""
    headers = [write("none", "x-none"), write("null", "x-null"), write("resource_access.account", "x-nested")]
    async with mesh.having(*protect_with(claimsToHeaders=headers)):
        evil = {"x-none": "evil", "x-null": "evil", "x-nested": "evil"}
        answer = await mesh.request(HOST, headers={**bearer(sign({**NESTED, "null": None})), **evil})
        assert [answer.seen(name) for name in ("x-none", "x-nested")] == [[], []]
        assert answer.seen("x-null") in ([], ["null"])


@pytest.mark.parametrize(
    ("delimiter", "client", "claim", "expected"),
    [
        ("", [], "c", ["c"]),
        ("", ["one"], "c", ["one", "c"]),
        ("", ["one", "two"], "c", ["one", "two", "c"]),
        ("", ["one"], None, ["one"]),
        ("", [], None, []),
        (";", [], "c", ["c"]),
        (";", ["one"], "c", ["one;c"]),
        (";", ["one"], None, ["one"]),
        (";", ["one"], ["x", "y"], ['one;["x","y"]']),
        (" | ", ["one"], "c", ["one | c"]),
        ("%", ["one"], "c", ["one%c"]),
        ("%REQ(x-auth)%", ["one"], "c", ["one%REQ(x-auth)%c"]),
        ("::", [""], "c", ["c"]),
    ],
)
async def test_append(mesh: EnvoyMesh, delimiter: str, client: list[str], claim: Any, expected: list[str]) -> None:
    """The claim follows what the client sent, joined by the delimiter; a comma is as good as a line of its own."""
    config: dict[str, Any] = {"claimsToHeaders": [write("c", "x-c", append=True)]}
    if delimiter:
        config["customDelimiter"] = delimiter
    async with mesh.having(*protect_with(**config)):
        token = sign(DEV if claim is None else {**DEV, "c": claim})
        answer = await mesh.request(HOST, headers=[*bearer(token).items(), *(("X-C", value) for value in client)])
        seen = answer.seen("x-c")
        if not delimiter:
            seen = [part.strip() for line in seen for part in line.split(",")]
        assert seen == expected
        assert not [name for name in answer.json["headers"] if name.startswith("X-Meshpass")]


async def test_append_with_a_delimiter_to_two_lines(mesh: EnvoyMesh) -> None:
    """Nothing of the client's two lines is lost, and the claim comes last."""
    async with mesh.having(*protect_with(claimsToHeaders=[write("c", "x-c", append=True)], customDelimiter=";")):
        headers = [*bearer(sign({**DEV, "c": "claim"})).items(), ("X-C", "one"), ("X-C", "two")]
        seen = (await mesh.request(HOST, headers=headers)).seen("x-c")
        assert ",".join(seen).replace(", ", ",") == "one,two;claim"


async def test_one_policy_appends_and_another_overwrites_the_same_header(mesh: EnvoyMesh) -> None:
    """Each on its own route of one Envoy; on a route of neither the header is nobody's but the application's."""
    hosts = {"append": True, "overwrite": False}
    objects = [table(forward(), host="neither.example.com", name="neither")]
    for name, append in hosts.items():
        objects += [
            table(forward(route=name), host=f"{name}.example.com", name=name),
            policy(
                name,
                labels={"route": name},
                providers={"dev": provider(claimsToHeaders=[write("org", "x-org", append=append)])},
                validationPolicy="ALLOW_MISSING",
            ),
        ]
    async with mesh.having(*objects):
        spoof = {"x-org": "evil"}
        answer = await mesh.request("append.example.com", headers={**bearer(GOOD), **spoof})
        assert ",".join(answer.seen("x-org")).replace(", ", ",") == "evil,internal"
        answer = await mesh.request("overwrite.example.com", headers={**bearer(GOOD), **spoof})
        assert answer.seen("x-org") == ["internal"]
        for host in ("overwrite", "neither"):
            assert (await mesh.request(f"{host}.example.com", headers=spoof)).seen("x-org") == []
        for host in ("append", "overwrite"):
            answer = await mesh.request(f"{host}.example.com", headers=bearer(GOOD))
            assert answer.seen("x-org") == ["internal"]
            assert not [name for name in answer.json["headers"] if name.startswith("X-Meshpass")]
        own = {"x-meshpass-saved-x-org": "evil", "x-meshpass-claim": "evil", "x-meshpass-joined": "evil"}
        answer = await mesh.request("append.example.com", headers={**bearer(GOOD), **own})
        assert answer.seen("x-org") == ["internal"]


async def test_a_claim_header_is_stripped_on_every_route(mesh: EnvoyMesh) -> None:
    """A header that one route's policy writes cannot be sent by a client on another, nor to a Service's own name."""
    objects = [
        *protect_with(
            claimsToHeaders=[write("org", "x-org"), write("email", "x-email")], outputPayloadToHeader="x-all"
        ),
        route_table("open", hosts=["open.example.com"], http=[forward()]),
    ]
    async with mesh.having(*objects):
        spoof = {"x-org": "evil", "X-EMAIL": "evil", "x-all": "evil", "x-mine": "mine"}
        for host in ("open.example.com", "httpbin.httpbin:8000"):
            answer = await mesh.request(host, headers=spoof)
            assert [answer.seen(name) for name in ("x-org", "x-email", "x-all", "x-mine")] == [[], [], [], ["mine"]]
        answer = await mesh.request(HOST, headers={**bearer(GOOD), **spoof})
        assert [answer.seen(name) for name in ("x-org", "x-email", "x-mine")] == [
            ["internal"],
            ["dev1@solo.io"],
            ["mine"],
        ]


async def test_the_whole_payload_in_a_header(mesh: EnvoyMesh) -> None:
    """As base64url without padding, in place of whatever the client sent."""
    async with mesh.having(*protect_with(outputPayloadToHeader="X-Payload")):
        answer = await mesh.request(HOST, headers=bearer(GOOD, x_payload="evil"))
        (value,) = answer.seen("x-payload")
        assert value == GOOD.split(".")[1]
        assert json.loads(base64.urlsafe_b64decode(value + "==")) == dict(DEV)


async def test_the_providers_of_the_guide(mesh: EnvoyMesh) -> None:
    """Two providers with headers of their own: each writes its own claims, and only the second the scope."""
    common = [write("org", "x-org"), write("email", "x-email")]
    providers = {
        "dev-provider": provider(claimsToHeaders=common),
        "login-provider": provider(LOGIN_ISSUER, claimsToHeaders=[*common, write("scope", "x-scope")]),
    }
    async with mesh.having(*protect(providers=providers)):
        assert outcome(await mesh.request(HOST)) == f"401 {MISSING}"
        for token, expected in (
            (GOOD, [["internal"], ["dev1@solo.io"], []]),
            (OTHER, [["external"], ["user2@example.com"], ["is:reader"]]),
        ):
            answer = await mesh.request(HOST, headers=bearer(token))
            assert [answer.seen(name) for name in ("x-org", "x-email", "x-scope")] == expected
        nobody = await mesh.request(HOST, headers=bearer(sign({**DEV, "iss": "https://dev-example.com"})))
        assert outcome(nobody) == f"401 {UNKNOWN_ISSUER}"


async def test_several_policies_each_on_its_route(mesh: EnvoyMesh) -> None:
    """Each route takes the tokens of its own policy's issuer, and no other."""
    objects = []
    for name, issuer in (("dev", DEV["iss"]), ("login", LOGIN_ISSUER)):
        objects += [
            table(forward(route=name), host=f"{name}.example.com", name=name),
            policy(name, labels={"route": name}, providers={name: provider(issuer)}),
        ]
    async with mesh.having(*objects):
        for host, good, wrong in (("dev", GOOD, OTHER), ("login", OTHER, GOOD)):
            assert outcome(await mesh.request(f"{host}.example.com", headers=bearer(good))) == ""
            answer = await mesh.request(f"{host}.example.com", headers=bearer(wrong))
            assert outcome(answer) == f"401 {UNKNOWN_ISSUER}"


@pytest.mark.parametrize("phases", [("preAuthz", "postAuthz"), ("postAuthz", "preAuthz"), ("preAuthz", "preAuthz")])
async def test_a_header_of_two_policies_in_two_phases(mesh: EnvoyMesh, phases: tuple[str, str]) -> None:
    """One writes the payload to it and the other a claim: neither takes the other's away, and no client writes it."""
    configs = {"payload": {"outputPayloadToHeader": "x-same"}, "claim": {"claimsToHeaders": [write("org", "x-same")]}}
    for first, second in (("payload", "claim"), ("payload", "payload"), ("claim", "claim")):
        objects = []
        for name, kind, phase in (("one", first, phases[0]), ("two", second, phases[1])):
            objects += [
                table(forward(route=name), host=f"{name}.example.com", name=name),
                policy(name, labels={"route": name}, phase={phase: {}}, providers={"dev": provider(**configs[kind])}),
            ]
        expected = {"payload": GOOD.split(".")[1], "claim": "internal"}
        async with mesh.having(*objects, route_table("open", hosts=["open.example.com"], http=[forward()])):
            for host, kind in (("one", first), ("two", second)):
                answer = await mesh.request(f"{host}.example.com", headers=bearer(GOOD, x_same="evil"))
                assert answer.seen("x-same") == [expected[kind]]
                assert not [name for name in answer.json["headers"] if name.startswith("X-Meshpass")]
            spoof = {"x-same": "evil", "x-meshpass-payload-x-same": "evil"}
            answer = await mesh.request("open.example.com", headers=spoof)
            assert answer.seen("x-same") == []


async def test_equal_policies_in_two_phases_append_once(mesh: EnvoyMesh) -> None:
    """What one phase has written the other does not write again."""
    objects = []
    for name, phase in (("one", "preAuthz"), ("two", "postAuthz")):
        config = {
            "phase": {phase: {}},
            "providers": {"dev": provider(claimsToHeaders=[write("org", "x-org", append=True)])},
        }
        objects += [
            table(forward(route=name), host=f"{name}.example.com", name=name),
            policy(name, labels={"route": name}, **config),
        ]
    async with mesh.having(*objects):
        for host in ("one", "two"):
            answer = await mesh.request(f"{host}.example.com", headers=bearer(GOOD))
            assert answer.seen("x-org") == ["internal"]
