"""Structured merge: laying a configuration over an object, and taking fields out of one, by the types of its fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from meshpass.apiserver.fieldpath import field_element, show_path
from meshpass.apiserver.fieldset import FieldSet
from meshpass.apiserver.fieldtype import FieldType, Shape


def merge(kind: FieldType, live: Any, config: Any) -> Any:
    """``live`` with all that ``config`` says; neither is changed, and the result shares their parts.

    Items of a list that both have stand in the order of ``config``; those of ``live`` alone stay before what they preceded.
    """
    shape = kind.shape_of(live)
    if config is None and shape is not Shape.LEAF and live:
        return live  # null is an empty map or list here, and adds nothing
    if shape is not kind.shape_of(config) or shape is Shape.LEAF:
        return config
    if shape is Shape.MAP:
        result = dict(live)
        for name, value in config.items():
            result[name] = merge(kind.field(name), live[name], value) if name in live else value
        return result
    held, given = kind.item_elements(live), kind.item_elements(config)
    if held is None or given is None:
        return config
    first = dict(zip(reversed(held), reversed(live), strict=True))
    wanted = dict(zip(given, config, strict=True))
    return [
        item if element is None else merge(kind.items, first[element], wanted[element]) if element in first else item
        for element, item in _interleaved(tuple(zip(held, live, strict=True)), wanted)
    ]


def _interleaved(live: Sequence[tuple[str, Any]], wanted: Mapping[str, Any]) -> Iterator[tuple[str | None, Any]]:
    """The items of ``wanted`` in their order, with their elements; between them those of ``live`` alone, without.

    What live alone has goes before the first item of both that it preceded, and that is not there yet.
    """
    known = {element for element, _ in live}
    shared = [element for element in wanted if element in known]
    at = passed = 0
    for element, item in wanted.items():
        following = shared[passed] if passed < len(shared) else None
        while at < len(live) and live[at][0] != following:
            if live[at][0] not in wanted:
                yield None, live[at][1]
            at += 1
        yield element, item
        if element == following:
            passed += 1
            at += 1
    for element, item in live[at:]:
        if element not in wanted:
            yield None, item


def remove(kind: FieldType, value: Any, fields: FieldSet) -> Any:
    """``value`` without these fields and all that is below them; a map or list of which nothing is left is empty."""
    shape = kind.shape_of(value)
    if not fields or shape is Shape.LEAF:
        return value
    if shape is Shape.MAP:
        return {
            name: remove(kind.field(name), item, fields.below(field_element(name)))
            for name, item in value.items()
            if field_element(name) not in fields.members
        }
    elements = kind.item_elements(value)
    if elements is None:
        return value
    return [
        remove(kind.items, item, fields.below(element))
        for element, item in zip(elements, value, strict=True)
        if element not in fields.members
    ]


def with_named_fields(kind: FieldType, fields: FieldSet) -> FieldSet:
    """The set with every field that its schema names and below which it has a path."""
    if not fields.children:
        return fields
    named = (
        element for element in fields.children if element.startswith("f:") and kind.is_named(element.removeprefix("f:"))
    )
    children = {element: with_named_fields(kind.below(element), child) for element, child in fields.children.items()}
    return FieldSet(fields.members.union(named), children)


def collapsed(kind: FieldType, fields: FieldSet) -> FieldSet:
    """The set for a type by which some lists or maps have become one field since it was written."""
    if not fields.children:
        return fields
    members, children = set(fields.members), {}
    for element, child in fields.children.items():
        below = kind.below(element)
        if below.shape is Shape.LEAF:
            members.add(element)
        else:
            children[element] = collapsed(below, child)
    return FieldSet(frozenset(members), children)


def type_faults(kind: FieldType, value: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Why a configuration cannot be merged: maps and lists that are none, and items of lists that cannot be told apart."""
    match kind.shape:
        case Shape.LEAF:
            return
        case Shape.OPEN | Shape.MAP:
            if isinstance(value, Mapping):
                for name, item in value.items():
                    inner = kind.field(name)
                    if inner.shape is not Shape.LEAF:
                        yield from type_faults(inner, item, (*path, field_element(name)))
            elif kind.shape is Shape.MAP and value is not None:
                yield f"{show_path(path)}: expected map, got {_described(value)}"
        case Shape.KEYED_LIST | Shape.SET:
            if isinstance(value, list):
                yield from _item_faults(kind, value, path)
            elif value is not None:
                yield f"{show_path(path)}: expected list, got {_described(value)}"


def _item_faults(kind: FieldType, items: list[Any], path: tuple[str, ...]) -> Iterator[str]:
    seen: set[str] = set()
    for index, item in enumerate(items):
        element = kind.item_element(item)
        if element is None:
            yield f"{show_path(path)}: element {index}: {_why_unknown(kind, item)}"
            continue
        if element in seen:
            yield f"{show_path(path)}: duplicate entries for key {show_path((element,))}"
        seen.add(element)
        yield from type_faults(kind.items, item, (*path, element))


def _why_unknown(kind: FieldType, item: Any) -> str:
    if kind.shape is Shape.SET:
        return f"associative list without keys has an element that's {_described(item)}"
    if not isinstance(item, Mapping):
        return "associative list with keys may not have non-map elements"
    missing = next((key for key in kind.keys if item.get(key, kind.defaults.get(key)) is None), "")
    if not missing:
        return "associative list with keys has an element whose key is no scalar"
    return (
        f'associative list with keys has an element that omits key field "{missing}" (and doesn\'t have default value)'
    )


def _described(value: Any) -> str:
    match value:
        case None:
            return "an explicit null"
        case dict():
            return "a map type"
        case list():
            return "a list type"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case _:
            return "a number"
