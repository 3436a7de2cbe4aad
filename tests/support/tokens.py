"""Tokens and keys for tests: the same claims as the guide's, signed with keys that this process makes.

sign(DEV)                                  # RS256 by the key "main"
sign(DEV, key="p256", alg="ES256", kid="1")
public_pem("main"), public_jwks("main", "other")
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

Claims = Mapping[str, Any]
SigningKey = RSAKey | ECKey | OKPKey | OctKey

ISSUED = 1648651136
EXPIRES = 4804324736
"""The times of the guide's tokens: 2022 to 2122."""

DEV_ISSUER = "https://dev.example.com"
LOGIN_ISSUER = "https://login.example.com"

DEV: Claims = {
    "iss": DEV_ISSUER,
    "exp": EXPIRES,
    "iat": ISSUED,
    "org": "internal",
    "email": "dev1@solo.io",
    "group": "engineering",
    "scope": "is:developer",
}
LOGIN: Claims = {
    "iss": LOGIN_ISSUER,
    "exp": EXPIRES,
    "iat": ISSUED,
    "org": "external",
    "email": "user2@example.com",
    "group": "user",
    "scope": "is:reader",
}
NESTED: Claims = {
    "iss": DEV_ISSUER,
    "exp": EXPIRES,
    "iat": ISSUED,
    "org": "internal",
    "email": "dev1@solo.io",
    "scope": "is:developer",
    "resource_access": {"account": {"groups": ["engineering", "qa"]}},
}

CURVES = {"p256": "P-256", "p384": "P-384", "p521": "P-521"}
RSA_KEYS = ("main", "other", "third")


@cache
def signing_key(name: str) -> SigningKey:
    """The private key of that name, made when first asked for: main, other, third, p256, p384, p521, ed25519, shared."""
    if name in RSA_KEYS:
        return RSAKey.generate_key(2048)
    if name in CURVES:
        return ECKey.generate_key(CURVES[name])
    if name == "ed25519":
        return OKPKey.generate_key("Ed25519")
    if name == "shared":
        return OctKey.generate_key(512)
    raise KeyError(name)


def public_pem(name: str) -> str:
    """The public key as PEM."""
    return _asymmetric(name).as_pem(private=False).decode()


def public_jwk(name: str, **labels: str) -> dict[str, Any]:
    """The public key, or the shared one, as a JWK with these labels (``kid``, ``alg``, ``use``)."""
    key = signing_key(name)
    members = key.as_dict() if isinstance(key, OctKey) else key.as_dict(private=False)
    return {name: value for name, value in members.items() if name not in {"kid", "alg", "use"}} | labels


def public_jwks(*keys: str | Mapping[str, Any]) -> str:
    """A JWKS of keys by name, without labels, or of JWKs."""
    return json.dumps({"keys": [public_jwk(key) if isinstance(key, str) else dict(key) for key in keys]})


@cache
def certificate_pem(name: str) -> str:
    """A self-signed certificate of the RSA key ``name``."""
    private = load_pem_private_key(_asymmetric(name).as_pem(private=True), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer of test tokens")])
    now = datetime.now(tz=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(private, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM).decode()


def subject_public_key(name: str) -> bytes:
    """The PEM bytes of the public key, as an attacker would use them for a shared secret."""
    private = load_pem_private_key(_asymmetric(name).as_pem(private=True), None)
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def sign(claims: Claims, *, key: str = "main", alg: str = "RS256", kid: str | None = None, **header: Any) -> str:
    """A signed token (RFC 7515 §3.1) of these claims."""
    protected = {"alg": alg, "typ": "JWT", **header} | ({} if kid is None else {"kid": kid})
    return sign_payload(json.dumps(claims, separators=(",", ":")).encode(), key=key, protected=protected)


def sign_payload(payload: bytes, *, key: str, protected: Mapping[str, Any]) -> str:
    """A signed token of these bytes, which need not be claims."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library would rather have EdDSA named Ed25519 (RFC 9864)
        return jws.serialize_compact(dict(protected), payload, signing_key(key), algorithms=[str(protected["alg"])])


def forge(header: Mapping[str, Any], claims: Claims, signature: bytes = b"") -> str:
    """A token with whatever header and signature."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64url(part) for part in parts)


def forge_hmac(claims: Claims, secret: bytes, **header: Any) -> str:
    """An HS256 token under this secret, whatever the secret is (RFC 8725 §2.1)."""
    unsigned = forge({"alg": "HS256", "typ": "JWT", **header}, claims).rpartition(".")[0]
    return f"{unsigned}.{base64url(hmac.digest(secret, unsigned.encode(), hashlib.sha256))}"


def break_signature(token: str) -> str:
    """The token with another byte in the middle of its signature."""
    head, _, signature = token.rpartition(".")
    middle = len(signature) // 2
    other = "A" if signature[middle] != "A" else "B"
    return f"{head}.{signature[:middle]}{other}{signature[middle + 1 :]}"


def base64url(data: bytes) -> str:
    """Unpadded base64url (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _asymmetric(name: str) -> RSAKey | ECKey | OKPKey:
    key = signing_key(name)
    assert not isinstance(key, OctKey)
    return key
