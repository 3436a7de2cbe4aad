"""Remote key sets: which keys of a server's answer are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from meshpass.jwks.failure import FetchError
from meshpass.translate.keys import KeyTextError, read_key_set

MAX_KEYS = 256
"""More would make the control plane and every Envoy calculate for long, and no issuer has so many."""

_SECRET_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""RFC 7518 §6.2.2, §6.3.2, §6.4.1 and RFC 8037 §2."""
_READ_MEMBERS = ("kty", "use", "kid", "alg", "n", "e", "crv", "x", "y")
_SHOWN_KID = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteKeys:
    """What is used of an answer, and in words what is not."""

    jwks: str
    """In the form of ``read_key_set``, sorted: a server that shuffles its keys has changed nothing."""
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLabel:
    """What may be shown of a key."""

    kid: str | None
    kty: str
    alg: str | None


def read_remote_keys(body: bytes) -> RemoteKeys:
    """The usable public keys of a JWKS (RFC 7517 §5). Raises FetchError if it is none, or holds no usable key.

    Keys for encryption are passed over in silence. Keys that cannot be used (unknown or weak, shared secrets, and public
    halves that came with their private ones) are named in ``skipped``, and do not spoil the others.
    """
    usable: dict[str, dict[str, Any]] = {}
    skipped: list[str] = []
    for number, entry in enumerate(_entries(body), start=1):
        name = _name(entry, number)
        if _is_for_encryption(entry):
            continue
        if not _SECRET_MEMBERS.isdisjoint(entry):
            skipped.append(f"{name} is published with its secret part")
            continue
        try:
            key = _read_one(entry)
        except KeyTextError as error:
            skipped.append(f"{name} is not used: the set {error}")
            continue
        usable[msgspec.json.encode(key, order="sorted").decode()] = key
    if not usable:
        raise FetchError("the answer holds no key that can verify a signature" + describe_skipped(skipped))
    return RemoteKeys(jwks=_write([usable[text] for text in sorted(usable)]), skipped=tuple(skipped))


def describe_skipped(skipped: list[str] | tuple[str, ...]) -> str:
    """The first three, for the end of a sentence; empty for none."""
    if not skipped:
        return ""
    more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    return f" ({'; '.join(skipped[:3])}{more})"


def key_labels(jwks: str) -> tuple[KeyLabel, ...]:
    """What may be shown of a set in the form of ``read_key_set``."""
    keys = msgspec.json.decode(jwks)["keys"]
    return tuple(KeyLabel(kid=key.get("kid"), kty=key["kty"], alg=key.get("alg")) for key in keys)


def _entries(body: bytes) -> list[dict[str, Any]]:
    try:
        value = msgspec.json.decode(body.decode("utf-8-sig"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FetchError("the answer is no JSON") from error
    entries = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FetchError("the answer is no JSON Web Key Set")
    if len(entries) > MAX_KEYS:
        raise FetchError(f"the answer holds more than {MAX_KEYS} keys")
    return entries


def _is_for_encryption(entry: Mapping[str, Any]) -> bool:
    operations = entry.get("key_ops")
    return entry.get("use", "sig") != "sig" or (isinstance(operations, list) and "verify" not in operations)


def _name(entry: Mapping[str, Any], number: int) -> str:
    kid = entry.get("kid")
    if isinstance(kid, str) and kid.isprintable() and 0 < len(kid) <= _SHOWN_KID:
        return f"key {kid}"
    return f"key number {number}"


def _read_one(entry: Mapping[str, Any]) -> dict[str, Any]:
    members = {name: entry[name] for name in _READ_MEMBERS if name in entry}
    read = msgspec.json.decode(read_key_set(_write([members])))["keys"][0]
    return dict(read)


def _write(keys: list[dict[str, Any]]) -> str:
    return msgspec.json.encode({"keys": keys}, order="sorted").decode()
