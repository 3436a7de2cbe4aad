"""Certificates, keys and authorities in files: which are read, what is given to proxies, and under what name."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.catalog import WORKSPACES, external_service
from tests.support.certificates import Authority
from tests.support.gateway_objects import virtual_gateway
from tests.support.objects import object_set

from meshpass.api.external import ExternalService
from meshpass.api.virtualgateway import VirtualGateway
from meshpass.ir import Secret, TlsCertificate, TrustedAuthorities
from meshpass.memo import Memo
from meshpass.translate.filecontent import FileContent
from meshpass.translate.filecredential import (
    AuthoritiesFile,
    CertificateFile,
    FileCredential,
    FilePart,
    FileProblem,
    find_file_credentials,
    read_file_credentials,
)

AUTHORITY = Authority()
ONE, TWO = AUTHORITY.sign("one"), AUTHORITY.sign("two")
PAIR, AUTHORITIES = CertificateFile("/c", "/k"), AuthoritiesFile("/ca")


def find(*manifests: dict[str, Any]) -> tuple[FileCredential, ...]:
    objects = object_set(*manifests)
    return find_file_credentials(objects.all(ExternalService), objects.all(VirtualGateway), WORKSPACES)


def client(place: Mapping[str, Any] | None = None, **tls: Any) -> dict[str, Any]:
    return external_service(place=place, hosts=["a.example"], ports=[{"number": 443, "clientsideTls": tls}])


ALL: dict[str, Any] = {"caCertificates": "/ca", "clientCertificate": "/c", "privateKey": "/k"}
FILES = {"serverCert": "/c", "privateKey": "/k", "caCerts": "/ca"}


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (client(mode="MUTUAL", **ALL), (PAIR, AUTHORITIES)),
        (client(**ALL), (AUTHORITIES,)),
        (client(mode="DISABLE", **ALL), ()),
        (client(mode="ISTIO_MUTUAL", **ALL), ()),
        (client(insecureSkipVerify=True, **ALL), ()),
        (client(caCertificates="ca"), ()),
        (client({"namespace": "nobodys"}, **ALL), ()),
        (virtual_gateway({"port": {"number": 1}, "tls": {"mode": "MUTUAL", "files": FILES}}), (PAIR, AUTHORITIES)),
        (virtual_gateway({"port": {"number": 1}, "tls": {"mode": "SIMPLE", "files": FILES}}), (PAIR,)),
        (virtual_gateway({"port": {"number": 1}, "tls": {"mode": "PASSTHROUGH", "files": FILES}}), ()),
        (virtual_gateway({"port": {"number": 1}, "tls": {"mode": "MUTUAL", "files": FILES}}, namespace="nobodys"), ()),
    ],
)
def test_only_what_is_made_use_of_is_read(manifest: dict[str, Any], expected: tuple[FileCredential, ...]) -> None:
    """And only for objects that some workspace has."""
    assert find(manifest) == expected


def read(one: FileCredential, memo: Memo | None = None, **texts: str | FileContent) -> Secret | FileProblem:
    contents = {f"/{name}": FileContent(text=text) if isinstance(text, str) else text for name, text in texts.items()}
    files = read_file_credentials((one,), contents, memo or Memo())
    assert files.paths == frozenset(one)
    return files.found[one.name]


def test_nothing_but_certificates_and_keys_leaves_a_file() -> None:
    """Whatever else is in it, such as the key beside the certificate."""
    whole = f"a comment\n{ONE.private_key}{ONE.chain}root:x:0:0\n{AUTHORITY.certificate}"

    assert read(PAIR, c=whole, k=whole) == TlsCertificate(
        name="file:/c#/k", chain=ONE.chain + AUTHORITY.certificate, private_key=ONE.private_key
    )
    found = read(AUTHORITIES, ca=whole)
    assert found == TrustedAuthorities(name="file:/ca#ca", certificates=ONE.chain + AUTHORITY.certificate)


def revocations() -> str:
    key, start = ec.generate_private_key(ec.SECP256R1()), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    made = x509.CertificateRevocationListBuilder().issuer_name(name).last_update(start)
    return made.next_update(start).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def test_lists_of_revoked_certificates_stay_beside_their_authorities() -> None:
    """Envoy heeds them: without them more clients would be let in."""
    lists = revocations() + revocations()
    found = read(AUTHORITIES, ca=lists + AUTHORITY.certificate)

    assert isinstance(found, TrustedAuthorities)
    assert found.certificates == AUTHORITY.certificate + lists


@pytest.mark.parametrize(
    ("one", "texts", "expected"),
    [
        (PAIR, {}, FileProblem(FilePart.CERTIFICATE, "the file has not been read yet", missing=True)),
        (
            PAIR,
            {"c": ONE.chain, "k": FileContent(problem="cannot be read")},
            FileProblem(FilePart.PRIVATE_KEY, "the file cannot be read", missing=True),
        ),
        (
            PAIR,
            {"c": ONE.private_key, "k": ONE.private_key},
            FileProblem(FilePart.CERTIFICATE, "the file has a certificate that is no PEM certificate"),
        ),
        (
            PAIR,
            {"c": ONE.chain, "k": ONE.chain},
            FileProblem(FilePart.PRIVATE_KEY, "the file has a key that is no PEM key without a password"),
        ),
        (
            PAIR,
            {"c": ONE.chain, "k": TWO.private_key},
            FileProblem(FilePart.PRIVATE_KEY, "the file has a key that is not that of its certificate"),
        ),
        (
            AUTHORITIES,
            {"ca": ONE.private_key},
            FileProblem(FilePart.AUTHORITIES, "the file has authorities that are no PEM certificates"),
        ),
        (
            AUTHORITIES,
            {"ca": AUTHORITY.certificate + "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"},
            FileProblem(FilePart.AUTHORITIES, "the file has a list of revoked certificates that cannot be read"),
        ),
    ],
)
def test_what_is_wrong_is_told_of_the_file_that_is_to_blame(
    one: FileCredential, texts: dict[str, str | FileContent], expected: FileProblem
) -> None:
    """Without a word of what is inside."""
    assert read(one, None, **texts) == expected


def test_no_two_pairs_have_one_name() -> None:
    """Whatever characters paths are made of."""
    parts = ("/a", "/a#/b", "/b", "/a#ca", "/%23", "/#", "/ü", "/\udcff")
    names = [CertificateFile(one, other).name for one in parts for other in parts]
    names += [AuthoritiesFile(one).name for one in parts]

    assert len(set(names)) == len(names)
    assert all(name.isascii() for name in names)


def test_what_did_not_change_keeps_its_identity() -> None:
    """Another file is no reason to make a certificate anew."""
    memo, pair = Memo(), {"c": FileContent(text=ONE.chain), "k": FileContent(text=ONE.private_key)}

    assert read(PAIR, memo, **pair) is read(PAIR, memo, other="x", **pair)
