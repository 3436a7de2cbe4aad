"""Credential: what the Secret that an ExternalService names has to offer."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import PublicKeyAlgorithmOID

from meshpass.api.core import Secret
from meshpass.api.external import ExternalService
from meshpass.api.objectset import ObjectKey
from meshpass.ir import TlsCertificate, TrustedAuthorities
from meshpass.memo import Memo

CERTIFICATE_ENTRIES = ("tls.crt", "cert")
PRIVATE_KEY_ENTRIES = ("tls.key", "key")
AUTHORITY_ENTRIES = ("ca.crt", "cacert")
"""Entries of a Secret of type kubernetes.io/tls, then those of Istio's generic ones."""

AUTHORITIES_SUFFIX = "#ca"

MIN_RSA_BITS = 2048
USABLE_KEYS = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)
USABLE_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


class Credential(NamedTuple):
    """What a Secret has to offer, without its contents. A tuple of text: equal ones are the same memo key."""

    certificate: bool = False
    """True: a certificate with its key."""
    authorities: bool = False
    """True: certificates of authorities."""
    problem: str = ""
    """Why it cannot be used; empty if it can."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Credentials:
    """The Secrets that ExternalServices name. The same object as long as they offer the same, whatever the contents."""

    found: Mapping[ObjectKey, Credential]


class CredentialText(NamedTuple):
    """The PEM texts of a Secret; empty where it has none."""

    certificate: str
    private_key: str
    authorities: str


def credential_key(service: ObjectKey, name: str) -> ObjectKey:
    """The Secret that an ExternalService means: it is beside it."""
    return ObjectKey("Secret", service.cluster, service.namespace, name)


def certificate_name(key: ObjectKey) -> str:
    """The name under which proxies get the certificate of a Secret."""
    return f"{key.cluster}/{key.namespace}/{key.name}"


def authorities_name(key: ObjectKey) -> str:
    """The name under which proxies get the authorities of a Secret."""
    return f"{certificate_name(key)}{AUTHORITIES_SUFFIX}"


def named_secret(name: str) -> ObjectKey:
    """The Secret that one of these names was made from."""
    return ObjectKey("Secret", *name.removesuffix(AUTHORITIES_SUFFIX).split("/"))


def index_credentials(
    secrets: Mapping[ObjectKey, Secret], external_services: Mapping[ObjectKey, ExternalService], memo: Memo
) -> Credentials:
    """What each Secret that some ``clientsideTls.credentialName`` names has to offer; to be called through the memo."""
    wanted = sorted(
        {
            credential_key(key, port.clientside_tls.credential_name)
            for key, service in external_services.items()
            for port in service.spec.ports
            if port.clientside_tls is not None and port.clientside_tls.credential_name
        }
    )
    return memo(_make_credentials, tuple((key, memo(judge_secret, secrets[key])) for key in wanted if key in secrets))


def _make_credentials(found: tuple[tuple[ObjectKey, Credential], ...]) -> Credentials:
    return Credentials(found=dict(found))


def credentials_of(
    key: ObjectKey, service: ExternalService, credentials: Credentials
) -> tuple[tuple[str, Credential], ...]:
    """Name of a Secret → what it has to offer, for those that the service names and that are there; sorted."""
    names = {port.clientside_tls.credential_name for port in service.spec.ports if port.clientside_tls is not None}
    secrets = {name: credential_key(key, name) for name in sorted(names) if name}
    return tuple((name, credentials.found[secret]) for name, secret in secrets.items() if secret in credentials.found)


def judge_secret(secret: Secret) -> Credential:
    """What the Secret has to offer. A part of it that is wrong makes all of it unusable."""
    text = read_secret(secret)
    if isinstance(text, str):
        return Credential(problem=text)
    if bool(text.certificate) != bool(text.private_key):
        return Credential(problem="has a certificate without its key, or a key without its certificate")
    if not text.certificate and not text.authorities:
        return Credential(problem="has neither tls.crt with tls.key nor ca.crt")
    problem = _pair_problem(text) if text.certificate else ""
    if not problem and text.authorities and not _certificates(text.authorities):
        problem = "has authorities that are no PEM certificates"
    if problem:
        return Credential(problem=problem)
    return Credential(certificate=bool(text.certificate), authorities=bool(text.authorities))


def read_secret(secret: Secret) -> CredentialText | str:
    """The texts of a Secret, or what is wrong with it."""
    try:
        return CredentialText(
            _entry(secret, CERTIFICATE_ENTRIES),
            _entry(secret, PRIVATE_KEY_ENTRIES),
            _entry(secret, AUTHORITY_ENTRIES),
        )
    except (binascii.Error, UnicodeDecodeError):
        return "has an entry that is no text"


def _entry(secret: Secret, names: Iterable[str]) -> str:
    found = next((secret.data[name] for name in names if name in secret.data), "")
    return base64.b64decode(found, validate=True).decode()


def _key_problem(certificate: x509.Certificate) -> str:
    """Why Envoy 1.40 would refuse the certificate for its key, and with it all that a proxy is told with it."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        return f"has an RSA key of {key.key_size} bits; {MIN_RSA_BITS} are needed"
    odd_curve = isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, USABLE_CURVES)
    odd_padding = certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS
    if not isinstance(key, USABLE_KEYS) or odd_curve or odd_padding:
        return "has a key of a kind that Envoy takes for no certificate"
    return ""


def _pair_problem(text: CredentialText) -> str:
    certificates = _certificates(text.certificate)
    if not certificates:
        return "has a certificate that is no PEM certificate"
    try:
        key = serialization.load_pem_private_key(text.private_key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "has a key that is no PEM key without a password"
    try:
        certified = certificates[0].public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "has a certificate with a key of an unknown kind"
    if _public(key.public_key()) != _public(certified):
        return "has a key that is not that of its certificate"
    return _key_problem(certificates[0])


def _public(key: PublicKeyTypes | CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _certificates(text: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        return []


def make_certificate(key: ObjectKey, secret: Secret) -> TlsCertificate | None:
    """The certificate of a Secret, for proxies; None if it has none."""
    text = read_secret(secret)
    if isinstance(text, str) or not text.certificate:
        return None
    return TlsCertificate(name=certificate_name(key), chain=text.certificate, private_key=text.private_key)


def make_authorities(key: ObjectKey, secret: Secret) -> TrustedAuthorities | None:
    """The authorities of a Secret, for proxies; None if it has none."""
    text = read_secret(secret)
    if isinstance(text, str) or not text.authorities:
        return None
    return TrustedAuthorities(name=authorities_name(key), certificates=text.authorities)
