"""Claims and scopes in a real Envoy: what a policy asks of them, and what a token says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.envoy_mesh import EnvoyMesh, run_envoy_mesh
from tests.support.jwt_objects import DENIED, FAILS, HOST, MISSING, bearer, policy, protect, provider, table
from tests.support.objects import forward
from tests.support.tokens import DEV, LOGIN, LOGIN_ISSUER, break_signature, sign, sign_payload

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

DEEP = {"a": {"b": {"c": ["x", "y"], "n": 5, "t": True, "s": "text"}}, "a.b": "flat"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EnvoyMesh]:
    async with run_envoy_mesh() as running:
        yield running


async def verdict(mesh: EnvoyMesh, claims: dict[str, Any]) -> bool:
    """True if a token with these claims, besides the usual ones, passes; a refusal is 403 in Envoy's words."""
    answer = await mesh.request(HOST, headers=bearer(sign({"iss": DEV["iss"], "exp": DEV["exp"], **claims})))
    if answer.status == 200:
        return answer.upstream == "httpbin"
    assert (answer.status, answer.text, answer.header("content-type")) == (403, DENIED, "text/plain")
    assert answer.header("www-authenticate") is None
    return False


def claim(key: str, *values: str, none_of: tuple[str, ...] = (), nested: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"key": key}
    if values:
        found["values"] = list(values)
    if none_of:
        found["notValues"] = list(none_of)
    return found | ({"nestedClaimDelimiter": nested} if nested else {})


@pytest.mark.parametrize(
    ("rules", "passing", "failing"),
    [
        pytest.param(
            [claim("c", "one", "two")],
            [{"c": "one"}, {"c": "two"}, {"c": ["zero", "two"]}],
            [
                {},
                {"c": "three"},
                {"c": "ONE"},
                {"c": "one "},
                {"c": []},
                {"c": ["three"]},
                {"c": {"one": 1}},
                {"c": None},
            ],
            id="values",
        ),
        pytest.param(
            [claim("c", "one*")],
            [{"c": "one"}, {"c": "one-and-a-half"}, {"c": ["two", "one!"]}],
            [{"c": "two one"}, {"c": ""}, {}, {"c": 1}],
            id="prefix",
        ),
        pytest.param(
            [claim("c", "*@solo.io")],
            [{"c": "a@solo.io"}, {"c": "@solo.io"}, {"c": ["x", "b@solo.io"]}],
            [{"c": "a@solo.io.evil"}, {"c": "a@soloxio"}, {}],
            id="suffix",
        ),
        pytest.param(
            [claim("c", "*")],
            [{"c": "x"}, {"c": ""}, {"c": 0}, {"c": False}, {"c": ["x"]}, {"c": {"a": 1}}],
            [{}, {"d": "x"}],
            id="present",
        ),
        pytest.param(
            [claim("c", none_of=("*",))],
            [{}, {"d": 1}],
            [{"c": "x"}, {"c": 1}, {"c": False}, {"c": ["x"]}],
            id="absent",
        ),
        pytest.param(
            [claim("c", none_of=("one", "two*"))],
            [{}, {"c": "three"}, {"c": ["three"]}, {"c": 5}, {"c": []}],
            [{"c": "one"}, {"c": "two!"}, {"c": ["three", "one"]}],
            id="not values",
        ),
        pytest.param(
            [claim("c", "a*", none_of=("ab*",))],
            [{"c": "a"}, {"c": "ac"}],
            [{"c": "abc"}, {"c": ["ac", "abc"]}, {"c": "b"}, {}],
            id="values and not values",
        ),
        pytest.param(
            [claim("c", "5", "1.5", "-2")],
            [{"c": 5}, {"c": 1.5}, {"c": -2}, {"c": "5"}, {"c": [4, 5]}, {"c": ["5"]}, {"c": 5.0}],
            [{"c": 6}, {"c": 1.25}, {"c": 2}, {"c": "5.0"}, {"c": True}, {"c": [6]}],
            id="numbers",
        ),
        pytest.param(
            [claim("c", "true")],
            [{"c": True}, {"c": "true"}, {"c": [False, True]}],
            [{"c": False}, {"c": 1}, {"c": "True"}, {"c": "false"}, {}],
            id="booleans",
        ),
        pytest.param(
            [claim("c", "one"), claim("d", none_of=("two",))],
            [{"c": "one"}, {"c": "one", "d": "one"}],
            [{"c": "one", "d": "two"}, {"d": "one"}, {"c": "two", "d": "one"}],
            id="all entries",
        ),
        pytest.param(
            [claim("a.b.c", "x", nested=".")],
            [DEEP, {"a": {"b": {"c": "x"}}}],
            [{"a.b.c": "x"}, {"a": {"b": "x"}}, {"a": "x"}, {"a": {"b": {"c": {"x": 1}}}}, {"a": [{"b": {"c": "x"}}]}],
            id="nested",
        ),
        pytest.param([claim("a/b/n", "5", nested="/")], [DEEP], [{"a": {"b": {"n": 6}}}], id="nested number"),
        pytest.param([claim("a::b::t", "true", nested="::")], [DEEP], [{}], id="long delimiter"),
        pytest.param([claim("a.b.s", "*ext", nested=".")], [DEEP], [{"a": {"b": {"s": "texts"}}}], id="nested suffix"),
        pytest.param([claim("a.b", "flat")], [DEEP], [{"a": {"b": "flat"}}], id="dots without delimiter"),
        pytest.param(
            [claim("solo.io/company", "solo")],
            [{"solo.io/company": "solo"}],
            [{"solo": {"io/company": "solo"}}],
            id="url",
        ),
        pytest.param(
            [claim("https://example.com/roles", "r")], [{"https://example.com/roles": ["q", "r"]}], [{}], id="url list"
        ),
        pytest.param(
            [claim("c", "ä", 'quote"', "sp ace", "perc%nt")],
            [{"c": "ä"}, {"c": 'quote"'}, {"c": "sp ace"}, {"c": "perc%nt"}],
            [{"c": "a"}, {"c": "sp"}, {"c": ""}],
            id="odd text",
        ),
        pytest.param(
            [claim("scope", "read", "write")],
            [{"scope": "read"}, {"scope": "a write"}, {"scope": ["read"]}, {"scope": "write read"}],
            [{"scope": "reader"}, {"scope": "pread"}, {"scope": "a"}, {}],
            id="any scope",
        ),
        pytest.param(
            [claim("scope", none_of=("admin",))],
            [{"scope": "read"}, {}, {"scope": "administrator"}],
            [{"scope": "admin"}, {"scope": "read admin"}, {"scope": ["read", "admin"]}],
            id="no such scope",
        ),
        pytest.param(
            [claim("scope", "read:*")],
            [{"scope": "a read:b c"}, {"scope": "read:"}, {"scope": ["read:x"]}],
            [{"scope": "aread:b"}, {"scope": "write:x"}],
            id="scope prefix",
        ),
        pytest.param([claim("iss", "https://*")], [{}], [], id="registered claim"),
    ],
)
async def test_claims(
    mesh: EnvoyMesh, rules: list[dict[str, Any]], passing: list[dict[str, Any]], failing: list[dict[str, Any]]
) -> None:
    """Tokens that keep the rules pass, others are 403."""
    async with mesh.having(*protect(claims=rules)):
        assert [one for one in passing if not await verdict(mesh, one)] == []
        assert [one for one in failing if await verdict(mesh, one)] == []


@pytest.mark.parametrize(
    ("scopes", "scope", "expected"),
    [
        (["read"], "read", True),
        (["read"], "write read exec", True),
        (["read", "write"], "write a read", True),
        (["read", "write"], ["read", "write"], True),
        (["read", "write"], "read", False),
        (["read", "write"], ["read"], False),
        (["read"], "reading", False),
        (["read"], "thread", False),
        (["read"], "", False),
        (["read"], None, False),
        (["read"], 5, False),
        (["is:developer"], "is:developer", True),
        (["https://example.com/auth.read"], "a https://example.com/auth.read", True),
        (["https://example.com/auth.read"], "https://example.com/authXread", False),
        (["a+b(c)"], "a+b(c)", True),
        (["rea*"], "read", False),
    ],
)
async def test_required_scopes(mesh: EnvoyMesh, scopes: list[str], scope: Any, expected: bool) -> None:
    """Each has to be a word of the scope claim, or an element of it."""
    async with mesh.having(*protect(requiredScopes=scopes)):
        assert await verdict(mesh, {} if scope is None else {"scope": scope}) is expected


@pytest.mark.parametrize(
    ("lax", "without", "broken"),
    [
        ({}, (401, MISSING), (401, FAILS)),
        ({"validationPolicy": "ALLOW_MISSING"}, (200, None), (401, FAILS)),
        ({"validationPolicy": "ALLOW_MISSING_OR_FAILED"}, (200, None), (200, None)),
        ({"allowMissingOrFailed": True}, (200, None), (200, None)),
        ({"allowMissingOrFailed": True, "validationPolicy": "REQUIRE_VALID"}, (200, None), (200, None)),
        ({"allowMissingOrFailed": True, "validationPolicy": "ALLOW_MISSING"}, (200, None), (401, FAILS)),
    ],
)
@pytest.mark.parametrize(
    "rules",
    [
        {"claims": [claim("org", "internal")]},
        {"requiredScopes": ["is:developer"]},
        {"claims": [claim("x", none_of=("y",)), claim("org", "internal")]},
    ],
)
async def test_lax_policies_check_what_is_there(
    mesh: EnvoyMesh, lax: dict[str, Any], rules: dict[str, Any], without: Any, broken: Any
) -> None:
    """Rules count for a verified payload only; a token that is good and breaks a rule is 403 whatever is allowed."""
    async with mesh.having(*protect(**lax, **rules)):
        good, wrong = sign(DEV), sign({**DEV, "org": "external", "scope": "is:reader"})
        assert (await mesh.request(HOST, headers=bearer(good))).upstream == "httpbin"
        answer = await mesh.request(HOST, headers=bearer(wrong))
        assert (answer.status, answer.text) == (403, DENIED)
        for headers, expected in (({}, without), (bearer(break_signature(good)), broken)):
            answer = await mesh.request(HOST, headers=headers)
            assert (answer.status, None if answer.upstream else answer.text) == expected


async def test_an_empty_payload_does_not_pass_rules(mesh: EnvoyMesh) -> None:
    """A verified payload without any claims is still one that the rules are about."""
    tokens = [sign_payload(payload, key="main", protected={"alg": "RS256"}) for payload in (b"{}", b"null")]
    for lax in ({}, {"validationPolicy": "ALLOW_MISSING"}, {"validationPolicy": "ALLOW_MISSING_OR_FAILED"}):
        async with mesh.having(*protect(providers={"dev": provider(issuer="")}, claims=[claim("c", "x")], **lax)):
            for token in tokens:
                answer = await mesh.request(HOST, headers=bearer(token))
                assert (answer.status, answer.text) == (403, DENIED)


async def test_rules_are_for_every_provider(mesh: EnvoyMesh) -> None:
    """Whichever provider accepted the token, and whatever it does with claims."""
    providers = {
        "dev": provider(),
        "login": provider(LOGIN_ISSUER, claimsToHeaders=[{"claim": "org", "header": "x-org"}]),
    }
    async with mesh.having(*protect(providers=providers, claims=[claim("org", "internal")])):
        assert (await mesh.request(HOST, headers=bearer(sign(DEV)))).status == 200
        assert (await mesh.request(HOST, headers=bearer(sign(LOGIN)))).status == 403
        internal = await mesh.request(HOST, headers=bearer(sign({**LOGIN, "org": "internal"})))
        assert internal.seen("x-org") == ["internal"]


async def test_rules_of_two_policies_do_not_mix(mesh: EnvoyMesh) -> None:
    """A token that satisfies one policy does nothing for the route of the other, in one Envoy."""
    objects = []
    for name in ("one", "two"):
        objects += [
            table(forward(route=name), host=f"{name}.example.com", name=name),
            policy(name, labels={"route": name}, claims=[claim("team", name)]),
        ]
    async with mesh.having(*objects):
        for host in ("one", "two"):
            for team in ("one", "two"):
                answer = await mesh.request(f"{host}.example.com", headers=bearer(sign({**DEV, "team": team})))
                assert (answer.status == 200) is (host == team)
