"""Tokens are signed by the kind of key, and read without being believed."""

from __future__ import annotations

import json

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey
from typer.testing import CliRunner

from meshpass.cli.jose import (
    Algorithm,
    algorithms_of,
    decode_token,
    generate_key,
    private_pem,
    public_key_set,
    public_pem,
    read_key,
    sign_token,
)
from meshpass.cli.main import build_app
from meshpass.cli.token import build_claims, render_time
from meshpass.errors import MeshpassError

pytestmark = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")


@pytest.fixture(scope="module")
def keys():
    return {algorithm: generate_key(algorithm) for algorithm in (Algorithm.RS256, Algorithm.ES256, Algorithm.EDDSA)}


@pytest.fixture
def run():
    def run(*arguments, **more):
        return CliRunner().invoke(build_app(), list(arguments), **more)

    return run


@pytest.mark.parametrize("algorithm", list(Algorithm), ids=lambda algorithm: algorithm.value)
def test_every_algorithm_signs_what_its_public_key_verifies(algorithm):
    """By way of PEM files, as users have them."""
    private = read_key(private_pem(generate_key(algorithm)))
    token = sign_token(private, {"iss": "me"}, algorithm=algorithm, kid="k")
    public = read_key(public_pem(private).encode())
    found = jwt.decode(token, public, algorithms=[algorithm.value])

    assert found.header == {"alg": algorithm.value, "typ": "JWT", "kid": "k"}
    assert found.claims == {"iss": "me"}


def test_the_algorithm_follows_the_key(keys):
    """RS256, ES256, EdDSA."""
    assert [algorithms_of(key)[0] for key in keys.values()] == ["RS256", "ES256", "EdDSA"]


def test_another_keys_algorithm_is_refused(keys):
    """The hint names those that go."""
    with pytest.raises(MeshpassError, match="RS256 does not go with this EC key") as caught:
        sign_token(keys[Algorithm.ES256], {}, algorithm=Algorithm.RS256)
    assert caught.value.hint == "it signs with ES256"


def test_a_public_key_signs_nothing(keys):
    """Said as what it is."""
    public = read_key(public_pem(keys[Algorithm.RS256]).encode())
    with pytest.raises(MeshpassError, match="this is a public key"):
        sign_token(public, {})


def test_jwk_files_are_read(keys):
    """A private JWK is as good as a PEM."""
    text = json.dumps(keys[Algorithm.ES256].as_dict(private=True)).encode()

    assert isinstance(read_key(text), ECKey)


@pytest.mark.parametrize(
    "text",
    [b"", b"secret words", b'{"kty": "secret"}', b"-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----"],
)
def test_no_error_shows_what_is_in_a_key_file(text):
    """It may be a key."""
    with pytest.raises(MeshpassError) as caught:
        read_key(text)
    assert "secret" not in str(caught.value)


def test_symmetric_keys_are_refused():
    """They are no keys for a mesh."""
    with pytest.raises(MeshpassError, match="symmetric"):
        read_key(json.dumps(OctKey.generate_key(256).as_dict(private=True)).encode())


def test_the_key_set_verifies_and_is_public(keys):
    """With a kid, and nothing private."""
    for algorithm, key in keys.items():
        found = public_key_set(key, None)
        (public,) = found["keys"]
        assert public["kid"] == key.thumbprint()
        assert not {"d", "p", "q"} & set(public)
        token = sign_token(key, {"a": 1}, kid=public["kid"])
        assert jwt.decode(token, KeySet.import_key_set(found), algorithms=[algorithm.value]).claims == {"a": 1}


def test_claims():
    """Text after =, JSON after :=, times in seconds; a claim wins over an option."""
    found = build_claims(
        now=1000,
        issuer="me",
        subject="you",
        audience=["a"],
        expires_in="1h",
        claims=["org=internal", "n:=1", "l:=[true]", "url=a=b", "sub=other"],
    )
    assert found == {
        "iss": "me",
        "sub": "other",
        "aud": "a",
        "iat": 1000,
        "exp": 4600,
        "org": "internal",
        "n": 1,
        "l": [True],
        "url": "a=b",
    }


def test_claims_without_end():
    """Several audiences are a list; ``none`` is no exp."""
    found = build_claims(now=1, issuer=None, subject=None, audience=["a", "b"], expires_in="none", claims=[])

    assert found == {"aud": ["a", "b"], "iat": 1}


@pytest.mark.parametrize("claim", ["x", "=x", ":=1", "x:=y"])
def test_claims_that_are_none(claim):
    """The option is named as it was written."""
    with pytest.raises(MeshpassError, match=f"--claim {claim}: "):
        build_claims(now=1, issuer=None, subject=None, audience=[], expires_in="1h", claims=[claim])


@pytest.mark.parametrize(
    ("token", "message"), [("a.b", "has 2"), ("!.e30.x", "header"), ("e30.W10.x", "payload is no JSON object")]
)
def test_what_is_no_token(token, message):
    """Said by part."""
    with pytest.raises(MeshpassError, match=message):
        decode_token(token)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (4804324736, "2122-03-30 14:38:56 UTC (in 152 years)"),
        (3600, "1970-01-01 01:00:00 UTC (in 1 hour)"),
        (-5, "1969-12-31 23:59:55 UTC (5 seconds ago)"),
        (0, "1970-01-01 00:00:00 UTC (now)"),
        (1e20, "1e+20 s after 1970, which no calendar has"),
    ],
)
def test_times_are_for_people(moment, expected):
    """With the distance from now."""
    assert render_time(moment, 0) == expected


def test_the_commands_go_together(run, tmp_path):
    """key create, create, decode, key public: data on standard output, talk on standard error."""
    path = str(tmp_path / "key.pem")
    made = run("token", "key", "create", path, "--alg", "ES256")
    token = run("token", "create", "--key", path, "--issuer", "me", "--claim", "a=b").stdout
    shown = run("token", "decode", input=token)
    public = run("token", "key", "public", path)

    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    assert made.stdout == public.stdout
    assert made.stdout.startswith("-----BEGIN PUBLIC KEY-----")
    document = json.loads(shown.stdout)
    assert document["payload"]["a"] == "b"
    assert "expires: " in shown.stderr
    assert "not verified" in shown.stderr
    again = run("token", "key", "create", path)
    assert (again.exit_code, "exists already" in again.stderr, "hint:" in again.stderr) == (1, True, True)
