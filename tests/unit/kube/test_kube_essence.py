"""The essence of an object has all that a translation looks at, and nothing that changes without it."""

from __future__ import annotations

import pytest

from meshpass.api.manifest import parse_object
from meshpass.errors import ManifestError
from meshpass.kube.essence import decode_essence, encode_essence, strip_bookkeeping

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a", "namespace": "apps", "resourceVersion": "7", "managedFields": [{"manager": "kubelet"}]},
    "spec": {"serviceAccountName": "a", "volumes": [{"name": "x"}]},
    "status": {"podIP": "127.0.0.1", "qosClass": "Burstable"},
}


def encode(raw: dict) -> bytes:
    stripped = strip_bookkeeping(raw, with_status=True)
    return encode_essence(stripped, parse_object(stripped))


def test_an_essence_is_read_as_what_it_was_made_of() -> None:
    """And says nothing of what nobody reads."""
    body = encode(POD)

    assert decode_essence(body).parsed == parse_object(strip_bookkeeping(POD, with_status=True))
    assert b"volumes" not in body
    assert b"managedFields" not in body
    assert b"127.0.0.1" in body


def test_an_essence_changes_with_what_is_read_alone() -> None:
    """A kubelet that says something else about the Pod makes no other essence."""
    other = {**POD, "status": {"podIP": "127.0.0.1", "qosClass": "Guaranteed"}}

    assert encode(other) == encode(POD)
    assert encode({**POD, "status": {"podIP": "127.0.0.2"}}) != encode(POD)


def test_an_object_with_problems_keeps_them() -> None:
    """It goes as it is: of what was repaired, nobody else could tell that it was wrong."""
    raw = {
        "apiVersion": "security.policy.gloo.solo.io/v2",
        "kind": "JWTPolicy",
        "metadata": {"name": "a", "namespace": "apps"},
        "spec": {"applyToRoutes": [{"rout": {}}]},
    }
    found = decode_essence(encode(raw)).parsed

    assert found.problems
    assert found == parse_object(raw)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"1", b"\xff", b"{}", b'{"apiVersion":"v1","kind":"Pod"}', b"[" * 100_000]
)
def test_what_is_no_object_is_an_error_of_words(body: bytes) -> None:
    """Never another exception: the bytes may be anybody's."""
    with pytest.raises(ManifestError):
        decode_essence(body)
