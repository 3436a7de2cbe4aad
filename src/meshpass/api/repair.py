"""Repair: what is left of a manifest when everything that its type refuses is taken out.

The walk follows the type, not the data, so it ends on any data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import inspect

from meshpass.api.fieldpath import unknown_field
from meshpass.api.struct import OneOfStruct, only_one_of, wire_names

Json = Any


LARGEST: Final = 1.7976931348623157e308
"""The largest double."""


class _Dropped:
    """The type of DROPPED."""


DROPPED: Final = _Dropped()
"""Stands for a value of which nothing could be kept."""


def repair(value: Json, struct: type[msgspec.Struct], path: str, problems: list[str]) -> Json | _Dropped:
    """The part of ``value`` that decodes as ``struct``; for each part that does not, one problem is appended.

    A ``null`` is taken out without a problem, as Kubernetes prunes it. All members of a broken one-of group go, since
    none is the right one. Where a required field is lost, the object goes, and so on upwards; DROPPED if all is lost.
    """
    return _repair_struct(value, _struct_type(struct), path, problems)


@cache
def _struct_type(struct: type[msgspec.Struct]) -> inspect.StructType:
    found = inspect.type_info(struct)
    if not isinstance(found, inspect.StructType):  # pragma: no cover - type_info of a Struct is a StructType
        raise TypeError(f"{struct} is no struct")
    return found


def _repair(value: Json, kind: inspect.Type, path: str, problems: list[str]) -> Json | _Dropped:
    match kind:
        case inspect.Metadata():
            return _repair(value, kind.type, path, problems)
        case inspect.StructType():
            return _repair_struct(value, kind, path, problems)
        case inspect.DictType():
            return _repair_map(value, kind, path, problems)
        case inspect.VarTupleType():
            return _repair_list(value, kind, path, problems)
        case inspect.UnionType():
            return _repair_union(value, kind, path, problems)
        case _:
            problem = _leaf_problem(value, kind)
            return value if problem is None else _drop(path, problem, problems)


def _drop(path: str, problem: str, problems: list[str]) -> _Dropped:
    problems.append(f"{path}: {problem}" if path else problem)
    return DROPPED


def _repair_struct(value: Json, kind: inspect.StructType, path: str, problems: list[str]) -> Json | _Dropped:
    if not isinstance(value, Mapping):
        return _drop(path, f"expected object, got {json_type(value)}", problems)
    fields = {field.encode_name: field for field in kind.fields}
    kept: dict[str, Json] = {}
    for name, item in value.items():
        field = fields.get(name) if isinstance(name, str) else None
        inner = f"{path}.{name}" if path else str(name)
        if field is None:
            if kind.forbid_unknown_fields:
                problems.append(unknown_field(inner, str(name), fields))
        elif item is not None:
            repaired = _repair(item, field.type, inner, problems)
            if repaired is not DROPPED:
                kept[name] = repaired
    _drop_conflicts(kept, kind.cls, path, problems)
    missing = [name for name, field in fields.items() if field.required and name not in kept]
    for name in missing:
        if value.get(name) is None:
            _drop(f"{path}.{name}" if path else name, "required", problems)
    return DROPPED if missing else kept


def _drop_conflicts(kept: dict[str, Json], struct: type[msgspec.Struct], path: str, problems: list[str]) -> None:
    if not issubclass(struct, OneOfStruct):
        return
    names = wire_names(struct)
    for group in struct.one_of:
        present = [names[name] for name in group if names[name] in kept and kept[names[name]] != []]
        if len(present) > 1:
            _drop(path, only_one_of(tuple(present)), problems)
            for name in present:
                del kept[name]


def _repair_map(value: Json, kind: inspect.DictType, path: str, problems: list[str]) -> Json | _Dropped:
    if not isinstance(value, Mapping):
        return _drop(path, f"expected object, got {json_type(value)}", problems)
    kept = {}
    for key, item in value.items():
        if not isinstance(key, str):
            _drop(f"{path}[{key}]", f"expected a string as key, got {json_type(key)}", problems)
            continue
        repaired = _repair(item, kind.value_type, f"{path}[{key}]", problems)
        if repaired is not DROPPED:
            kept[key] = repaired
    return kept


def _repair_list(value: Json, kind: inspect.VarTupleType, path: str, problems: list[str]) -> Json | _Dropped:
    if not isinstance(value, list | tuple):
        return _drop(path, f"expected list, got {json_type(value)}", problems)
    if kind.max_length is not None and len(value) > kind.max_length:
        return _drop(path, f"expected at most {kind.max_length} items, got {len(value)}", problems)
    if kind.min_length and not value:
        return _drop(path, f"expected at least {kind.min_length} items, got none", problems)
    repaired = (_repair(item, kind.item_type, f"{path}[{index}]", problems) for index, item in enumerate(value))
    kept = [item for item in repaired if item is not DROPPED]
    return DROPPED if kind.min_length and not kept else kept


def _repair_union(value: Json, kind: inspect.UnionType, path: str, problems: list[str]) -> Json | _Dropped:
    members = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
    if len(members) == 1:
        return _repair(value, members[0], path, problems)
    refusals = [_leaf_problem(value, member) for member in members]
    if None in refusals:
        return value
    return _drop(path, f"expected int or string, got {json_type(value)}", problems)


def _leaf_problem(value: Json, kind: inspect.Type) -> str | None:
    match kind:
        case inspect.StrType():
            if not isinstance(value, str):
                return f"expected string, got {json_type(value)}"
            return _text_problem(value, kind)
        case inspect.BoolType():
            return None if isinstance(value, bool) else f"expected boolean, got {json_type(value)}"
        case inspect.IntType():
            if isinstance(value, bool) or not isinstance(value, int):
                return f"expected int, got {json_type(value)}"
            low = kind.ge if kind.ge is not None else -(2**63)
            high = kind.le if kind.le is not None else 2**63 - 1
            return None if low <= value <= high else f"expected {low} to {high}, got {value}"
        case inspect.FloatType():
            return _number_problem(value)
        case inspect.EnumType():
            allowed = [str(member.value) for member in kind.cls]
            if isinstance(value, str) and value in allowed:
                return None
            got = repr(value) if isinstance(value, str) else json_type(value)
            return f"expected one of {', '.join(filter(None, allowed))}, got {got}"
        case _:  # pragma: no cover - a kind that uses another type of leaf fails every test of that kind
            raise TypeError(f"no rule for {kind}")


def _number_problem(value: Json) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"expected number, got {json_type(value)}"
    return None if abs(value) <= LARGEST else "expected number, got one out of range"


def _text_problem(value: str, kind: inspect.StrType) -> str | None:
    if kind.min_length is not None and len(value) < kind.min_length:
        return f"expected at least {kind.min_length} characters"
    if kind.max_length is not None and len(value) > kind.max_length:
        return f"expected at most {kind.max_length} characters"
    if kind.pattern is not None and not re.search(kind.pattern, value):
        return f"expected text like {kind.pattern}, got {value!r}"
    return None


def json_type(value: object) -> str:
    """The name of a JSON value's type, as messages have it."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "int"
        case float():
            return "number"
        case str():
            return "string"
        case Mapping():
            return "object"
        case list() | tuple():
            return "list"
        case _:
            return type(value).__name__
