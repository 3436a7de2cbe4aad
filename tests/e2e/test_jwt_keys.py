"""Keys, signatures and times in a real Envoy."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.envoy_mesh import EnvoyMesh, run_envoy_mesh, secret
from tests.support.jwt_objects import (
    DENIED,
    FAILS,
    HOST,
    MALFORMED,
    NO_KEY,
    UNKNOWN_ISSUER,
    WRONG_AUDIENCE,
    bearer,
    protect_with,
)
from tests.support.tokens import (
    DEV,
    LOGIN,
    Claims,
    base64url,
    break_signature,
    certificate_pem,
    forge,
    forge_hmac,
    public_jwk,
    public_jwks,
    public_pem,
    sign,
    sign_payload,
    subject_public_key,
)

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

ALGORITHMS = (
    *(("main", f"{family}{bits}") for family in ("RS", "PS") for bits in (256, 384, 512)),
    ("p256", "ES256"),
    ("p384", "ES384"),
    ("p521", "ES512"),
    ("ed25519", "EdDSA"),
)
TWO_KEYS = public_jwks(public_jwk("main", kid="a"), public_jwk("other", kid="b"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EnvoyMesh]:
    async with run_envoy_mesh() as running:
        yield running


async def refusal(mesh: EnvoyMesh, token: str) -> str:
    """Status and body of a refusal; empty for a token that is accepted, from the header and from the query alike."""
    answers = [
        await mesh.request(HOST, headers=bearer(token)),
        await mesh.request(HOST, query={"auth_token": token}),
    ]
    found = {"" if one.status == 200 and one.upstream else f"{one.status} {one.text}" for one in answers}
    assert len(found) == 1, found
    return found.pop()


@pytest.mark.parametrize(("key", "alg"), ALGORITHMS)
async def test_every_algorithm_verifies(mesh: EnvoyMesh, key: str, alg: str) -> None:
    """A token signed by the key passes, whether the key is PEM, JWK or in a set; a changed one does not."""
    labelled = public_jwks(public_jwk(key, kid="1", alg=alg, use="sig"))
    for keys in (public_pem(key), public_jwks(key), labelled):
        async with mesh.having(*protect_with(jwks=keys)):
            token = sign(DEV, key=key, alg=alg, kid="1")
            assert await refusal(mesh, token) == ""
            assert await refusal(mesh, break_signature(token)) == f"401 {FAILS}"


@pytest.mark.parametrize(
    ("keys", "key", "kid", "expected"),
    [
        (TWO_KEYS, "main", "a", ""),
        (TWO_KEYS, "other", "b", ""),
        (TWO_KEYS, "other", "a", f"401 {FAILS}"),
        (TWO_KEYS, "main", "c", f"401 {NO_KEY}"),
        (TWO_KEYS, "main", None, ""),
        (TWO_KEYS, "other", None, ""),
        (TWO_KEYS, "third", None, f"401 {FAILS}"),
        (public_jwks("main", public_jwk("other", kid="b")), "main", "any", ""),
        (public_jwks("main", public_jwk("other", kid="b")), "other", "any", f"401 {FAILS}"),
        (public_jwks(public_jwk("main", kid="a"), public_jwk("other", kid="a")), "main", "a", ""),
        (public_jwks(public_jwk("main", kid="a"), public_jwk("other", kid="a")), "other", "a", ""),
        (public_jwks(public_jwk("main", alg="RS512")), "main", None, f"401 {NO_KEY}"),
        (public_jwks("p256", "ed25519", "main"), "main", "x", ""),
        (public_jwks(public_jwk("ed25519", kid="x"), public_jwk("main", kid="x")), "main", "x", ""),
        (public_pem("ed25519") + public_pem("p521") + public_pem("main"), "main", None, ""),
        (f"{public_pem('other')}\n{public_pem('main')}", "main", "x", ""),
        (f"{public_pem('other')}\n{public_pem('third')}", "main", "x", f"401 {FAILS}"),
        (certificate_pem("main"), "main", None, ""),
        (certificate_pem("other"), "main", None, f"401 {FAILS}"),
        (json.dumps(public_jwk("main")), "main", None, ""),
    ],
)
async def test_a_key_is_chosen_by_kid_and_alg(
    mesh: EnvoyMesh, keys: str, key: str, kid: str | None, expected: str
) -> None:
    """Of several keys those count whose kid and alg are equal or absent; any of them may verify."""
    async with mesh.having(*protect_with(jwks=keys)):
        assert await refusal(mesh, sign(DEV, key=key, kid=kid)) == expected


async def test_attacks_on_the_algorithm_are_refused(mesh: EnvoyMesh) -> None:
    """Neither ``none``, nor a public key used as a shared secret, nor a key that the token brings along."""
    public = subject_public_key("main")
    attacks = [
        *(
            forge({"alg": name, "typ": "JWT"}, DEV, signature)
            for name in ("none", "None", "")
            for signature in (b"", b"x")
        ),
        *(forge_hmac(DEV, key) for key in (public, public.strip(), public_pem("main").encode(), b"")),
        forge_hmac(DEV, public, kid="a"),
        sign(DEV, key="third", jwk=public_jwk("third")),
        sign(DEV, key="third", jku="http://127.0.0.1:1/keys", kid="a"),
        sign(DEV, key="p256", alg="ES256"),
    ]
    for keys in (public_pem("main"), TWO_KEYS, public_jwks("main", "ed25519")):
        async with mesh.having(*protect_with(jwks=keys)):
            for token in attacks:
                assert (await refusal(mesh, token)).startswith("401 "), token
            assert await refusal(mesh, sign(DEV)) == ""


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("abc", MALFORMED),
        ("a.b", MALFORMED),
        ("a.b.c.d", MALFORMED),
        ("!!!!.e30.c2ln", "Jwt is not in the form"),
        (f"{base64url(b'not json')}.e30.c2ln", "Jwt header is an invalid JSON"),
        (forge({}, DEV, b"x"), "Jwt header [alg] field is required and must be a string"),
        (forge({"alg": 5}, DEV, b"x"), "Jwt header [alg] field is required and must be a string"),
        (forge({"alg": "RS256", "kid": 5}, DEV, b"x"), "Jwt header [kid] field is not a string"),
        (".".join(map(base64url, (b'{"alg":"RS256"}', b"[", b"sig"))), "Jwt payload is an invalid JSON"),
        (forge({"alg": "RS256"}, {**DEV, "iss": 5}, b"x"), "Jwt payload [iss] field is not a string"),
        (forge({"alg": "RS256"}, {**DEV, "exp": "soon"}, b"x"), "Jwt payload [exp] field is not an integer"),
        (forge({"alg": "RS256"}, {**DEV, "exp": -1}, b"x"), "Jwt payload [exp] field is not a positive 64 bit integer"),
        (forge({"alg": "RS256"}, {**DEV, "aud": 5}, b"x"), "Jwt payload [aud] field is not a string or string list"),
        (forge({"alg": "RS256"}, LOGIN, b"x"), UNKNOWN_ISSUER),
        (forge({"alg": "RS256"}, DEV, b"x"), FAILS),
    ],
)
async def test_a_malformed_token_is_401(mesh: EnvoyMesh, token: str, expected: str) -> None:
    """Each in Envoy's own words."""
    async with mesh.having(*protect_with()):
        for answer in (
            await mesh.request(HOST, headers=bearer(token)),
            await mesh.request(HOST, query={"auth_token": token}),
        ):
            assert (answer.status, answer.upstream) == (401, None)
            assert answer.header("www-authenticate") == f'Bearer realm="http://{HOST}/get", error="invalid_token"'
        assert answer.text.startswith(expected) or token.startswith("!")


@pytest.mark.parametrize(
    ("skew", "times", "expected"),
    [
        (None, {"exp": -30}, ""),
        (None, {"exp": -90}, "401 Jwt is expired"),
        (None, {"nbf": 30}, ""),
        (None, {"nbf": 90}, "401 Jwt not yet valid"),
        (300, {"exp": -200, "nbf": 200}, ""),
        (300, {"exp": -400}, "401 Jwt is expired"),
        (10, {"exp": -30}, "401 Jwt is expired"),
        (0, {"exp": -30}, "401 Jwt is expired"),
        (0, {"nbf": 30}, "401 Jwt not yet valid"),
        (0, {"exp": 30, "nbf": -30}, ""),
    ],
)
async def test_clock_skew(mesh: EnvoyMesh, skew: int | None, times: dict[str, int], expected: str) -> None:
    """exp and nbf are judged with clockSkewSeconds to spare, 60 if that is not set."""
    now = int(time.time())
    claims = {**DEV, **{name: now + seconds for name, seconds in times.items()}}
    async with mesh.having(*protect_with(**({} if skew is None else {"clockSkewSeconds": skew}))):
        assert await refusal(mesh, sign(claims)) == expected


async def test_a_token_without_exp_never_expires(mesh: EnvoyMesh) -> None:
    """exp is optional (RFC 7519 §4.1.4)."""
    async with mesh.having(*protect_with()):
        assert await refusal(mesh, sign({name: value for name, value in DEV.items() if name != "exp"})) == ""


@pytest.mark.parametrize(
    ("audiences", "aud", "expected"),
    [
        (["a", "b"], "b", ""),
        (["a", "b"], ["c", "a"], ""),
        (["a", "b"], ["c", "d"], f"403 {WRONG_AUDIENCE}"),
        (["a", "b"], [], f"403 {WRONG_AUDIENCE}"),
        (["a"], None, f"403 {WRONG_AUDIENCE}"),
        (["https://a.example.com"], "a.example.com", ""),
        (["a.example.com/"], "https://a.example.com", ""),
        (["http://a.example.com"], "https://a.example.com/", ""),
        (["a"], "A", f"403 {WRONG_AUDIENCE}"),
        ([], "anything", ""),
    ],
)
async def test_audiences(mesh: EnvoyMesh, audiences: list[str], aud: Any, expected: str) -> None:
    """One of aud has to be among the audiences; scheme and one trailing slash do not count."""
    async with mesh.having(*protect_with(audiences=audiences)):
        assert await refusal(mesh, sign(DEV if aud is None else {**DEV, "aud": aud})) == expected


@pytest.mark.parametrize("claims", [DEV, LOGIN, {"sub": "nobody"}])
async def test_without_an_issuer_any_is_accepted(mesh: EnvoyMesh, claims: Claims) -> None:
    """A provider without issuer does not look at iss, and takes tokens without one."""
    async with mesh.having(*protect_with(issuer="")):
        assert await refusal(mesh, sign(claims)) == ""
        assert await refusal(mesh, sign(claims, key="other")) == f"401 {FAILS}"


async def test_an_issuer_is_compared_exactly(mesh: EnvoyMesh) -> None:
    """Neither a slash more nor another case will do."""
    async with mesh.having(*protect_with()):
        for issuer in ("https://dev.example.com/", "https://DEV.example.com", "", "dev.example.com"):
            assert await refusal(mesh, sign({**DEV, "iss": issuer})) == f"401 {UNKNOWN_ISSUER}"
        without = {name: value for name, value in DEV.items() if name != "iss"}
        assert await refusal(mesh, sign(without)) == f"401 {UNKNOWN_ISSUER}"


async def test_a_payload_that_is_no_object_is_refused(mesh: EnvoyMesh) -> None:
    """Signed or not, what holds no claims is no token."""
    async with mesh.having(*protect_with(issuer="")):
        for payload in (b"[]", b'"text"', b"5", b"", b"\x00"):
            token = sign_payload(payload, key="main", protected={"alg": "RS256"})
            assert (await refusal(mesh, token)).startswith("401 ")
    async with mesh.having(*protect_with()):
        assert await refusal(mesh, sign_payload(b"null", key="main", protected={"alg": "RS256"})) != ""


async def test_a_shared_key_counts_from_a_secret_only(mesh: EnvoyMesh) -> None:
    """An oct JWK verifies HS256, 384 and 512 from a Secret, with a warning; inline it denies."""
    text = public_jwks(public_jwk("shared", kid="s"))
    reference = {"secretRef": {"objectRef": {"name": "keys"}, "key": "jwks"}}
    table, policy = protect_with(local=reference)
    async with mesh.having(table, policy, secret("keys", {"jwks": text})):
        for alg in ("HS256", "HS384", "HS512"):
            assert await refusal(mesh, sign(DEV, key="shared", alg=alg)) == ""
        assert (await refusal(mesh, sign(DEV))).startswith("401 ")
        assert mesh.status(policy)["common"]["State"]["approval"] == "WARNING"
    async with mesh.having(*protect_with(jwks=text)):
        assert await refusal(mesh, sign(DEV, key="shared", alg="HS256")) == f"403 {DENIED}"


@pytest.mark.parametrize(
    ("reference", "place", "expected"),
    [
        ({"name": "keys"}, {}, ""),
        ({"name": "keys", "namespace": "team"}, {"namespace": "team"}, ""),
        (
            {"name": "keys", "namespace": "team", "cluster": "cluster2"},
            {"namespace": "team", "cluster": "cluster2"},
            "",
        ),
        ({"name": "keys", "cluster": "mgmt"}, {"cluster": "mgmt"}, ""),
        ({"name": "keys", "namespace": "elsewhere"}, {"namespace": "elsewhere"}, f"403 {DENIED}"),
        ({"name": "keys"}, {"namespace": "team"}, f"403 {DENIED}"),
        ({"name": "keys"}, {"cluster": "cluster2"}, f"403 {DENIED}"),
        ({"name": "others"}, {}, f"403 {DENIED}"),
    ],
)
async def test_a_secret_is_found_in_its_workspace(
    mesh: EnvoyMesh, reference: dict[str, str], place: dict[str, str], expected: str
) -> None:
    """In another namespace and cluster of the workspace too; what is not there, or not the workspace's, denies."""
    table, policy = protect_with(local={"secretRef": {"objectRef": reference, "key": "pem"}})
    async with mesh.having(table, policy, secret("keys", {"pem": public_pem("main")}, **place)):
        assert await refusal(mesh, sign(DEV)) == expected
        approval = mesh.status(policy)["common"]["State"]["approval"]
        assert approval == ("INVALID" if expected else "ACCEPTED")


async def test_a_secret_is_followed(mesh: EnvoyMesh) -> None:
    """It comes, it changes, it is broken, it goes: the verdict is always that of the Secret as it is."""
    table, policy = protect_with(local={"secretRef": {"objectRef": {"name": "keys"}, "key": "pem"}})
    old, new = sign(DEV), sign(DEV, key="other")
    async with mesh.having(table, policy):
        assert await refusal(mesh, old) == f"403 {DENIED}"
        await mesh.apply(secret("keys", {"pem": public_pem("main")}))
        assert [await refusal(mesh, token) for token in (old, new)] == ["", f"401 {FAILS}"]
        await mesh.apply(secret("keys", {"pem": public_pem("main") + public_pem("other")}))
        assert [await refusal(mesh, token) for token in (old, new)] == ["", ""]
        await mesh.apply(secret("keys", {"pem": public_pem("other")}))
        assert [await refusal(mesh, token) for token in (old, new)] == [f"401 {FAILS}", ""]
        await mesh.apply(secret("keys", {"pem": "garbage"}))
        assert [await refusal(mesh, token) for token in (old, new)] == [f"403 {DENIED}"] * 2
        await mesh.apply(secret("keys", {"pem": public_pem("main")}))
        assert [await refusal(mesh, token) for token in (old, new)] == ["", f"401 {FAILS}"]
        await mesh.delete(secret("keys", {}))
        assert [await refusal(mesh, token) for token in (old, new)] == [f"403 {DENIED}"] * 2
