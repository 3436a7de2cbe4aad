"""Names of fields: paths, and what a misspelt one was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import msgspec

from meshpass.api.struct import ApiStruct

_KNOWN_MISTAKES = {"queryParameters": "queryParams"}
"""Typing errors of published guides that are too far off for similarity."""


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that ``name`` is most likely a misspelling of, or ``None`` if none is close."""
    known = tuple(candidates)
    if (intended := _KNOWN_MISTAKES.get(name)) in known:
        return intended
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    return by_lower[close[0]] if close else None


def unknown_field(path: str, name: str, candidates: Iterable[str]) -> str:
    """The words for a field that a type does not have."""
    meant = did_you_mean(name, candidates)
    return f"{path}: unknown field" + (f", did you mean {meant}?" if meant else "")


def set_paths(spec: ApiStruct, known: frozenset[str] = frozenset()) -> Iterator[tuple[str, str]]:
    """The fields that a spec sets, in order of declaration: each as (path in the schema, path in this object).

    ``("spec.config.providers{}.issuer", "spec.config.providers[dev].issuer")``. Yielded are leaves that differ from their
    default, each element of a list and each entry of a map, and objects that are present but set nothing. An object
    that sets something is not yielded itself. What lies at a schema path that is ``known``, or below it, is passed over.
    """
    if "spec" not in known:
        yield from _struct_paths(spec, "spec", "spec", known)


def _struct_paths(
    struct: msgspec.Struct, schema: str, concrete: str, known: frozenset[str]
) -> Iterator[tuple[str, str]]:
    for field in _fields(type(struct)):
        value = getattr(struct, field.name)
        if not _is_default(value, field):
            yield from _paths(value, f"{schema}.{field.encode_name}", f"{concrete}.{field.encode_name}", known)


def _paths(value: Any, schema: str, concrete: str, known: frozenset[str]) -> Iterator[tuple[str, str]]:
    if schema in known:
        return
    match value:
        case msgspec.Struct():
            seen = False
            for path in _struct_paths(value, schema, concrete, known):
                seen = True
                yield path
            if not seen and not _is_partly_known(schema, known):
                yield schema, concrete
        case Mapping():
            for key, item in value.items() if f"{schema}{{}}" not in known else ():
                yield from _paths(item, f"{schema}{{}}", f"{concrete}[{key}]", known)
        case tuple():
            for index, item in enumerate(value) if f"{schema}[]" not in known else ():
                yield from _paths(item, f"{schema}[]", f"{concrete}[{index}]", known)
        case _:
            yield schema, concrete


def _is_partly_known(schema: str, known: frozenset[str]) -> bool:
    """True for an object that may look empty only because all that it sets was passed over."""
    return any(path.startswith(f"{schema}.") for path in known)


def _is_default(value: Any, field: msgspec.structs.FieldInfo) -> bool:
    if isinstance(value, Mapping):
        return not value
    if isinstance(value, msgspec.Struct):
        # Identity: an object that was written as {} equals the default but is present.
        return value is field.default
    return bool(value == field.default)


@cache
def _fields(struct: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(struct)
