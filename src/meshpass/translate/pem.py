"""PEM texts (RFC 7468) of certificates, keys and authorities: what is wrong with them is found before Envoy has them."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificatePublicKeyTypes,
    PrivateKeyTypes,
    PublicKeyTypes,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import PublicKeyAlgorithmOID

MIN_RSA_BITS = 2048
USABLE_KEYS = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)
USABLE_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)

_OWN_PATH = "meshpass/"
"""What the path of the SPIFFE IDs of our own processes begins with; those of workloads begin with ``ns/``."""

_REVOCATION_BEGIN = "-----BEGIN X509 CRL-----"
_REVOCATION = re.compile(rf"{_REVOCATION_BEGIN}.*?-----END X509 CRL-----", re.DOTALL)


def certificate_problem(chain: str) -> str:
    """Why Envoy 1.40 would refuse the certificate, and with it all that a proxy is told with it; empty: it would not.

    That of an agent is refused here: whoever names its files would speak for its cluster, by a proxy.
    """
    certificates = _read_certificates(chain)
    if not certificates:
        return "has a certificate that is no PEM certificate"
    first = certificates[0]
    if _is_of_control_plane(first):
        return "has a certificate by which the control plane knows its own processes"
    try:
        key = first.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "has a certificate with a key of an unknown kind"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        return f"has an RSA key of {key.key_size} bits; {MIN_RSA_BITS} are needed"
    odd_curve = isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, USABLE_CURVES)
    odd_padding = first.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS
    if not isinstance(key, USABLE_KEYS) or odd_curve or odd_padding:
        return "has a key of a kind that Envoy takes for no certificate"
    return ""


def private_key_problem(chain: str, private_key: str) -> str:
    """Why the key cannot be used with a certificate that has no problem of its own; empty if it can."""
    key = _read_private_key(private_key)
    if key is None:
        return "has a key that is no PEM key without a password"
    if _public(key.public_key()) != _public(_read_certificates(chain)[0].public_key()):
        return "has a key that is not that of its certificate"
    return ""


def authorities_problem(text: str) -> str:
    """Why nobody can be verified by these authorities; empty if somebody can."""
    if not _read_certificates(text):
        return "has authorities that are no PEM certificates"
    if len(_read_revocations(text)) != text.count(_REVOCATION_BEGIN):
        return "has a list of revoked certificates that cannot be read"
    return ""


def rewrite_certificates(chain: str) -> str:
    """The certificates, and nothing else that is in the text."""
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in _read_certificates(chain))


def rewrite_private_key(private_key: str) -> str:
    """The key that the text begins with, and nothing else. ValueError if there is none."""
    key = _read_private_key(private_key)
    if key is None:
        raise ValueError("there is no key")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def rewrite_authorities(text: str) -> str:
    """The certificates and the lists of revoked ones, which Envoy heeds, and nothing else that is in the text."""
    revocations = (one.public_bytes(Encoding.PEM).decode() for one in _read_revocations(text))
    return rewrite_certificates(text) + "".join(revocations)


def _is_of_control_plane(certificate: x509.Certificate) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    parts = (uri.split("/", maxsplit=3) for uri in uris if uri.startswith("spiffe://"))
    return any(len(part) == 4 and part[3].startswith(_OWN_PATH) for part in parts)


def _read_certificates(text: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        return []


def _read_private_key(text: str) -> PrivateKeyTypes | None:
    try:
        return serialization.load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _read_revocations(text: str) -> list[x509.CertificateRevocationList]:
    try:
        return [x509.load_pem_x509_crl(one.encode()) for one in _REVOCATION.findall(text)]
    except ValueError:
        return []


def _public(key: PublicKeyTypes | CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
