"""Server certificates of the embedded API servers, each from a CA of its own."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meshpass.secretfile import make_private_directory, write_secret_file

_LIFETIME = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=7)
_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificate:
    """Three PEM files: what clients must trust, what the server shows, and its key (mode 0600)."""

    ca: Path
    certificate: Path
    private_key: Path


def ensure_server_certificate(
    directory: Path, *, name: str, hosts: Sequence[str], clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> ServerCertificate:
    """``directory`` holds a certificate of ``name`` for ``hosts`` (DNS names and IP addresses), valid for over 7 days.

    What is there is kept while it is that. Otherwise a new ECDSA P-256 CA signs a new one; the CA's key is never
    stored, so nobody can sign another. The directory is made with mode 0700.
    """
    make_private_directory(directory)
    files = ServerCertificate(
        ca=directory / "ca.crt", certificate=directory / "server.crt", private_key=directory / "server.key"
    )
    if not _usable(files, hosts, clock()):
        _issue(files, name, hosts, clock())
    return files


def _usable(files: ServerCertificate, hosts: Sequence[str], now: datetime) -> bool:
    try:
        ca = x509.load_pem_x509_certificate(files.ca.read_bytes())
        leaf = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        key = serialization.load_pem_private_key(files.private_key.read_bytes(), password=None)
        leaf.verify_directly_issued_by(ca)
        covered = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # noqa: BLE001 (whatever is wrong with the files, the answer is to issue new ones)
        return False
    return (
        key.public_key() == leaf.public_key()
        and files.private_key.stat().st_mode & 0o077 == 0
        and min(ca.not_valid_after_utc, leaf.not_valid_after_utc) - now > _RENEW_BEFORE
        and all(_general_name(host) in covered for host in hosts)
    )


def _issue(files: ServerCertificate, name: str, hosts: Sequence[str], now: datetime) -> None:
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = _subject(f"meshpass {name} CA")
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    leaf = (
        _builder(_subject(name), ca_name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        # Python 3.13's default context verifies strictly (RFC 5280 §4.2.1.1), which asks for this extension.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    # The key goes first and the CA last: a crash in between leaves a set that is not usable, and is issued anew.
    write_secret_file(
        files.private_key,
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    write_secret_file(files.certificate, leaf.public_bytes(pem))
    write_secret_file(files.ca, ca.public_bytes(pem))


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFETIME)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
