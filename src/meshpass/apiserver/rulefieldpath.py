"""The ``fieldPath`` of a rule: which field below the rule's value is named as the wrong one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_STEP: Final = re.compile(r"\.(?P<name>[^.\[\]]+)|\['(?P<quoted>(?:[^'\\]|\\.)*)'\]")
_ESCAPED: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"}


class FieldPathError(ValueError):
    """A path that is none, or names no field of the schema; the message says why."""


def field_path(text: str, schema: Mapping[str, Any]) -> str:
    """The path as errors print it: ``.a.b``, and ``[key]`` for entries of a map. Raises FieldPathError."""
    path, here, position = "", schema, 0
    while position < len(text):
        step = _STEP.match(text, position)
        if step is None:
            raise FieldPathError(f"expected [ or . but got: {text[position:]}")
        name = step["name"] if step["name"] is not None else _unquoted(step["quoted"])
        properties, others = here.get("properties"), here.get("additionalProperties")
        if isinstance(properties, Mapping) and isinstance(properties.get(name), Mapping):
            path, here = f"{path}.{name}", properties[name]
        elif not properties and isinstance(others, Mapping):
            path, here = f"{path}[{name}]", others
        else:
            raise FieldPathError("does not refer to a valid field")
        position = step.end()
    return path


def _unquoted(text: str) -> str:
    def character(found: re.Match[str]) -> str:
        if found[1] not in _ESCAPED:
            raise FieldPathError(f"invalid string literal: invalid escape char {found[0]}")
        return _ESCAPED[found[1]]

    return re.sub(r"\\(.)", character, text)
