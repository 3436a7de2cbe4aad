"""JSON values as the Common Expression Language sees them through their schema.

Most values are what they are. A ``number`` is a double even where it is whole, times and bytes are no text, a null field
is no field, and a field whose name is no identifier has an escaped one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from meshpass.apiserver.rulename import identifier
from meshpass.apiserver.ruletypes import as_duration, as_timestamp, with_object_meta

Converter = Callable[[Any], Any]

_NANOSECONDS: Final = {
    "h": 3600 * 10**9,
    "m": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ns": 1,
}
_PART: Final = re.compile(r"(\d*\.?\d+)(h|ms|m|s|us|µs|μs|ns)")


def converter(schema: Any, *, is_root: bool = False) -> Converter | None:
    """What makes of a value of this schema what expressions see; ``None`` if that is the value itself."""
    if not isinstance(schema, Mapping) or schema.get("x-kubernetes-int-or-string"):
        return None
    match schema.get("type"):
        case "array":
            return _list_converter(converter(schema.get("items")))
        case "object" if isinstance(schema.get("additionalProperties"), Mapping):
            return _map_converter(converter(schema["additionalProperties"]))
        case "object":
            return _object_converter(with_object_meta(schema) if is_root else schema)
        case "number":
            return _double
        case "integer":
            return _integer
        case "string":
            return _TEXT_CONVERTERS.get(schema.get("format", ""))
        case _:
            return None


def _list_converter(convert: Converter | None) -> Converter | None:
    if convert is None:
        return None
    return lambda value: [convert(item) for item in value] if isinstance(value, list) else value


def _map_converter(convert: Converter | None) -> Converter | None:
    if convert is None:
        return None
    return lambda value: {key: convert(item) for key, item in value.items()} if isinstance(value, dict) else value


def _object_converter(schema: Mapping[str, Any]) -> Converter | None:
    properties: Mapping[str, Any] = schema.get("properties") or {}
    changed: dict[str, tuple[str, Converter | None, bool]] = {}
    for name, inner in properties.items():
        embedded = isinstance(inner, Mapping) and bool(inner.get("x-kubernetes-embedded-resource"))
        called, convert = identifier(name), converter(inner, is_root=embedded)
        nullable = isinstance(inner, Mapping) and bool(inner.get("nullable"))
        if called is not None and (convert is not None or nullable or called != name):
            changed[name] = called, convert, nullable
    if not changed:
        return None

    def convert_object(value: Any) -> Any:
        if not isinstance(value, dict) or changed.keys().isdisjoint(value):
            return value
        seen = dict(value)
        for name, (called, convert, nullable) in changed.items():
            if name in value:
                item = seen.pop(name)
                if item is not None or not nullable:
                    seen[called] = item if convert is None or item is None else convert(item)
        return seen

    return convert_object


def _double(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _integer(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _bytes(value: Any) -> Any:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else value
    except binascii.Error:
        return value


def _timestamp(value: Any) -> Any:
    try:
        return as_timestamp(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _duration(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    sign = -1 if value.startswith("-") else 1
    parts = _PART.findall(value)
    return as_duration(sign * sum(round(float(number) * _NANOSECONDS[unit]) for number, unit in parts))


_TEXT_CONVERTERS: Final[Mapping[str, Converter]] = {
    "byte": _bytes,
    "date": _timestamp,
    "date-time": _timestamp,
    "duration": _duration,
}
