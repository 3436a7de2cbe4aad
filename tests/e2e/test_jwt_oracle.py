"""Generated policies and requests: the real Envoy answers what the policy's text means, as an oracle reads it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from tests.support.envoy_mesh import EnvoyMesh, run_envoy_mesh
from tests.support.http_client import Answer
from tests.support.jwt_objects import policy, table
from tests.support.objects import forward, key_of
from tests.support.oracle import Asked, Key, Oracle, Outcome, Passed, Refused, SeveralTokens, Token
from tests.support.tokens import (
    DEV_ISSUER,
    LOGIN_ISSUER,
    break_signature,
    forge,
    forge_hmac,
    public_jwk,
    public_jwks,
    public_pem,
    sign,
    subject_public_key,
)

pytestmark = pytest.mark.envoy

FUZZ = bool(os.environ.get("MESHPASS_FUZZ")) or os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
EXAMPLES = int(os.environ.get("MESHPASS_FUZZ_EXAMPLES", "6000")) if FUZZ else 260
REQUESTS = 10
NOW = int(time.time())

KEYS = {
    public_pem("main"): (Key(name="main"),),
    public_pem("other"): (Key(name="other"),),
    public_pem("p256"): (Key(name="p256", kind="EC"),),
    public_jwks(public_jwk("main", kid="a"), public_jwk("other", kid="b")): (
        Key(name="main", kid="a"),
        Key(name="other", kid="b"),
    ),
    public_jwks("main", "p256", "ed25519"): (
        Key(name="main"),
        Key(name="p256", kind="EC"),
        # A key of this type is for one algorithm only, said or not.
        Key(name="ed25519", kind="OKP", alg="EdDSA"),
    ),
}
BODIES: tuple[dict[str, Any], ...] = (
    {"org": "internal", "groups": ["a", "b"], "level": 7, "admin": True, "scope": "read write"},
    {"org": "external", "groups": [], "level": 8, "admin": False, "scope": ["read"], "deep": {"org": "x"}},
    {"org": "internal-2", "scope": "readonly", "deep": {"org": ["x", "y"]}},
    {},
)
TIMES: tuple[dict[str, int], ...] = (
    {},
    {"exp": NOW + 10000},
    {"exp": NOW - 1500},
    {"nbf": NOW + 1500},
    {"exp": NOW - 5000},
)


def make_tokens() -> list[Token]:
    signers = [("main", "RS256", None), ("other", "RS256", None), ("main", "PS256", "a"), ("main", "RS256", "b")]
    signers += [("p256", "ES256", None), ("ed25519", "EdDSA", "z"), ("third", "RS256", None)]
    found = []
    for number, (key, alg, kid) in enumerate(signers):
        for issuer in (DEV_ISSUER, LOGIN_ISSUER):
            for body in BODIES if number < 2 else BODIES[:1]:
                claims = {"iss": issuer, **body}
                found.append(
                    Token(text=sign(claims, key=key, alg=alg, kid=kid), claims=claims, key=key, alg=alg, kid=kid)
                )
    base = {"iss": DEV_ISSUER, **BODIES[0]}
    for extra in (*TIMES, {"aud": "a"}, {"aud": ["b", "a"]}, {"aud": "c"}, {"iss": "https://nobody"}):
        claims = {**base, **extra}
        found.append(Token(text=sign(claims), claims=claims, key="main"))
    good = found[0]
    found.append(Token(text=break_signature(good.text), claims=good.claims, key=""))
    secret = subject_public_key("main")
    found.append(Token(text=forge_hmac(base, secret), claims=base, key="", alg="HS256"))
    found.append(Token(text=forge({"alg": "none"}, base, b"x"), malformed="Jwt header [alg] is not supported"))
    found += [Token(text=text, malformed="Jwt ") for text in ("garbage", "a.b.c", "....", good.text[:-700] + "!")]
    return found


TOKENS = make_tokens()
BY_TEXT = {token.text: token for token in TOKENS}

HEADER_PLACES: tuple[dict[str, str], ...] = (
    {"name": "X-In-Auth", "prefix": "Bearer "},
    {"name": "X-In-Jwt"},
    {"name": "X-In-Other", "prefix": "T "},
)
CLAIM_HEADERS = ("x-a", "x-b", "x-c")
PARAMETERS = ("auth_token", "t")

patterns = st.sampled_from(
    ["internal", "internal*", "*nal", "*", "a", "b", "7", "true", "false", "x", "y", "read", "rea*"]
)
claim_keys = st.sampled_from(["org", "groups", "level", "admin", "scope", "deep/org", "none"])


@st.composite
def claim_rules(draw: st.DrawFn) -> list[dict[str, Any]]:
    rules = []
    for key in draw(st.lists(claim_keys, max_size=2, unique=True)):
        rule: dict[str, Any] = {"key": key}
        which = draw(st.sampled_from(["values", "notValues", "both"]))
        if which != "notValues":
            rule["values"] = draw(st.lists(patterns, min_size=1, max_size=3))
        if which != "values":
            rule["notValues"] = draw(st.lists(patterns, min_size=1, max_size=2))
        if "/" in key:
            rule["nestedClaimDelimiter"] = "/"
        rules.append(rule)
    return rules


@st.composite
def providers(draw: st.DrawFn) -> dict[str, Any]:
    source = draw(st.sampled_from(["none", "usual", "usual", "usual", "any"]))
    found: dict[str, Any] = {
        "issuer": draw(st.sampled_from([DEV_ISSUER, DEV_ISSUER, LOGIN_ISSUER, ""])),
        "local": {"inline": draw(st.sampled_from(list(KEYS)))},
        "keepToken": draw(st.booleans()),
    }
    if source == "usual":
        found["tokenSource"] = {"headers": [HEADER_PLACES[0]], "queryParams": ["auth_token"]}
    elif source == "any":
        found["tokenSource"] = {
            "headers": draw(st.lists(st.sampled_from(HEADER_PLACES), max_size=2, unique_by=lambda one: one["name"])),
            "queryParams": draw(st.lists(st.sampled_from(PARAMETERS), max_size=2, unique=True)),
        }
    entries = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["org", "level", "admin", "groups", "none"]),
                st.sampled_from(["x-a", "x-b", "x-c"]),
                st.booleans(),
            ),
            max_size=2,
            unique_by=lambda entry: entry[1],
        )
    )
    found["claimsToHeaders"] = [
        {"claim": claim, "header": header, "append": append} for claim, header, append in entries
    ]
    if draw(st.integers(0, 5)) == 0:
        found["outputPayloadToHeader"] = "x-payload"
    if draw(st.integers(0, 3)) == 0:
        found["customDelimiter"] = ";"
    if draw(st.integers(0, 5)) == 0:
        found["audiences"] = ["a"]
    if draw(st.integers(0, 2)) == 0:
        found["clockSkewSeconds"] = draw(st.sampled_from([1, 3000]))
    return found


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.sampled_from([1, 1, 1, 2, 3]))
    found: dict[str, Any] = {"providers": {f"p{number}": draw(providers()) for number in range(count)}}
    found["validationPolicy"] = draw(
        st.sampled_from(["REQUIRE_VALID", "REQUIRE_VALID", "ALLOW_MISSING", "ALLOW_MISSING_OR_FAILED"])
    )
    if draw(st.integers(0, 9)) == 0:
        found["allowMissingOrFailed"] = True
    if draw(st.booleans()):
        found["claims"] = draw(claim_rules())
    if draw(st.integers(0, 3)) == 0:
        found["requiredScopes"] = draw(st.lists(st.sampled_from(["read", "write"]), max_size=2, unique=True))
    phase = draw(st.sampled_from(["", "preAuthz", "postAuthz"]))
    if phase:
        found["phase"] = {phase: {"priority": draw(st.integers(-5, 5))}}
    found["clearRouteCache"] = draw(st.sampled_from(["AUTO", "TRUE", "FALSE"]))
    return found


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A generated request on the host of one policy."""

    policy: str
    headers: dict[str, str]
    query: dict[str, str]


PLACES = (
    *(("header", one["name"], one.get("prefix", "")) for one in HEADER_PLACES),
    ("header", "Authorization", "Bearer "),
    *(("query", name, "") for name in (*PARAMETERS, "access_token")),
)


def usual_places(config: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = []
    for provider in config["providers"].values():
        source = provider.get("tokenSource") or {}
        found += [("header", one["name"], one.get("prefix", "")) for one in source.get("headers", [])]
        found += [("query", name, "") for name in source.get("queryParams", [])]
    return found or [("header", "Authorization", "Bearer "), ("query", "access_token", "")]


@st.composite
def requests(draw: st.DrawFn, policies: dict[str, dict[str, Any]]) -> Sent:
    name = draw(st.sampled_from(sorted(policies)))
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 1, 2]))):
        places = usual_places(policies[name]) if draw(st.integers(0, 4)) else list(PLACES)
        kind, place, prefix = draw(st.sampled_from(places))
        token = draw(st.sampled_from(TOKENS)).text
        if kind == "header":
            wrong = draw(st.integers(0, 14)) == 0 and prefix
            headers[place.lower()] = token if wrong else f"{prefix}{token}"
        else:
            query[place] = token
    for header in draw(st.lists(st.sampled_from(["x-a", "x-b", "x-c", "x-payload"]), max_size=2, unique=True)):
        headers[header] = "evil"
    return Sent(policy=name, headers=headers, query=query)


@st.composite
def batches(draw: st.DrawFn) -> tuple[dict[str, dict[str, Any]], list[Sent]]:
    policies = {f"h{number}": draw(configs()) for number in range(draw(st.integers(1, 3)))}
    return policies, draw(st.lists(requests(policies), min_size=REQUESTS, max_size=REQUESTS))


class Bench:
    """One mesh for all examples, in an event loop of its own: Hypothesis calls from outside of any."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.context = run_envoy_mesh()
        self.mesh: EnvoyMesh = self.runner.run(self.context.__aenter__())
        self.pairs = 0
        self.live: set[str] = set()

    def close(self) -> None:
        self.runner.run(self.context.__aexit__(None, None, None))
        self.runner.close()

    def ask(self, policies: dict[str, dict[str, Any]], requests: list[Sent]) -> list[Answer]:
        return self.runner.run(self._ask(policies, requests))

    async def _ask(self, policies: dict[str, dict[str, Any]], requests: list[Sent]) -> list[Answer]:
        gone = self.live - policies.keys()
        self.mesh.objects = self.mesh.objects.with_changes({}, [key for name in gone for key in keys_of(name)])
        await self.mesh.apply(*(manifest for name, config in policies.items() for manifest in manifests(name, config)))
        self.live = set(policies)
        return [
            await self.mesh.request(f"{one.policy}.example.com", headers=one.headers, query=one.query)
            for one in requests
        ]


def manifests(name: str, config: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return (
        table(forward(host=name), host=f"{name}.example.com", name=name),
        policy(name, labels={"host": name}, **config),
    )


def keys_of(name: str) -> list[Any]:
    return [key_of(manifest) for manifest in manifests(name, {})]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def is_right(outcome: Outcome, sent: Sent, answer: Answer) -> bool:
    match outcome:
        case Refused():
            return (answer.upstream, answer.status) == (None, outcome.status) and answer.text.startswith(outcome.body)
        case _ if answer.status != 200 or answer.upstream is None:
            return False
        case SeveralTokens():
            return is_right_of_several(outcome, answer)
        case Passed():
            payload = outcome.headers.get("x-payload")
            if set(answer.seen("x-payload")) != ({payload} if payload else set()):
                return False
            if any(joined(answer.seen(name)) != joined([outcome.headers.get(name, "")]) for name in CLAIM_HEADERS):
                return False
            return all(not at(place, answer) for place in outcome.removed) and all(
                at(place, answer) == [original(place, sent)] for place in outcome.kept
            )


def is_right_of_several(outcome: SeveralTokens, answer: Answer) -> bool:
    if not set(answer.seen("x-payload")) <= outcome.payloads | {outcome.headers.get("x-payload", "")}:
        return False
    for name in CLAIM_HEADERS:
        text = joined(answer.seen(name)).removeprefix("evil").removeprefix(",").removeprefix(";")
        if text and (name, text) not in {(header, joined([value])) for header, value in outcome.claims}:
            return False
    return all(not at(place, answer) for place in outcome.removed)


def joined(values: list[str]) -> str:
    return ",".join(values).replace(", ", ",")


def at(place: str, answer: Answer) -> list[str]:
    kind, _, name = place.partition(":")
    return answer.seen(name) if kind == "header" else answer.args.get(name, [])


def original(place: str, sent: Sent) -> str:
    kind, _, name = place.partition(":")
    return sent.headers[name] if kind == "header" else sent.query[name]


def describe(answer: Answer) -> str:
    if answer.upstream is None:
        return f"{answer.status} {answer.text}"
    seen = {name: values for name, values in answer.json["headers"].items() if name.startswith(("X-", "Auth"))}
    return f"{answer.status} {json.dumps(seen)} {json.dumps(answer.args)}"


def shorten(text: str) -> str:
    """Keys and tokens by what they are."""
    for keys, names in KEYS.items():
        text = text.replace(repr(keys), str([f"{key.name} {key.kid}" for key in names]))
    for number, token in enumerate(TOKENS):
        text = text.replace(token.text, f"<{number}: {token.key or token.malformed} {token.alg} {dict(token.claims)}>")
        if len(token.text) > 100:
            text = text.replace(token.text.split(".")[1], f"<payload {number}>")
    return text


@pytest.mark.timeout(3600 if FUZZ else 300)
@settings(max_examples=EXAMPLES, print_blob=True)
@given(batch=batches())
def test_envoy_answers_as_the_policy_says(bench: Bench, batch: tuple[dict[str, dict[str, Any]], list[Sent]]) -> None:
    """Status, body, claim headers and tokens that are left are what the oracle says."""
    policies, requests = batch
    oracle = Oracle(policies=policies, keys=KEYS)
    answers = bench.ask(policies, requests)
    bench.pairs += len(requests)
    for sent, answer in zip(requests, answers, strict=True):
        asked = Asked(headers=sent.headers, query=sent.query, tokens=BY_TEXT, now=NOW)
        outcomes = oracle.outcomes(sent.policy, asked)
        if not any(is_right(outcome, sent, answer) for outcome in outcomes):
            note(shorten(f"policies: {policies}"))
            note(shorten(f"request: {sent}\nanswer: {describe(answer)}\nright: {outcomes}"))
            pytest.fail("Envoy answers otherwise than the policy says")


def test_enough_pairs_were_tried(bench: Bench) -> None:
    """At least 2,000 pairs of a policy and a request."""
    assert bench.pairs >= 2000
