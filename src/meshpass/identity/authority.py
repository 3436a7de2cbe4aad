"""Authority: a CA certificate, its key, and the way from it up to a root."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from meshpass.errors import MeshpassError
from meshpass.identity.pem import encode_certificates, fingerprint
from meshpass.identity.profile import build_intermediate, build_root, generate_key


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Authority:
    """Who signs. Never printed with its key."""

    certificates: tuple[x509.Certificate, ...]
    """Its own first, each signed by the next, the last one signed by ``root``; a root's own alone."""
    root: x509.Certificate
    private_key: CertificateIssuerPrivateKeyTypes = field(repr=False)

    @property
    def certificate(self) -> x509.Certificate:
        """Its own."""
        return self.certificates[0]

    @property
    def fingerprint(self) -> str:
        """Of its own certificate."""
        return fingerprint(self.certificate)

    @property
    def issuer(self) -> str:
        """Fingerprint of who signed its certificate: of itself, for a root."""
        return fingerprint([*self.certificates, self.root][1]) if self.certificate != self.root else self.fingerprint

    @property
    def not_after(self) -> datetime:
        """Until when all the certificates up to the root are valid."""
        return min(one.not_valid_after_utc for one in (*self.certificates, self.root))

    @property
    def presented(self) -> tuple[x509.Certificate, ...]:
        """What has to be shown after a certificate that it signed: all up to the root, without the root."""
        return tuple(one for one in self.certificates if one != self.root)


def make_root(trust_domain: str, now: datetime) -> Authority:
    """A new root with a new key; below it there is room for one intermediate."""
    key = generate_key()
    certificate = build_root(key, name="Meshpass root", organization=trust_domain, path_length=1, now=now)
    return Authority(certificates=(certificate,), root=certificate, private_key=key)


def sign_intermediate(authority: Authority, csr_pem: str, *, trust_domain: str, cluster: str, now: datetime) -> str:
    """The chain, as PEM, of a new intermediate with the key of the request, which is all that is taken from it.

    Raises MeshpassError where the request is none, was not made by the owner of the key, or has no P-256 key.
    """
    certificate = build_intermediate(
        read_request(csr_pem),
        trust_domain=trust_domain,
        cluster=cluster,
        issuer=authority.certificate,
        issuer_key=authority.private_key,
        now=now,
    )
    return encode_certificates((certificate, *authority.presented))


def make_request(key: ec.EllipticCurvePrivateKey) -> str:
    """A certificate signing request (PKCS #10) that says nothing but the key, as PEM."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def read_request(csr_pem: str) -> ec.EllipticCurvePublicKey:
    """The key that the request is for. Raises MeshpassError where it is no request, or not for a P-256 key."""
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        genuine, key = request.is_signature_valid, request.public_key()
    except Exception as error:
        # Whatever bytes there are, and whatever the library makes of them, it is no request.
        raise MeshpassError("that is no certificate signing request in PEM") from error
    if not genuine:
        raise MeshpassError("the signature of the certificate signing request does not fit its key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise MeshpassError("the certificate signing request is for no ECDSA P-256 key")
    return key


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """True where names and signature fit. Neither times nor constraints are looked at."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
