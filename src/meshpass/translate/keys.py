"""Public keys of a policy: PEM, certificate, JWK or JWKS text → the JSON Web Key Set that Envoy wants."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, RSAKey

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 16384
"""BoringSSL, Envoy's library, refuses longer moduli."""
MAX_RSA_EXPONENT_BITS = 32
MAX_TEXT = 256 * 1024
"""Characters; the largest key sets of real issuers have a tenth of it."""

MIN_SHARED_BYTES = 32

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_PEM_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,64})-----")
_ALGORITHMS = {
    "RSA": re.compile(r"(?:RS|PS)(?:256|384|512)"),
    "P-256": re.compile(r"ES256"),
    "P-384": re.compile(r"ES384"),
    "P-521": re.compile(r"ES512"),
    "Ed25519": re.compile(r"EdDSA"),
    "oct": re.compile(r"HS(?:256|384|512)"),
}
"""What signs with a key of each type or curve (decision 15)."""


class KeyTextError(ValueError):
    """Text that holds no usable public key; the message says why and never repeats the text."""


def read_key_set(text: str, *, shared_keys: bool = False) -> str:
    """A JWKS (RFC 7517 §5), in one form, with all public keys of ``text``. Raises KeyTextError.

    ``shared_keys`` accepts JWKs of type ``oct`` too, with which whoever verifies could sign as well.
    """
    if len(text) > MAX_TEXT:
        raise KeyTextError(f"is longer than {MAX_TEXT} characters")
    stripped = text.strip()
    keys = _read_json(stripped, shared_keys=shared_keys) if stripped.startswith("{") else _read_pem(stripped)
    if not keys:
        raise KeyTextError("holds no key that can verify a signature")
    return msgspec.json.encode({"keys": keys}, order="sorted").decode()


def _read_pem(text: str) -> list[dict[str, Any]]:
    if not text:
        raise KeyTextError("is empty")
    blocks = list(_pem_blocks(text))
    if not blocks:
        raise KeyTextError("is neither PEM nor JSON")
    return [_read_block(label, block) for label, block in blocks]


def _pem_blocks(text: str) -> Iterator[tuple[str, str]]:
    """Label and text of each block (RFC 7468 §2), in one pass over the text."""
    position = 0
    while (begin := _PEM_BEGIN.search(text, position)) is not None:
        end_line = f"-----END {begin.group(1)}-----"
        end = text.find(end_line, begin.end())
        if end < 0:
            raise KeyTextError(f"holds a PEM block {begin.group(1)} without an end")
        position = end + len(end_line)
        yield begin.group(1), text[begin.start() : position]


def _read_block(label: str, block: str) -> dict[str, Any]:
    if "PRIVATE KEY" in label:
        raise KeyTextError("holds a private key; give its public key, and replace the private one")
    try:
        if label == "CERTIFICATE":
            pem = _write_pem(x509.load_pem_x509_certificate(block.encode()).public_key())
        else:
            pem = _write_pem(serialization.load_pem_public_key(block.encode()))
    except Exception as error:
        raise KeyTextError(f"holds a PEM block {label} that cannot be read") from error
    for kind in ("RSA", "EC", "OKP"):
        try:
            return _public_jwk(JWKRegistry.import_key(pem, kind).as_dict(private=False))
        except KeyTextError:
            raise
        except (JoseError, ValueError, TypeError):
            continue
    raise KeyTextError("holds a key of a type that signs no tokens")


def _write_pem(public: CertificatePublicKeyTypes | PublicKeyTypes) -> bytes:
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def has_shared_key(key_set: str) -> bool:
    """True for a key set, as ``read_key_set`` returns it, with a key of type ``oct``."""
    return any(key["kty"] == "oct" for key in msgspec.json.decode(key_set)["keys"])


def _read_json(text: str, *, shared_keys: bool) -> list[dict[str, Any]]:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise KeyTextError("is no JSON") from error
    entries = value.get("keys", [value])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise KeyTextError("has a keys field that is no list of keys")
    # RFC 7517 §4.2: a key for encryption verifies nothing.
    return [
        _shared_jwk(entry) if shared_keys and entry.get("kty") == "oct" else _public_jwk(entry)
        for entry in entries
        if entry.get("use", "sig") == "sig"
    ]


def _shared_jwk(entry: Mapping[str, Any]) -> dict[str, Any]:
    value = entry.get("k")
    if not isinstance(value, str) or not _BASE64URL.fullmatch(value):
        raise KeyTextError("holds an oct key that cannot be read")
    if len(value) * 6 // 8 < MIN_SHARED_BYTES:
        raise KeyTextError(f"holds an oct key of under {MIN_SHARED_BYTES} bytes (RFC 7518 §3.2)")
    return {"kty": "oct", "k": value, **_labels(entry, {"kty": "oct"})}


def _public_jwk(entry: Mapping[str, Any]) -> dict[str, Any]:
    kind = entry.get("kty")
    if kind == "oct":
        raise KeyTextError("holds a shared secret (kty oct); those are accepted from a Secret only")
    if kind not in ("RSA", "EC", "OKP"):
        raise KeyTextError("holds a key whose kty is not RSA, EC or OKP")
    if "d" in entry:
        raise KeyTextError("holds a private key; give its public key, and replace the private one")
    try:
        members = dict(entry)
        key = JWKRegistry.import_key({name: members[name] for name in _members(kind)})
        public = dict(key.as_dict(private=False))
        if isinstance(key, RSAKey):
            _check_rsa(key)
    except KeyTextError:
        raise
    except Exception as error:  # whatever a library makes of hostile numbers, the policy is denied, not the process
        raise KeyTextError(f"holds a {kind} key that cannot be read") from error
    return {**{name: public[name] for name in _members(kind)}, **_labels(entry, public)}


def _members(kind: str) -> tuple[str, ...]:
    return {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")}[kind]


def _check_rsa(key: RSAKey) -> None:
    numbers = key.public_key.public_numbers()
    bits = numbers.n.bit_length()
    if bits < MIN_RSA_BITS:
        raise KeyTextError(f"holds an RSA key of {bits} bits; at least {MIN_RSA_BITS} are needed")
    if bits > MAX_RSA_BITS or numbers.e.bit_length() > MAX_RSA_EXPONENT_BITS:
        raise KeyTextError("holds an RSA key that is larger than Envoy accepts")
    if numbers.n % 2 == 0 or numbers.e % 2 == 0:
        raise KeyTextError("holds an RSA key with an even number in it, which no RSA key has")


def _labels(entry: Mapping[str, Any], public: Mapping[str, Any]) -> dict[str, str]:
    """``kid`` and ``alg``, which Envoy chooses keys by."""
    labels: dict[str, str] = {}
    family = str(public["crv"]) if "crv" in public else str(public["kty"])
    if family not in _ALGORITHMS:
        raise KeyTextError(f"holds a key on curve {family}, which Envoy does not verify")
    for name in ("kid", "alg"):
        value = entry.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise KeyTextError(f"holds a key whose {name} is no text")
        labels[name] = value
    if "alg" in labels and not _ALGORITHMS[family].fullmatch(labels["alg"]):
        raise KeyTextError("holds a key whose alg does not go with its type")
    if family == "Ed25519":
        # Envoy tries a key without alg on every token, and an Ed25519 key gives up on the first signature of another
        # algorithm before the other keys are tried.
        labels["alg"] = "EdDSA"
    return labels
