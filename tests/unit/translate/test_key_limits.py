"""Keys: what is refused for its size or its type, before Envoy would refuse all policies for it."""

from __future__ import annotations

import base64
import json
import warnings

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from tests.support import public_keys as pem

from meshpass.translate.keys import MAX_TEXT, MIN_SHARED_BYTES, KeyTextError, has_shared_key, read_key_set


def public_pem(numbers: rsa.RSAPublicNumbers | dsa.DSAPublicNumbers) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return numbers.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def shared(size: int) -> str:
    text = base64.urlsafe_b64encode(b"s" * size).decode().rstrip("=")
    return json.dumps({"kty": "oct", "k": text})


def refusal(text: str, *, shared_keys: bool = False) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joserfc warns of short keys before we refuse them
        with pytest.raises(KeyTextError) as caught:
            read_key_set(text, shared_keys=shared_keys)
    return str(caught.value)


def test_a_text_that_is_too_long_is_refused_and_the_longest_is_not() -> None:
    """Blanks count: the text is not looked into."""
    assert "longer than" in refusal(pem.P_256 + " " * MAX_TEXT)
    assert read_key_set(pem.P_256.ljust(MAX_TEXT))


def test_a_key_that_signs_no_tokens_is_refused() -> None:
    """DSA has no algorithm in RFC 7518."""
    parameters = dsa.DSAParameterNumbers(p=(1 << 2047) + 1, q=(1 << 255) + 1, g=2)

    assert "signs no tokens" in refusal(public_pem(dsa.DSAPublicNumbers(y=4, parameter_numbers=parameters)))


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        pytest.param(rsa.RSAPublicNumbers(e=65537, n=(1 << 2046) + 1), "2047 bits", id="short"),
        pytest.param(rsa.RSAPublicNumbers(e=65537, n=(1 << 16384) + 1), "larger than Envoy accepts", id="long"),
        pytest.param(rsa.RSAPublicNumbers(e=(1 << 32) + 1, n=(1 << 2047) + 1), "larger than", id="long-exponent"),
    ],
)
def test_rsa_numbers_that_envoy_would_refuse(numbers: rsa.RSAPublicNumbers, words: str) -> None:
    """One such key would cost every policy of the phase its update."""
    assert words in refusal(public_pem(numbers))


def test_a_shared_key_has_to_be_as_long_as_its_hash() -> None:
    """RFC 7518 §3.2; and it is told apart from public keys."""
    assert "under 32 bytes" in refusal(shared(MIN_SHARED_BYTES - 1), shared_keys=True)
    assert has_shared_key(read_key_set(shared(MIN_SHARED_BYTES), shared_keys=True))
    assert not has_shared_key(read_key_set(pem.P_256))


@pytest.mark.parametrize("value", ['""', '"a b"', "7", "null"])
def test_a_shared_key_that_is_no_base64url_is_refused(value: str) -> None:
    """Without repeating it."""
    assert "cannot be read" in refusal('{"kty":"oct","k":' + value + "}", shared_keys=True)


def test_a_second_block_without_an_end_spoils_the_first() -> None:
    """A cut-off text must not verify with the keys that happened to be before the cut."""
    assert "without an end" in refusal(f"{pem.P_256}\n-----BEGIN PUBLIC KEY-----\nMFkw")


@pytest.mark.parametrize(("alg", "words"), [("ES256", "does not go with"), (7, "alg is no text")])
def test_an_algorithm_of_another_type_is_refused(alg: object, words: str) -> None:
    """Envoy would refuse the whole set, or use the key for nothing."""
    key = json.loads(read_key_set(pem.RSA_2048))["keys"][0]

    assert words in refusal(json.dumps({**key, "alg": alg}))
