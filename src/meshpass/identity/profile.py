"""Profiles: what is in the certificates of each kind. Nothing of it comes from a request but the key."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT_LIFETIME = timedelta(days=3652)
INTERMEDIATE_LIFETIME = timedelta(days=365)
WORKLOAD_LIFETIME = timedelta(hours=24)
CREDENTIAL_LIFETIME = timedelta(days=365)
CLOCK_SKEW = timedelta(minutes=5)
"""Certificates are valid from so long before they are made: the clock of a peer may be late."""

_BOTH_SIDES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
_CA_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
_LEAF_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def generate_key() -> ec.EllipticCurvePrivateKey:
    """A new ECDSA P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def build_root(
    key: ec.EllipticCurvePrivateKey, *, name: str, organization: str, path_length: int, now: datetime
) -> x509.Certificate:
    """A self-signed CA certificate. No two have the same subject: some verifiers find issuers by that alone."""
    subject = _subject(f"{name} {_key_name(key.public_key())}", organization)
    return (
        _builder(subject, subject, key.public_key(), now, now + ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_CA_USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def build_intermediate(
    public_key: ec.EllipticCurvePublicKey,
    *,
    trust_domain: str,
    cluster: str,
    issuer: x509.Certificate,
    issuer_key: CertificateIssuerPrivateKeyTypes,
    now: datetime,
) -> x509.Certificate:
    """A CA certificate that signs workloads of one cluster, and no further CA.

    Its SPIFFE ID is that of the trust domain: that of a signing certificate has no path (X509-SVID §3.2). The cluster is
    in the subject.
    """
    return (
        _builder(
            _subject(f"{cluster[:40]} intermediate {_key_name(public_key)}", trust_domain),
            issuer.subject,
            public_key,
            now,
            min(now + INTERMEDIATE_LIFETIME, issuer.not_valid_after_utc),
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_CA_USAGE, critical=True)
        .add_extension(_names([f"spiffe://{trust_domain}"]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_issuer_key(issuer), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def build_workload(
    public_key: ec.EllipticCurvePublicKey,
    *,
    spiffe_id: str,
    issuer: x509.Certificate,
    issuer_key: CertificateIssuerPrivateKeyTypes,
    now: datetime,
) -> x509.Certificate:
    """An X.509-SVID: one name, the SPIFFE ID; no subject, so that the name is critical (RFC 5280 §4.1.2.6)."""
    return (
        _leaf(x509.Name([]), public_key, issuer, now, WORKLOAD_LIFETIME)
        .add_extension(_BOTH_SIDES, critical=False)
        .add_extension(_names([spiffe_id]), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def build_agent(
    public_key: ec.EllipticCurvePublicKey,
    *,
    spiffe_id: str,
    issuer: x509.Certificate,
    issuer_key: CertificateIssuerPrivateKeyTypes,
    now: datetime,
) -> x509.Certificate:
    """The certificate of a client of the relay, which is known by its SPIFFE ID alone."""
    return (
        _leaf(x509.Name([]), public_key, issuer, now, CREDENTIAL_LIFETIME)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(_names([spiffe_id]), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def build_server(
    public_key: ec.EllipticCurvePublicKey,
    *,
    name: str,
    names: Iterable[x509.GeneralName],
    issuer: x509.Certificate,
    issuer_key: CertificateIssuerPrivateKeyTypes,
    now: datetime,
) -> x509.Certificate:
    """The certificate of a server that is reached by these DNS names and addresses."""
    return (
        _leaf(_subject(name, ""), public_key, issuer, now, CREDENTIAL_LIFETIME)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _leaf(
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    issuer: x509.Certificate,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    until = min(now + lifetime, issuer.not_valid_after_utc)
    return (
        _builder(subject, issuer.subject, public_key, now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_LEAF_USAGE, critical=True)
        .add_extension(_issuer_key(issuer), critical=False)
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(until)
    )


def _subject(name: str, organization: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]
    # RFC 5280, appendix A: an organization's name has 64 characters at most; a trust domain may have more.
    if 0 < len(organization) <= 64:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _key_name(public_key: ec.EllipticCurvePublicKey) -> str:
    return x509.SubjectKeyIdentifier.from_public_key(public_key).digest.hex()[:8]


def _names(uris: Iterable[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])


def _issuer_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """RFC 5280 §4.2.1.1: the issuer's own identifier of its key, however it was made."""
    try:
        found = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier(
            x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()).digest, None, None
        )
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)
