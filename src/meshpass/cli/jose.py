"""Tokens and keys, as the commands make and read them."""

from __future__ import annotations

import base64
import binascii
import json
import warnings
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from meshpass.errors import MeshpassError

PrivateKey: TypeAlias = RSAKey | ECKey | OKPKey

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_RSA_BITS = 2048


class Algorithm(Enum):
    """Signature algorithms that JWTPolicy accepts (RFC 7518 §3.1, RFC 8037)."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    EDDSA = "EdDSA"


def generate_key(algorithm: Algorithm) -> PrivateKey:
    """A new private key for the algorithm; RSA keys have 2048 bits."""
    if algorithm is Algorithm.EDDSA:
        return OKPKey.generate_key("Ed25519")
    for curve, name in _CURVES.items():
        if name == algorithm.value:
            return ECKey.generate_key(curve)
    return RSAKey.generate_key(_RSA_BITS)


def read_key(text: bytes) -> PrivateKey:
    """The key in a PEM or JWK text, private or public: RSA, EC or Ed25519. Raises MeshpassError for any other text.

    No message contains any of the text: it may be a private key.
    """
    try:
        key = import_key(json.loads(text)) if text.lstrip().startswith(b"{") else _read_pem(text)
    except (JoseError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MeshpassError(
            "the key is no readable PEM or JWK",
            hint="`meshpass token key create FILE` makes one; encrypted keys have to be decrypted first",
        ) from error
    if isinstance(key, RSAKey | ECKey | OKPKey):
        return key
    raise MeshpassError("a symmetric key signs for nobody but who can verify", hint="use an RSA, EC or Ed25519 key")


def _read_pem(text: bytes) -> PrivateKey:
    loaded: Any
    if b"PRIVATE KEY" in text:
        loaded = serialization.load_pem_private_key(text, password=None)
    else:
        loaded = serialization.load_pem_public_key(text)
    match loaded:
        case rsa.RSAPrivateKey() | rsa.RSAPublicKey():
            return RSAKey.import_key(loaded)
        case ec.EllipticCurvePrivateKey() | ec.EllipticCurvePublicKey():
            return ECKey.import_key(loaded)
        case ed25519.Ed25519PrivateKey() | ed25519.Ed25519PublicKey():
            return OKPKey.import_key(loaded)
        case _:
            raise MeshpassError("this kind of key signs no tokens", hint="use an RSA, EC or Ed25519 key")


def algorithms_of(key: PrivateKey) -> tuple[str, ...]:
    """What the key can sign with; the first is what it does unless told."""
    match key:
        case RSAKey():
            return _RSA
        case ECKey():
            return tuple(name for curve, name in _CURVES.items() if curve == key.curve_name)
        case OKPKey():
            return ("EdDSA",)


def sign_token(
    key: PrivateKey, claims: Mapping[str, Any], *, algorithm: Algorithm | None = None, kid: str | None = None
) -> str:
    """A signed token with exactly these claims. Raises MeshpassError where the key cannot sign with the algorithm."""
    possible = algorithms_of(key)
    chosen = possible[0] if algorithm is None and possible else (algorithm.value if algorithm else "")
    if chosen not in possible:
        raise MeshpassError(
            f"{chosen or 'nothing'} does not go with this {key.key_type} key",
            hint=f"it signs with {', '.join(possible) or 'no algorithm that JWTPolicy accepts'}",
        )
    if not key.is_private:
        raise MeshpassError("this is a public key", hint="a token is signed with the private one")
    header = {"alg": chosen, "typ": "JWT"} | ({} if kid is None else {"kid": kid})
    with warnings.catch_warnings():
        # RFC 9864 renamed EdDSA; Envoy knows the old name only.
        warnings.simplefilter("ignore")
        return jwt.encode(header, dict(claims), key, algorithms=[chosen])


def decode_token(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and payload as they stand in the token: nothing is verified. Raises MeshpassError for what is no JWT."""
    parts = token.strip().split(".")
    if len(parts) != 3:
        raise MeshpassError(f"a JWT has three parts between dots, this has {len(parts)}")
    decoded = [_decode_part(part, name) for part, name in zip(parts, ("header", "payload"), strict=False)]
    return decoded[0], decoded[1]


def _decode_part(part: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError) as error:
        raise MeshpassError(f"the {name} is no base64url of JSON") from error
    if not isinstance(value, dict):
        raise MeshpassError(f"the {name} is no JSON object")
    return value


def private_pem(key: PrivateKey) -> bytes:
    """PKCS #8, not encrypted."""
    return key.as_pem(private=True)


def public_pem(key: PrivateKey) -> str:
    """SubjectPublicKeyInfo: what ``local.inline`` of a JWTPolicy takes."""
    return key.as_pem(private=False).decode()


def public_key_set(key: PrivateKey, kid: str | None) -> dict[str, Any]:
    """A JWKS with the public key; its ``kid`` is the key's thumbprint (RFC 7638) unless said."""
    algorithms = algorithms_of(key)
    fields: dict[str, Any] = {"use": "sig", "kid": kid or key.thumbprint()}
    if len(algorithms) == 1:
        fields["alg"] = algorithms[0]
    return {"keys": [key.as_dict(private=False, **fields)]}
