from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.jwks_server import (
    EC_KEY,
    EDDSA_KEY,
    ENCRYPTION_KEY,
    OTHER_KEY,
    PRIVATE_KEY,
    SHARED_KEY,
    UNKNOWN_KEY,
    WEAK_KEY,
    key_set,
)

from meshpass.jwks.failure import FetchError
from meshpass.jwks.keyset import describe_skipped, key_labels, read_remote_keys

pytestmark = pytest.mark.filterwarnings("ignore:Key size should be")


def kids(body: bytes) -> list[str | None]:
    return [key.kid for key in key_labels(read_remote_keys(body).jwks)]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (WEAK_KEY, "key weak is not used: the set holds an RSA key of 1024 bits; at least 2048 are needed"),
        (PRIVATE_KEY, "key leaked is published with its secret part"),
        (SHARED_KEY, "key shared is published with its secret part"),
        (UNKNOWN_KEY, "key later is not used: the set holds a key whose kty is not RSA, EC or OKP"),
        ({"kty": "oct"}, "key number 2 is not used: the set holds a shared secret"),
        ({"kty": "EC", "kid": "a" * 65}, "key number 2 is not used"),
        ({}, "key number 2 is not used"),
    ],
)
def test_a_key_that_cannot_be_used_does_not_spoil_the_others(bad, words):
    keys = read_remote_keys(key_set(EC_KEY, bad))
    assert [key.kid for key in key_labels(keys.jwks)] == ["one"]
    assert len(keys.skipped) == 1
    assert keys.skipped[0].startswith(words)
    with pytest.raises(FetchError, match="no key that can verify"):
        read_remote_keys(key_set(bad))


def test_keys_for_encryption_are_passed_over_in_silence():
    operations = {**OTHER_KEY, "key_ops": ["wrapKey"]}
    assert read_remote_keys(key_set(EC_KEY, ENCRYPTION_KEY, operations)).skipped == ()
    assert kids(key_set(EC_KEY, ENCRYPTION_KEY, operations)) == ["one"]


def test_nothing_but_public_members_is_left():
    text = read_remote_keys(key_set({**EC_KEY, "x5c": ["MII"], "ext": True, "key_ops": ["verify"]})).jwks
    assert json.loads(text)["keys"][0].keys() == {"kty", "crv", "x", "y", "kid", "alg"}


def test_order_and_repetition_make_no_difference():
    one = read_remote_keys(key_set(EC_KEY, OTHER_KEY, EDDSA_KEY))
    assert read_remote_keys(key_set(EDDSA_KEY, EC_KEY, OTHER_KEY, EC_KEY)) == one


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"<html></html>",
        b'{"keys": {}}',
        b'{"keys": []}',
        b'{"keys": [1]}',
        b'{"keys": null}',
        json.dumps(EC_KEY).encode(),
        key_set(EC_KEY)[:-2],
        key_set(EC_KEY) + b"x",
        b"\xff" + key_set(EC_KEY),
        b'{"keys":' + b"[" * 100_000,
        key_set(*[EC_KEY] * 257),
    ],
    ids=lambda body: body[:20].decode("latin-1"),
)
def test_what_is_no_key_set_is_refused(body):
    with pytest.raises(FetchError):
        read_remote_keys(body)


def test_a_byte_order_mark_is_no_reason_to_refuse():
    assert kids(b"\xef\xbb\xbf" + key_set(EC_KEY)) == ["one"]


def test_the_words_about_skipped_keys_are_short():
    assert describe_skipped([]) == ""
    assert describe_skipped(["a", "b"]) == " (a; b)"
    assert describe_skipped(["a", "b", "c", "d", "e"]) == " (a; b; c and 2 more)"


MEMBERS = ("kty", "kid", "n", "e", "x", "y", "crv", "alg", "use", "d", "key_ops")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=3),
    max_leaves=4,
)
ENTRY = st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=3)
KEY_LIKE = st.builds(
    lambda key, changes: {**key, **changes}, st.sampled_from([EC_KEY, EDDSA_KEY, WEAK_KEY, SHARED_KEY]), ENTRY
)


@given(
    st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.lists(KEY_LIKE, max_size=3).map(lambda k: key_set(*k))
)
def test_any_body_is_a_key_set_or_is_refused(body):
    """Never another error, and never anything but usable public keys."""
    try:
        keys = read_remote_keys(body)
    except FetchError:
        return
    assert {key["kty"] for key in json.loads(keys.jwks)["keys"]} <= {"RSA", "EC", "OKP"}
    assert read_remote_keys(keys.jwks.encode()).jwks == keys.jwks
