"""Secrets that ExternalServices name: what they offer, and what is wrong with them, without their contents."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from tests.support.catalog import external_service
from tests.support.certificates import Authority, PrivateKey
from tests.support.envoy_mesh import secret
from tests.support.objects import object_set, read_objects

from meshpass.api.core import Secret
from meshpass.api.external import ExternalService
from meshpass.api.objectset import ObjectSet
from meshpass.memo import Memo
from meshpass.translate.credential import Credential, Credentials, index_credentials, judge_secret
from meshpass.translate.filecredential import FileCredentials

AUTHORITY = Authority()
ONE, TWO = AUTHORITY.sign("one"), AUTHORITY.sign("two")


def judge(**entries: str) -> Credential:
    (found,) = object_set(secret("keys", entries)).all(Secret).values()
    return judge_secret(found)


def test_what_a_secret_offers() -> None:
    """A certificate with its key, authorities, or both."""
    pair = {"tls.crt": ONE.chain + AUTHORITY.certificate, "tls.key": ONE.private_key}

    assert judge(**pair) == Credential(certificate=True)
    assert judge(**{"ca.crt": AUTHORITY.certificate}) == Credential(authorities=True)
    assert judge(**pair, cacert=AUTHORITY.certificate) == Credential(certificate=True, authorities=True)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({}, "has neither"),
        ({"tls.crt": ONE.chain}, "without its key"),
        ({"tls.key": ONE.private_key}, "without its certificate"),
        ({"tls.crt": ONE.chain, "tls.key": TWO.private_key}, "is not that of its certificate"),
        ({"tls.crt": "x", "tls.key": ONE.private_key}, "no PEM certificate"),
        ({"tls.crt": ONE.chain, "tls.key": "x"}, "no PEM key"),
        ({"ca.crt": "x"}, "authorities that are no PEM certificates"),
        ({"ca.crt": AUTHORITY.certificate + "-----BEGIN X509 CRL-----\n"}, "list of revoked certificates that cannot"),
    ],
)
def test_what_is_wrong_with_a_secret(entries: dict[str, str], words: str) -> None:
    """It then offers nothing."""
    found = judge(**entries)

    assert words in found.problem
    assert not found.certificate
    assert not found.authorities
    assert "BEGIN" not in found.problem


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (rsa.generate_private_key(65537, 1024), "RSA key of 1024 bits"),
        (ec.generate_private_key(ec.SECP256K1()), "of a kind that Envoy takes for no certificate"),
        (ed448.Ed448PrivateKey.generate(), "of a kind that Envoy takes for no certificate"),
        (rsa.generate_private_key(65537, 2048), ""),
        (ec.generate_private_key(ec.SECP384R1()), ""),
    ],
)
def test_a_certificate_that_envoy_refuses_offers_nothing(key: PrivateKey, words: str) -> None:
    """A proxy would refuse more than the certificate."""
    made = AUTHORITY.sign("name", key=key)
    found = judge(**{"tls.crt": made.chain, "tls.key": made.private_key})

    assert words in found.problem
    assert found.certificate is (not words)


def test_an_entry_that_is_no_text_is_named_as_that() -> None:
    """Neither base64 nor UTF-8 is taken for granted."""
    (whole,) = object_set(secret("keys", {})).all(Secret).values()
    for text in ("?", "/w=="):
        found = judge_secret(Secret(metadata=whole.metadata, data={"tls.crt": text}))
        assert found.problem == "has an entry that is no text"


NO_FILES = FileCredentials(found={}, paths=frozenset())


def index(objects: ObjectSet, memo: Memo) -> Credentials:
    return memo(index_credentials, objects.all(Secret), objects.all(ExternalService), NO_FILES, memo)


def test_only_what_a_secret_offers_counts() -> None:
    """Another certificate under the same name changes no route; a broken one does. Other Secrets do not matter."""
    memo = Memo()
    objects = object_set(
        external_service(hosts=["x.example"], ports=[{"number": 443, "clientsideTls": {"credentialName": "keys"}}]),
        secret("keys", {"tls.crt": ONE.chain, "tls.key": ONE.private_key}),
    )
    before = index(objects, memo)
    objects = objects.with_changes(
        read_objects(secret("keys", {"tls.crt": TWO.chain, "tls.key": TWO.private_key}), secret("other", {"a": "b"}))
    )
    assert index(objects, memo) is before

    objects = objects.with_changes(read_objects(secret("keys", {"tls.crt": TWO.chain})))
    after = index(objects, memo)
    assert after is not before
    assert [found.problem != "" for found in after.found.values()] == [True]
