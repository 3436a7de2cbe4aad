"""Given root: the authority that a user puts into a Secret of type ``kubernetes.io/tls``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from meshpass.errors import MeshpassError
from meshpass.identity.authority import Authority, is_signed_by
from meshpass.identity.pem import parse_certificates, parse_private_key
from meshpass.translate.rootsecret import SECRET_NAME, SECRET_NAMESPACE

Kind = TypeVar("Kind", bound=x509.ExtensionType)

_SHORTEST_RSA = 2048
_HINT = f"the Secret {SECRET_NAMESPACE}/{SECRET_NAME} needs a CA certificate with its chain in tls.crt, and its key in tls.key"


def parse_given_root(
    tls_crt: str, tls_key: str, ca_crt: str, *, trust_domain: str, now: datetime
) -> tuple[Authority, tuple[x509.Certificate, ...]]:
    """The authority, and every root that is to be believed: its own, and those of ``ca_crt``.

    ``tls_crt`` is a self-signed CA certificate, or an intermediate one with its chain; the root at the end of it may be
    in ``ca_crt`` instead. Raises MeshpassError where it cannot be what signs a mesh's intermediates now.
    """
    try:
        return _parse(tls_crt, tls_key, ca_crt, trust_domain, now)
    except MeshpassError as error:
        raise MeshpassError(str(error), hint=error.hint or _HINT) from None


def _parse(
    tls_crt: str, tls_key: str, ca_crt: str, trust_domain: str, now: datetime
) -> tuple[Authority, tuple[x509.Certificate, ...]]:
    chain = parse_certificates(tls_crt, "tls.crt")
    further = parse_certificates(ca_crt, "ca.crt") if ca_crt.strip() else ()
    key = _issuer_key(tls_key)
    if _public(chain[0]) != key.public_key():
        raise MeshpassError("the key in tls.key does not fit the first certificate in tls.crt")
    certificates, root = _find_root(chain, further)
    below = 1
    for certificate in dict.fromkeys((*certificates, root)):
        _check_authority(certificate, below, trust_domain, now)
        below += 1
    for certificate in further:
        if not is_signed_by(certificate, certificate):
            raise MeshpassError(f"ca.crt holds {_name(certificate)}, which is no root: it is not signed by itself")
        _check_authority(certificate, 0, trust_domain, now)
    believed = tuple(dict.fromkeys((root, *further)))
    return Authority(certificates=certificates, root=root, private_key=key), believed


def _find_root(
    chain: Sequence[x509.Certificate], further: Sequence[x509.Certificate]
) -> tuple[tuple[x509.Certificate, ...], x509.Certificate]:
    for certificate, issuer in pairwise(chain):
        if not is_signed_by(certificate, issuer):
            raise MeshpassError(f"tls.crt is no chain: {_name(certificate)} is not signed by {_name(issuer)}")
    last = chain[-1]
    if is_signed_by(last, last):
        return (tuple(chain[:-1]) or (last,), last)
    root = next((one for one in further if is_signed_by(last, one)), None)
    if root is None:
        raise MeshpassError(f"neither tls.crt nor ca.crt holds the root that signed {_name(last)}")
    return tuple(chain), root


def _check_authority(certificate: x509.Certificate, below: int, trust_domain: str, now: datetime) -> None:
    """Raises MeshpassError unless it may have so many CA certificates below it, and is valid now."""
    name = _name(certificate)
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise MeshpassError(f"{name} is not the certificate of a CA")
    if constraints.path_length is not None and constraints.path_length < below:
        raise MeshpassError(
            f"{name} allows {constraints.path_length} CA certificates below it (pathlen), and a mesh needs {below}"
        )
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise MeshpassError(f"{name} may not sign certificates: its key usage has no keyCertSign")
    if certificate.not_valid_after_utc <= now:
        raise MeshpassError(
            f"{name} has expired: it was valid until {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        )
    if certificate.not_valid_before_utc > now:
        raise MeshpassError(f"{name} is not valid yet: from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on")
    _check_key(_public(certificate), name)
    _check_names(certificate, name, trust_domain)


def _check_key(key: object, name: str) -> None:
    match key:
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1):
            return
        case rsa.RSAPublicKey() if key.key_size >= _SHORTEST_RSA:
            return
        case _:
            raise MeshpassError(f"{name} has a key that Envoy does not verify: RSA of 2048 bits or more, or ECDSA")


def _check_names(certificate: x509.Certificate, name: str, trust_domain: str) -> None:
    """Of name constraints, those on URIs count, which are about their host (RFC 5280 §4.2.1.10): the trust domain."""
    constraints = _extension(certificate, x509.NameConstraints)
    if constraints is None:
        return
    permitted, excluded = (
        _uri_hosts(trees or ()) for trees in (constraints.permitted_subtrees, constraints.excluded_subtrees)
    )
    if (permitted and not _any_covers(permitted, trust_domain)) or _any_covers(excluded, trust_domain):
        raise MeshpassError(f"the name constraints of {name} do not allow the trust domain {trust_domain}")


def _uri_hosts(names: Sequence[x509.GeneralName]) -> tuple[str, ...]:
    return tuple(one.value for one in names if isinstance(one, x509.UniformResourceIdentifier))


def _any_covers(constraints: Sequence[str], host: str) -> bool:
    bare = [urlsplit(one).hostname or "" if "://" in one else one for one in constraints]
    return any(host == one or (one.startswith(".") and host.endswith(one)) for one in bare)


def _issuer_key(tls_key: str) -> CertificateIssuerPrivateKeyTypes:
    key = parse_private_key(tls_key, "tls.key")
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise MeshpassError("tls.key holds a key that Envoy does not verify: RSA of 2048 bits or more, or ECDSA")
    return key


def _public(certificate: x509.Certificate) -> object:
    try:
        return certificate.public_key()
    except Exception as error:
        raise MeshpassError(f"{_name(certificate)} has a key of a kind that is not supported") from error


def _extension(certificate: x509.Certificate, kind: type[Kind]) -> Kind | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except ValueError as error:
        raise MeshpassError(f"{_name(certificate)} has extensions that cannot be read") from error


def _name(certificate: x509.Certificate) -> str:
    return f"the certificate {certificate.subject.rfc4514_string() or 'without a subject'!r}"
