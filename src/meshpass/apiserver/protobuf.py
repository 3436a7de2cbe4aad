r"""Kubernetes' protobuf bodies as JSON values: kubectl ≥ 1.32 sends what it creates of core kinds in no other form.

The envelope is ``k8s\0`` and a ``runtime.Unknown`` message. A field that ``protobuffields`` does not know is an error, never
dropped: the client would believe that it was stored.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from meshpass.apiserver.protobuffields import MESSAGES, ROOTS, FieldType
from meshpass.apiserver.status import bad_request, unsupported_media_type

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_DEPTH_LIMIT = 32


def parse_protobuf(body: bytes) -> dict[str, Any]:
    """The object in a body. Raises StatusError: 400 for bytes that are no envelope, 415 for what is not in the tables."""
    if not body.startswith(_MAGIC):
        raise bad_request("error decoding protobuf: the body does not start with the prefix k8s")
    try:
        envelope = dict(_fields(body[len(_MAGIC) :]))
        type_meta = {number: _text(value) for number, value in _fields(_bytes(envelope.get(1, b"")))}
        version, kind = type_meta.get(1, ""), type_meta.get(2, "")
        message = ROOTS.get((version, kind))
        if message is None:
            raise _not_known(f"{kind} of {version}")
        value = _message(message, _bytes(envelope.get(2, b"")), 0)
    except (ValueError, IndexError, OSError, OverflowError) as error:  # OSError: a time beyond the platform's
        raise bad_request(f"error decoding protobuf: {error}") from error
    return {"apiVersion": version, "kind": kind, **value}


def _message(name: str, body: bytes, depth: int) -> dict[str, Any]:
    if depth > _DEPTH_LIMIT:
        raise ValueError("nested too deep")
    known = MESSAGES[name]
    result: dict[str, Any] = {}
    for number, wire in _fields(body):
        if number not in known:
            raise _not_known(f"field {number} of {name}")
        json_name, field_type = known[number]
        if field_type.map:
            entry = dict(_fields(_bytes(wire)))
            held = entry.get(2, b"")
            result.setdefault(json_name, {})[_text(entry.get(1, b""))] = _scalar(field_type, held, depth)
        elif field_type.repeated:
            result.setdefault(json_name, []).append(_scalar(field_type, wire, depth))
        else:
            value = _scalar(field_type, wire, depth)
            # Go writes zero values of fields that JSON leaves out when they are empty.
            if field_type.keep_zero or value not in ("", 0, {}, None):
                result[json_name] = value
    return result


def _scalar(field_type: FieldType, wire: int | bytes, depth: int) -> Any:
    match field_type.name:
        case "string":
            return _text(wire)
        case "bytes":
            return base64.b64encode(_bytes(wire)).decode()
        case "int":
            return _signed(wire)
        case "bool":
            return _signed(wire) != 0
        case "time" | "microtime":
            return _time(_bytes(wire), micro=field_type.name == "microtime")
        case "intorstring":
            parts = dict(_fields(_bytes(wire)))
            return _text(parts.get(3, b"")) if parts.get(1) else _signed(parts.get(2, 0))
        case "quantity":
            return _text(dict(_fields(_bytes(wire))).get(1, b""))
        case "json":
            return _json(_bytes(dict(_fields(_bytes(wire))).get(1, b"")))
        case message:
            return _message(message, _bytes(wire), depth + 1)


def _fields(body: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(body):
        tag, position = _varint(body, position)
        match tag & 7:
            case 0:
                value, position = _varint(body, position)
                yield tag >> 3, value
            case 2:
                length, position = _varint(body, position)
                if length > len(body) - position:
                    raise ValueError("unexpected end of the body")
                yield tag >> 3, body[position : position + length]
                position += length
            case other:
                raise ValueError(f"wire type {other} is not used by Kubernetes")


def _varint(body: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, position
    raise ValueError("varint is longer than ten bytes")


def _signed(wire: int | bytes) -> int:
    if not isinstance(wire, int):
        raise ValueError("a number is expected")  # noqa: TRY004 - one exception for every malformed body
    return wire - (1 << 64) if wire >= 1 << 63 else wire


def _bytes(wire: int | bytes) -> bytes:
    if not isinstance(wire, bytes):
        raise ValueError("a length-delimited field is expected")  # noqa: TRY004
    return wire


def _text(wire: int | bytes) -> str:
    return _bytes(wire).decode()


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body) if body else {}
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error


def _time(body: bytes, *, micro: bool) -> str | None:
    parts = dict(_fields(body))
    if not parts:
        return None
    moment = datetime.fromtimestamp(_signed(parts.get(1, 0)), UTC)
    if not micro:
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return moment.replace(microsecond=_signed(parts.get(2, 0)) // 1000).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _not_known(what: str) -> Exception:
    return unsupported_media_type(
        (), why=f"{what} is not read as protobuf here; send application/json (a manifest with -f)"
    )
