"""Selector: the label and field selectors of lists and watches, with Kubernetes' grammar."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from meshpass.apiserver.cause import render_value
from meshpass.apiserver.names import label_value_faults, qualified_name_faults
from meshpass.apiserver.resource import Resource
from meshpass.apiserver.status import bad_request

_TOKEN = re.compile(r"\s*(?:(?P<op>==|!=|=|!|>|<|\(|\)|,)|(?P<word>[^\s=!><(),]+))")
_GENERIC_FIELDS = frozenset({"metadata.name", "metadata.namespace"})


@dataclass(frozen=True, slots=True)
class Requirement:
    """One comma-separated part of a label selector. ``operator``: in, notin, exists, !, gt, lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, Any]) -> bool:
        """Kubernetes' rule: ``!=`` and ``notin`` also hold for objects without the label."""
        match self.operator:
            case "exists":
                return self.key in labels
            case "!":
                return self.key not in labels
            case "in":
                return labels.get(self.key) in self.values
            case "notin":
                return self.key not in labels or labels[self.key] not in self.values
            case _:
                return self._compares(labels.get(self.key))

    def _compares(self, value: Any) -> bool:
        (bound,) = self.values
        try:
            return int(value) > int(bound) if self.operator == "gt" else int(value) < int(bound)
        except (TypeError, ValueError):
            return False


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """``path = value`` or, with ``equal`` False, ``path != value``."""

    path: str
    value: str
    equal: bool

    def matches(self, value: Mapping[str, Any]) -> bool:
        """An absent field is equal to the empty string."""
        return (_field(value, self.path) == self.value) is self.equal


@dataclass(frozen=True, slots=True)
class Selector:
    """Holds for an object when every requirement does; without requirements for every object."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[FieldRequirement, ...] = ()

    def __bool__(self) -> bool:
        """True when there is something to check, so that bodies need decoding."""
        return bool(self.labels or self.fields)

    def matches(self, value: Mapping[str, Any]) -> bool:
        """``value`` is a decoded object."""
        if self.labels:
            labels = value["metadata"].get("labels") or {}
            if not all(requirement.matches(labels) for requirement in self.labels):
                return False
        return all(requirement.matches(value) for requirement in self.fields)


def parse_selector(resource: Resource, label_selector: str, field_selector: str) -> Selector:
    """Both selectors of a request. Raises StatusError 400 in Kubernetes' words when one cannot be used."""
    return Selector(parse_label_selector(label_selector), _parse_field_selector(resource, field_selector))


def parse_label_selector(text: str) -> tuple[Requirement, ...]:
    """``a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1``. Raises StatusError 400."""
    tokens = _tokens(text)
    parser = _LabelParser(text, tokens)
    requirements = []
    while parser.peek():
        requirements.append(parser.requirement())
        if parser.peek():
            parser.expect(",")
            if not parser.peek():
                raise parser.error("found '', expected: identifier after ','")
    return tuple(requirements)


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    stripped = text.rstrip()
    while position < len(stripped):
        found = _TOKEN.match(stripped, position)
        if found is None:  # pragma: no cover - the two alternatives cover every character
            raise bad_request(f"unable to parse requirement: {stripped[position:]!r}")
        tokens.append(found["op"] or found["word"])
        position = found.end()
    return tokens


class _LabelParser:
    """Recursive descent over the tokens of one label selector."""

    _OPERATORS: Mapping[str, str] = {"=": "in", "==": "in", "!=": "notin", ">": "gt", "<": "lt"}

    def __init__(self, text: str, tokens: list[str]) -> None:
        self._text = text
        self._tokens = tokens
        self._position = 0

    def error(self, why: str) -> Exception:
        return bad_request(f"unable to parse requirement: {why}")

    def peek(self) -> str:
        return self._tokens[self._position] if self._position < len(self._tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self._position += 1
        return token

    def expect(self, wanted: str) -> None:
        token = self.take()
        if token != wanted:
            raise self.error(f"found '{token}', expected: '{wanted}'")

    def requirement(self) -> Requirement:
        if self.peek() == "!":
            self.take()
            return Requirement(self._key(), "!")
        key = self._key()
        operator = self.peek()
        if operator in {"", ","}:
            return Requirement(key, "exists")
        self.take()
        if operator in {"in", "notin"}:
            return Requirement(key, operator, self._set())
        if operator not in self._OPERATORS:
            raise self.error(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")
        value = "" if self.peek() in {"", ","} else self.take()
        return Requirement(key, self._OPERATORS[operator], frozenset({self._value(key, value)}))

    def _key(self) -> str:
        key = self.take()
        faults = qualified_name_faults(key)
        if faults:
            raise self.error(f"<nil>: Invalid value: {render_value(key)}: {'; '.join(faults)}")
        return key

    def _value(self, key: str, value: str) -> str:
        faults = label_value_faults(value)
        if faults:
            raise self.error(f"values[0][{key}]: Invalid value: {render_value(value)}: {'; '.join(faults)}")
        return value

    def _set(self) -> frozenset[str]:
        self.expect("(")
        values: set[str] = set()
        while True:
            values.add("" if self.peek() in {",", ")"} else self._value("", self.take()))
            match self.take():
                case ")":
                    return frozenset(values)
                case ",":
                    continue
                case other:
                    raise self.error(f"found '{other}', expected: ',' or ')'")


def _parse_field_selector(resource: Resource, text: str) -> tuple[FieldRequirement, ...]:
    allowed = _GENERIC_FIELDS.union(resource.selectable_fields)
    requirements = []
    for part in re.split(r"(?<!\\),", text):
        if not part:
            continue
        found = re.fullmatch(r"((?:[^=!\\]|\\.)*)(!=|==|=)((?:[^=\\]|\\.)*)", part)
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        path, operator, value = found.groups()
        if path not in allowed:
            raise bad_request(f"field label not supported: {path}")
        requirements.append(FieldRequirement(path, re.sub(r"\\(.)", r"\1", value), operator != "!="))
    return tuple(requirements)


def _event_source(value: Mapping[str, Any]) -> Any:
    source = value.get("source")
    component = source.get("component") if isinstance(source, Mapping) else None
    return component or value.get("reportingComponent")


_SPECIAL: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {"source": _event_source}


def _field(value: Mapping[str, Any], path: str) -> str:
    if path in _SPECIAL:
        return str(_SPECIAL[path](value) or "")
    current: Any = value
    for part in path.split("."):
        current = current.get(part) if isinstance(current, Mapping) else None
    match current:
        case None:
            return ""
        case bool():
            return "true" if current else "false"
        case _:
            return str(current)
