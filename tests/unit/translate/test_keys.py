"""Keys: every form that a policy may give them in, and hostile ones, which end in KeyTextError and nothing else."""

from __future__ import annotations

import base64
import contextlib
import json
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import public_keys as pem

from meshpass.translate.keys import KeyTextError, read_key_set


def read(text: str, **options: bool) -> list[dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joserfc warns of short keys before we refuse them
        found = json.loads(read_key_set(text, **options))
    assert found.keys() == {"keys"}
    return found["keys"]


def jwk(text: str, **changes: Any) -> dict[str, Any]:
    return {**read(text)[0], **changes}


def encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def decode(value: str) -> bytes:
    return base64.urlsafe_b64decode(value + "==")


@pytest.mark.parametrize(
    ("text", "kty", "crv"),
    [
        pytest.param(pem.RSA_2048, "RSA", None, id="rsa"),
        pytest.param(pem.P_256, "EC", "P-256", id="p256"),
        pytest.param(pem.P_384, "EC", "P-384", id="p384"),
        pytest.param(pem.P_521, "EC", "P-521", id="p521"),
        pytest.param(pem.ED25519, "OKP", "Ed25519", id="ed25519"),
        pytest.param(pem.CERTIFICATE, "RSA", None, id="certificate"),
        pytest.param(f"  \n{pem.P_256}\n\n", "EC", "P-256", id="blanks-around"),
        pytest.param(f"a key\n{pem.P_256}its end", "EC", "P-256", id="words-around"),
        pytest.param(pem.P_256.replace("\n", "\r\n"), "EC", "P-256", id="crlf"),
    ],
)
def test_a_key_of_each_type_is_read(text: str, kty: str, crv: str | None) -> None:
    """One PEM block is one key of its type."""
    (key,) = read(text)

    assert (key["kty"], key.get("crv")) == (kty, crv)
    assert not key.keys() & {"d", "p", "q", "k"}


def test_several_blocks_are_several_keys_in_order() -> None:
    """A rotation in PEM is two blocks after each other."""
    assert [key["kty"] for key in read(pem.RSA_2048 + pem.P_256 + pem.ED25519)] == ["RSA", "EC", "OKP"]


@pytest.mark.parametrize("text", [pem.RSA_2048, pem.P_256, pem.P_521, pem.ED25519])
def test_pem_jwk_and_set_are_one_key(text: str) -> None:
    """The same key in any form is the same text, so that its providers are one."""
    key = jwk(text)

    assert read_key_set(text) == read_key_set(json.dumps(key)) == read_key_set(json.dumps({"keys": [key]}))


def test_members_without_meaning_are_dropped() -> None:
    """kid and alg stay; certificates, uses and whatever else a set has are not told to Envoy."""
    key = jwk(pem.P_256, kid="k", alg="ES256", use="sig", x5c=["AAAA"], key_ops=["verify"], other={"a": 1})

    assert read(json.dumps(key)) == [jwk(pem.P_256, kid="k", alg="ES256")]


def test_keys_for_encryption_are_left_out() -> None:
    """RFC 7517 §4.2: they verify nothing; a set of nothing else is no set."""
    wanted, other = jwk(pem.P_256), jwk(pem.P_384, use="enc")

    assert read(json.dumps({"keys": [other, wanted]})) == [wanted]
    with pytest.raises(KeyTextError, match="no key that can verify"):
        read(json.dumps({"keys": [other]}))


def test_leading_zeros_are_no_part_of_a_number() -> None:
    """Numbers with leading zeros, which some libraries write, are the same numbers."""
    key = jwk(pem.RSA_2048)
    padded = {**key, "n": encode(b"\0\0" + decode(key["n"])), "e": encode(b"\0" + decode(key["e"]))}

    (found,) = read(json.dumps(padded))
    assert int.from_bytes(decode(found["n"])) == int.from_bytes(decode(key["n"]))
    assert int.from_bytes(decode(found["e"])) == int.from_bytes(decode(key["e"]))


RSA = jwk(pem.RSA_2048)
EC = jwk(pem.P_256)
OKP = jwk(pem.ED25519)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "is empty", id="empty"),
        pytest.param("   \n", "is empty", id="blank"),
        pytest.param("garbage", "neither PEM nor JSON", id="garbage"),
        pytest.param("{", "is no JSON", id="half-json"),
        pytest.param("[]", "neither PEM nor JSON", id="list"),
        pytest.param('{"keys": {}}', "no list of keys", id="keys-no-list"),
        pytest.param('{"keys": [1]}', "no list of keys", id="key-no-object"),
        pytest.param('{"keys": []}', "no key that can verify", id="no-keys"),
        pytest.param("{}", "kty is not", id="empty-object"),
        pytest.param('{"a":' * 5000, "is no JSON", id="deep"),
        pytest.param(pem.P_256.replace("MFkw", "MFkx"), "cannot be read", id="broken-der"),
        pytest.param(
            "-----BEGIN PUBLIC KEY-----\nMFkwEwYH\n-----END PUBLIC KEY-----", "cannot be read", id="truncated-der"
        ),
        pytest.param("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----", "cannot be read", id="empty-block"),
        pytest.param(
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "cannot be read", id="bad-certificate"
        ),
        pytest.param(
            "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----", "private key", id="private-pem"
        ),
        pytest.param(
            f"{pem.P_256}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "private key", id="private-too"
        ),
        pytest.param(json.dumps({**EC, "d": "AAAA"}), "private key", id="private-jwk"),
        pytest.param(pem.RSA_1024, "1024 bits", id="short-rsa"),
        pytest.param(pem.SECP256K1, "curve secp256k1", id="odd-curve"),
        pytest.param('{"kty": "oct", "k": "AAAA"}', "shared secret", id="oct"),
        pytest.param('{"kty": "none"}', "kty is not", id="kty-none"),
        pytest.param('{"kty": ["RSA"]}', "kty is not", id="kty-list"),
        pytest.param(json.dumps({**RSA, "e": "AQ"}), "cannot be read", id="exponent-1"),
        pytest.param(json.dumps({**RSA, "e": "Ag"}), "cannot be read", id="exponent-2"),
        pytest.param(
            json.dumps({**RSA, "e": encode(b"\xff" * 4096)}), "cannot be read|larger than", id="exponent-huge"
        ),
        pytest.param(json.dumps({**RSA, "n": encode(b"\xff" * 3000)}), "larger than", id="modulus-huge"),
        pytest.param(json.dumps({**RSA, "n": ""}), "cannot be read", id="modulus-empty"),
        pytest.param(json.dumps({**RSA, "n": 5}), "cannot be read", id="modulus-number"),
        pytest.param(json.dumps({**RSA, "n": "!!"}), "cannot be read", id="modulus-alphabet"),
        pytest.param(json.dumps({"kty": "RSA", "e": "AQAB"}), "cannot be read", id="modulus-missing"),
        pytest.param(json.dumps({**EC, "x": encode(b"\1" * 32)}), "cannot be read", id="point-off-curve"),
        pytest.param(json.dumps({**EC, "crv": "P-384"}), "cannot be read", id="wrong-curve"),
        pytest.param(json.dumps({**EC, "crv": "P-1"}), "cannot be read", id="no-curve"),
        pytest.param(
            json.dumps({**EC, "x": encode(b"\0" * 32), "y": encode(b"\0" * 32)}), "cannot be read", id="point-at-zero"
        ),
        pytest.param(json.dumps({**OKP, "x": encode(b"\1" * 31)}), "cannot be read", id="short-ed25519"),
        pytest.param(json.dumps({**OKP, "crv": "X25519"}), "does not verify", id="key-agreement"),
        pytest.param(json.dumps({**EC, "alg": "RS256"}), "alg does not go", id="wrong-alg"),
        pytest.param(json.dumps({**EC, "alg": "none"}), "alg does not go", id="alg-none"),
        pytest.param(json.dumps({**RSA, "alg": "HS256"}), "alg does not go", id="alg-confusion"),
        pytest.param(json.dumps({**EC, "alg": 5}), "alg is no text", id="alg-number"),
        pytest.param(json.dumps({**EC, "kid": {}}), "kid is no text", id="kid-object"),
        pytest.param(json.dumps({"keys": [EC, {"kty": "RSA"}]}), "cannot be read", id="one-bad-of-two"),
    ],
)
def test_what_is_no_key_is_refused_with_words(text: str, words: str) -> None:
    """KeyTextError says why, and never repeats the text: it may be a private key."""
    with pytest.raises(KeyTextError, match=words) as caught:
        read(text)

    long_words = [word for word in text.replace('"', " ").split() if len(word) > 24]
    assert not [word for word in long_words if word in str(caught.value)]


@pytest.mark.parametrize("name", ["kid", "alg"])
def test_a_label_that_is_null_is_absent(name: str) -> None:
    """JSON null is no name and no algorithm."""
    assert read(json.dumps({**EC, name: None})) == [EC]


def test_shared_keys_only_where_they_are_allowed() -> None:
    """An oct key of 32 bytes or more, from a Secret."""
    key = {"kty": "oct", "k": encode(bytes(range(32)))}

    assert read(json.dumps(key), shared_keys=True) == [key]
    with pytest.raises(KeyTextError, match="under 32 bytes"):
        read(json.dumps({**key, "k": "AAAA"}), shared_keys=True)


@given(st.text() | st.text(alphabet='-BEGIN PUBLICKEYD\n{}"ktynex:,[]AQ=', max_size=200))
def test_no_text_is_worse_than_an_error(text: str) -> None:
    """Any text is a key set or a KeyTextError."""
    with contextlib.suppress(KeyTextError):
        read(text)


@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "x", "y", "n", "e", "use", "alg", "kid", "d", "k", "keys"]),
        st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", EC["x"], EC["y"], RSA["n"], "AQAB", "sig"])
        | st.none()
        | st.integers()
        | st.text(max_size=3)
        | st.lists(st.none(), max_size=1),
    )
)
def test_no_json_is_worse_than_an_error(entry: dict[str, Any]) -> None:
    """Any object is a key set of public members or a KeyTextError."""
    try:
        found = read(json.dumps(entry))
    except KeyTextError:
        return
    assert all(key.keys() <= {"kty", "crv", "x", "y", "n", "e", "kid", "alg"} for key in found)
