"""Secrets → the certificates that a gateway shows, and the authorities whose clients it lets in."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import PublicKeyAlgorithmOID

from meshpass.api.core import Secret
from meshpass.api.objectset import ObjectKey
from meshpass.ir import Secret as ProxySecret
from meshpass.ir import TlsCertificate, TrustedAuthorities
from meshpass.translate.finding import Finding, Reason, Severity

CERTIFICATE_ENTRIES = (("tls.crt", "tls.key"), ("cert", "key"))
"""Entries of a Secret of type kubernetes.io/tls, and those that Istio takes as well."""
AUTHORITY_ENTRIES = ("ca.crt", "cacert")
REVOCATION_ENTRIES = ("ca.crl", "crl")
AUTHORITIES_SUFFIX = "-cacert"
"""What the name of a second Secret ends in that holds the authorities alone."""
MAX_TEXT = 1024 * 1024
MIN_RSA_BITS = 2048
USABLE_KEYS = (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)
USABLE_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
"""Envoy 1.40 refuses a certificate with any other key, and with a shorter one."""


class CertificateError(ValueError):
    """What is wrong with an entry of a Secret; never repeats what is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a listener has from Secrets."""

    certificate: TlsCertificate | None
    """None: there is none that can be used."""
    authorities: TrustedAuthorities | None
    findings: tuple[Finding, ...]

    @property
    def secrets(self) -> tuple[ProxySecret, ...]:
        """What a proxy is given."""
        return tuple(one for one in (self.certificate, self.authorities) if one is not None)


def authorities_key(key: ObjectKey) -> ObjectKey:
    """The second Secret in which the authorities may be."""
    return key._replace(name=f"{key.name}{AUTHORITIES_SUFFIX}")


def read_credentials(  # noqa: PLR0917
    owner: ObjectKey, path: str, key: ObjectKey, secret: Secret | None, second: Secret | None, mutual: bool
) -> Credentials:
    """What Secret ``key`` and its second one hold; where they hold nothing usable, findings about ``path`` of ``owner``."""
    place = f"namespace {key.namespace} of cluster {key.cluster}"
    if secret is None:
        return _missing(owner, path, Reason.TARGET_NOT_FOUND, f"there is no Secret {key.name} in {place}")
    name = f"{key.cluster}/{key.namespace}/{key.name}"
    authorities = None
    findings = []
    try:
        certificate = _read_certificate(name, secret)
        if mutual:
            authorities = TrustedAuthorities(name=f"{name}/ca", certificates=_read_authorities(key, secret, second))
    except CertificateError as error:
        return _missing(owner, path, Reason.INVALID_KEY, f"Secret {key.name} in {place}: {error}")
    revoking = [entry for one in (secret, second) if one for entry in REVOCATION_ENTRIES if entry in one.data]
    if mutual and revoking:
        message = (
            f"no effect yet: entry {revoking[0]} of Secret {key.name}; clients with revoked certificates are let in"
        )
        findings.append(
            Finding(key=owner, severity=Severity.WARNING, reason=Reason.NO_EFFECT, path=path, message=message)
        )
    return Credentials(certificate=certificate, authorities=authorities, findings=tuple(findings))


def _missing(owner: ObjectKey, path: str, reason: Reason, message: str) -> Credentials:
    message = f"{message}; the listener stays closed"
    finding = Finding(key=owner, severity=Severity.INVALID, reason=reason, path=path, message=message)
    return Credentials(certificate=None, authorities=None, findings=(finding,))


def _read_certificate(name: str, secret: Secret) -> TlsCertificate:
    for chain_entry, key_entry in CERTIFICATE_ENTRIES:
        if chain_entry in secret.data or key_entry in secret.data:
            chain, private_key = _read(secret, chain_entry), _read(secret, key_entry)
            _check_pair(chain, chain_entry, private_key, key_entry)
            return TlsCertificate(name=name, chain=chain, private_key=private_key)
    raise CertificateError("has no entries tls.crt and tls.key")


def _check_pair(chain: str, chain_entry: str, private_key: str, key_entry: str) -> None:
    first, *_ = _load_certificates(chain, chain_entry)
    try:
        shown, own = first.public_key(), serialization.load_pem_private_key(private_key.encode(), password=None)
    except Exception as error:
        # Whatever the library raises for text from outside; it is not repeated, for it may quote the key.
        raise CertificateError(f"entry {key_entry} is no private key in PEM without a password") from error
    if not isinstance(own, USABLE_KEYS) or own.public_key() != shown:
        raise CertificateError(f"entry {key_entry} is not the key of the first certificate of {chain_entry}")
    if isinstance(own, rsa.RSAPrivateKey) and own.key_size < MIN_RSA_BITS:
        raise CertificateError(f"entry {key_entry} is an RSA key of {own.key_size} bits; {MIN_RSA_BITS} are needed")
    odd_curve = isinstance(own, ec.EllipticCurvePrivateKey) and not isinstance(own.curve, USABLE_CURVES)
    if odd_curve or first.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        raise CertificateError(f"entry {key_entry} is a key of a kind that Envoy does not take")


def _load_certificates(text: str, entry: str) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(text.encode())
    except Exception as error:
        raise CertificateError(f"entry {entry} is no certificate in PEM") from error
    return found


def _read_authorities(key: ObjectKey, secret: Secret, second: Secret | None) -> str:
    for one in (secret, second):
        for entry in AUTHORITY_ENTRIES:
            if one is not None and entry in one.data:
                text = _read(one, entry)
                _load_certificates(text, entry)
                return text
    known = " or ".join(AUTHORITY_ENTRIES)
    message = (
        f"has no entry {known}, nor is there a Secret {authorities_key(key).name} that has, which mode MUTUAL needs"
    )
    raise CertificateError(message)


def _read(secret: Secret, entry: str) -> str:
    if entry not in secret.data:
        raise CertificateError(f"has no entry {entry}")
    try:
        text = base64.b64decode(secret.data[entry], validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise CertificateError(f"entry {entry} is no text") from error
    if len(text) > MAX_TEXT:
        raise CertificateError(f"entry {entry} is longer than {MAX_TEXT} characters")
    return text
