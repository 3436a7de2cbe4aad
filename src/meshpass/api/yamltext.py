"""YAML and JSON text → plain values of JSON.

Built from the parser's events rather than by PyYAML's loader, which accepts repeated keys, makes dates of strings,
reads ``12:30`` as a number, and recurses on the C stack until the process dies.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from meshpass.errors import ManifestError

MAX_DEPTH = 200
MAX_VALUES = 2_000_000
"""Values in one text, aliases counted as often as they are used."""

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})
_FALSE = frozenset({"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_BASED_INT = re.compile(r"([-+]?)0([xob]?)([0-9a-fA-F]+)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?")
_BASES = {"x": 16, "o": 8, "b": 2, "": 8}
_MAX_DIGITS = 100
_HALF_PAIR = "the text holds half of a surrogate pair"
_TAG = "tag:yaml.org,2002:"


def load_values(text: str) -> Iterator[Any]:
    """The documents of ``text`` in order, empty ones left out. ManifestError with the line for what is no YAML or JSON.

    Plain scalars follow YAML 1.1 as kubectl does (``yes`` is true), except that dates and base 60 stay text.
    """
    if text.lstrip()[:1] == "{":
        try:
            value = json.loads(
                text, object_pairs_hook=_object_of_pairs, parse_constant=_no_number, parse_float=_finite_number
            )
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ManifestError(_HALF_PAIR) from None
        except RecursionError:
            raise ManifestError(f"nested deeper than {MAX_DEPTH} levels") from None
        except ValueError:
            pass  # several documents, or YAML's flow style
        else:
            yield value
            return
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.add(event)
            if isinstance(event, yaml.DocumentEndEvent) and builder.root is not None:
                yield builder.root
    except yaml.YAMLError as error:
        raise ManifestError(_yaml_problem(error)) from None
    except UnicodeEncodeError:
        raise ManifestError(_HALF_PAIR) from None


def _object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ManifestError(f"key {repeated!r} is there twice")
    return made


def _no_number(text: str) -> None:
    raise ManifestError(f"{text} is no JSON number")


def _finite_number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        _no_number(text)
    return number


def _yaml_problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem or error.context}"
    return str(error)


@dataclass(slots=True)
class _Open:
    """A list or object whose end has not come yet."""

    value: list[Any] | dict[str, Any]
    anchor: str | None
    size_before: int
    key: str | None = None
    """The key whose value comes next."""
    merged: list[dict[str, Any]] = field(default_factory=list)
    merge_next: bool = False


class _Builder:
    """Makes values of events; ``root`` is the value of the document that has ended last."""

    def __init__(self) -> None:
        self.root: Any = None
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._size = 0

    def add(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self.root, self._stack, self._anchors, self._size = None, [], {}, 0
            case yaml.MappingStartEvent():
                self._open({}, event)
            case yaml.SequenceStartEvent():
                self._open([], event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close(event)
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.AliasEvent():
                if event.anchor not in self._anchors:
                    raise _error(event, f"alias *{event.anchor} refers to nothing before it")
                value, size = self._anchors[event.anchor]
                self._put(value, size, event)

    def _open(self, value: list[Any] | dict[str, Any], event: yaml.NodeEvent) -> None:
        tag = getattr(event, "tag", None)
        if tag not in {None, "!", f"{_TAG}map", f"{_TAG}seq"}:
            raise _error(event, f"tag {tag} is not allowed")
        if len(self._stack) >= MAX_DEPTH:
            raise _error(event, f"nested deeper than {MAX_DEPTH} levels")
        if self._stack and isinstance(self._stack[-1].value, dict) and not self._expects_value(self._stack[-1]):
            raise _error(event, "a key must be text")
        self._stack.append(_Open(value=value, anchor=event.anchor, size_before=self._size))

    def _close(self, event: yaml.Event) -> None:
        ended = self._stack.pop()
        if isinstance(ended.value, dict):
            for source in ended.merged:
                for key, item in source.items():
                    ended.value.setdefault(key, item)
        size = self._size - ended.size_before + 1
        if ended.anchor is not None:
            self._anchors[ended.anchor] = (ended.value, size)
        self._put(ended.value, 1, event)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        parent = self._stack[-1] if self._stack else None
        if parent is not None and isinstance(parent.value, dict) and not self._expects_value(parent):
            self._key(parent, parent.value, event)
            return
        value = _scalar_value(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        self._put(value, 1, event)

    @staticmethod
    def _expects_value(parent: _Open) -> bool:
        return parent.key is not None or parent.merge_next

    @staticmethod
    def _key(parent: _Open, value: dict[str, Any], event: yaml.ScalarEvent) -> None:
        if event.value == "<<" and event.implicit[0]:
            parent.merge_next = True
            return
        key = _key_text(_scalar_value(event))
        if key is None:
            raise _error(event, "a key must be text")
        if key in value:
            raise _error(event, f"key {key!r} is there twice")
        parent.key = key

    def _put(self, value: Any, size: int, event: yaml.Event) -> None:
        self._size += size
        if self._size > MAX_VALUES:
            raise _error(event, f"more than {MAX_VALUES} values, aliases written out")
        if not self._stack:
            self.root = value
            return
        parent = self._stack[-1]
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.merge_next:
            parent.merge_next = False
            sources = value if isinstance(value, list) else [value]
            if not all(isinstance(source, dict) for source in sources):
                raise _error(event, "<< needs an object or a list of objects")
            parent.merged.extend(sources)
        elif parent.key is None:  # an alias in the place of a key
            raise _error(event, "a key must be text")
        else:
            parent.value[parent.key] = value
            parent.key = None


def _error(event: yaml.Event, problem: str) -> ManifestError:
    mark = getattr(event, "start_mark", None)
    return ManifestError(f"line {mark.line + 1}: {problem}" if mark is not None else problem)


def _key_text(value: Any) -> str | None:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            return None


def _scalar_value(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    tag = event.tag
    if tag is None:
        return _plain_value(text) if event.implicit[0] else text
    if tag in {"!", f"{_TAG}str"}:
        return text
    if tag in {f"{_TAG}{name}" for name in ("int", "float", "bool", "null")}:
        value = _plain_value(text)
        if not isinstance(value, str):
            return value
        raise _error(event, f"{text!r} is no {tag.removeprefix(_TAG)}")
    raise _error(event, f"tag {tag} is not allowed")


def _plain_value(text: str) -> Any:
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if len(text) > _MAX_DIGITS or not (text[0].isdigit() or text[0] in "+-."):
        return text
    if _INT.fullmatch(text):
        return int(text)
    if based := _BASED_INT.fullmatch(text):
        sign, base, digits = based.groups()
        try:
            return int(sign + digits, _BASES[base])
        except ValueError:
            return float(text) if _FLOAT.fullmatch(text) else text
    number = float(text) if _FLOAT.fullmatch(text) else None
    # Beyond the range of a double there is no JSON number: the text stays what it is.
    return text if number is None or math.isinf(number) else number
