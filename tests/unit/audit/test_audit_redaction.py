"""Tokens go, names stay."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshpass.audit.redaction import MASK, redact

JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (
        json.dumps({"alg": "RS256", "kid": "k1"}).encode(),
        json.dumps({"iss": "https://issuer.example.com", "sub": "alice", "exp": 1795449098}).encode(),
        bytes((number * 89 + 41) % 256 for number in range(256)),
    )
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/get",
        "/api/v1/namespaces/httpbin/services/in-mesh-service-with-a-long-name/proxy",
        "/users/3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "/blobs/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "/users/getTheAccountDetailsOfUser",
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
        "www.example.com:8080",
        "Jwks doesn't have key to match kid or alg from Jwt",
    ],
)
def test_names_stay(text):
    """Hosts, paths, UUIDs and hashes are what an audit is for."""
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"/reset/{JWT}/now", f"/reset/{MASK}/now"),
        (f"/x;token={JWT}", f"/x;token={MASK}"),
        (f"/{JWT.replace('.', '%2E')}", f"/{MASK}"),
        (f"/{JWT[:40]}", f"/{MASK}"),
        ("/AKiaIOSFODNN7EXAMPLEkey0", f"/{MASK}"),
    ],
)
def test_tokens_go(text, kept):
    """Wherever in the text they are, whole or cut short."""
    assert redact(text) == kept


@pytest.mark.parametrize("number", [0, 1, 2])
def test_each_part_of_a_token_goes(number):
    """Also without the parts around it."""
    assert redact(f"/a/{JWT.split('.')[number]}/b") == f"/a/{MASK}/b"


@pytest.mark.parametrize("before", ["/Bearer%20", "/a.", "/a%2F", "/UPPERlower1", "/a:", "/-", "/é", ""])
def test_no_piece_stays_whatever_is_before(before):
    """Not 20 characters of it."""
    kept = redact(before + JWT)

    assert [JWT[at : at + 20] for at in range(len(JWT) - 19) if JWT[at : at + 20] in kept] == []


def test_nothing_unprintable_stays():
    """A terminal does not act on what a client wrote."""
    assert redact("/a\x1b[2J\n\u202e") == "/a�[2J��"


@settings(deadline=timedelta(seconds=1))
@given(st.text(alphabet="eyJaB3.%=/?-_é\x1b", max_size=400))
def test_redaction_is_idempotent_and_quick(text):
    """Nothing that looks like a token is left, and no text is expensive."""
    once = redact(text)

    assert redact(once) == once
    assert "eyJ" not in once
