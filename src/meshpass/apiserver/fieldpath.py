"""Path elements: one step from an object, map or list into it, in the notation of ``FieldsV1``.

``f:name`` is a field, ``k:{"port":80}`` the item of a list with these keys, ``v:"a"`` the item of a set, ``i:0`` the item
at an index (meta.k8s.io/v1 FieldsV1). The text is canonical: equal steps are equal strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

FIELD: Final = "f:"
_KEY: Final = "k:"
_VALUE: Final = "v:"
_INDEX: Final = "i:"
_RANKS: Final = (FIELD, _KEY, _VALUE, _INDEX)
_LONGEST_INDEX: Final = 9


def field_element(name: str) -> str:
    """The field of that name."""
    return f"{FIELD}{name}"


def key_element(keys: Mapping[str, Any]) -> str:
    """The item of a list whose key fields have these values."""
    return f"{_KEY}{_json(dict(keys))}"


def value_element(value: Any) -> str:
    """The item of a set that is this value."""
    return f"{_VALUE}{_json(value)}"


def parse_element(text: str) -> str:
    """The canonical form of an element that somebody else wrote. Raises ValueError for what is none."""
    kind, rest = text[:2], text[2:]
    if kind == FIELD:
        return text
    if kind == _INDEX:
        if not (rest.isascii() and rest.isdecimal() and len(rest) <= _LONGEST_INDEX):
            raise ValueError(f"not an index: {text[:80]}")
        return f"{_INDEX}{int(rest)}"
    if kind not in {_KEY, _VALUE}:
        raise ValueError(f"unknown path element type: {text[:80]}")
    try:
        value = msgspec.json.decode(rest)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise ValueError(f"not a path element: {text[:80]}") from error
    scalars = value.values() if kind == _KEY and isinstance(value, dict) else (value,)
    if any(isinstance(item, (dict, list)) for item in scalars):
        raise ValueError(f"not a path element: {text[:80]}")
    if kind == _KEY and not isinstance(value, dict):
        raise ValueError(f"not the keys of an item: {text[:80]}")
    return f"{kind}{_json(value)}"


def element_order(element: str) -> tuple[int, str]:
    """Sorts fields first, then keys, values and indices."""
    return _RANKS.index(element[:2]), element


def show_path(path: Iterable[str]) -> str:
    """The path as conflicts name it: ``.spec.ports[port=80,protocol="TCP"].name``."""
    return "".join(map(_show, path))


def _show(element: str) -> str:
    rest = element[2:]
    match element[:2]:
        case "f:":
            return f".{rest}"
        case "k:":
            return f"[{','.join(f'{name}={_json(value)}' for name, value in msgspec.json.decode(rest).items())}]"
        case "v:":
            return f"[={rest}]"
        case _:
            return f"[{rest}]"


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
