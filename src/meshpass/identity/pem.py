"""PEM: certificates and keys as text, and the name that a certificate goes by here, its fingerprint."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from meshpass.errors import MeshpassError


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate's DER, as 64 hex digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def parse_certificates(pem: str, what: str) -> tuple[x509.Certificate, ...]:
    """The certificates in the order of the text, at least one. Raises MeshpassError, in words that begin with ``what``."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem.encode()))
    except ValueError:
        raise MeshpassError(f"{what} holds no certificate in PEM, or a broken one") from None


def parse_private_key(pem: str, what: str) -> PrivateKeyTypes:
    """The key, which has no password. Raises MeshpassError, in words that begin with ``what`` and say nothing of the key."""
    try:
        return serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, x509.UnsupportedGeneralNameType):
        raise MeshpassError(f"{what} holds no private key in PEM that can be read without a password") from None
    except Exception:  # noqa: BLE001 (the library has more of its own, such as UnsupportedAlgorithm; all mean the same)
        raise MeshpassError(f"{what} holds a private key of a kind that is not supported") from None


def encode_certificates(certificates: Iterable[x509.Certificate]) -> str:
    """One PEM block after the other."""
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)


def encode_private_key(key: PrivateKeyTypes) -> str:
    """PKCS #8 without a password. It belongs into files of mode 0600 and to the proxy that it is for, nowhere else."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
