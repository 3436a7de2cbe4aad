"""Comparison: which fields differ between two versions of an object (structured merge's ``Compare``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from meshpass.apiserver.fieldpath import field_element
from meshpass.apiserver.fieldset import EMPTY, FieldSet
from meshpass.apiserver.fieldtype import OPEN, FieldType, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Paths that only the new version has, that only the old one has, and leaves that both have with other values."""

    added: FieldSet = EMPTY
    removed: FieldSet = EMPTY
    modified: FieldSet = EMPTY

    @property
    def written(self) -> FieldSet:
        """What the new version says for the first time."""
        return self.added | self.modified

    def __or__(self, other: Comparison) -> Comparison:
        return Comparison(
            added=self.added | other.added,
            removed=self.removed | other.removed,
            modified=self.modified | other.modified,
        )


_SAME: Final = Comparison()


class _Missing:
    """The type of _MISSING."""


_MISSING: Final = _Missing()
_Pair = tuple[str, FieldType, Any, Any]


@dataclass(slots=True)
class _Draft:
    """A FieldSet that is being put together."""

    members: set[str] = field(default_factory=set)
    children: dict[str, FieldSet] = field(default_factory=dict)

    def add(self, element: str, below: FieldSet, *, member: bool = False) -> None:
        if member:
            self.members.add(element)
        if below:
            self.children[element] = below

    def done(self) -> FieldSet:
        return FieldSet(frozenset(self.members), self.children) if self.members or self.children else EMPTY


def field_set(kind: FieldType, value: Any) -> FieldSet:
    """The fields that a configuration names: leaves, items of lists, and entries of maps that no schema names."""
    return _fields(kind, value, everything=False) or EMPTY


def compare(kind: FieldType, old: Mapping[str, Any], new: Mapping[str, Any]) -> Comparison:
    """How two objects of one type differ. Takes time in proportion to their sizes, and little for what is the same."""
    return _compare_pairs(_entries(kind, old, new))


def _fields(kind: FieldType, value: Any, *, everything: bool) -> FieldSet | None:
    """The paths below a value, None for a leaf; with ``everything`` the fields that hold other fields are there too."""
    shape = kind.shape_of(value)
    if shape is Shape.LEAF:
        return None
    draft = _Draft()
    if shape is Shape.MAP:
        for name, item in value.items():
            below = _fields(kind.field(name), item, everything=everything)
            member = everything or below is None or item == {} or not kind.is_named(name)
            draft.add(field_element(name), below or EMPTY, member=member)
        return draft.done()
    elements = kind.item_elements(value)
    if elements is None:
        return None
    for element, items in _grouped(elements, value).items():
        below = _fields(kind.items, items[0], everything=everything) if len(items) == 1 else None
        draft.add(element, below or EMPTY, member=True)
    return draft.done()


def _compare_pairs(pairs: Iterable[_Pair]) -> Comparison:
    added, removed, modified = _Draft(), _Draft(), _Draft()
    for element, kind, old, new in pairs:
        if old is _MISSING:
            added.add(element, _fields(kind, new, everything=True) or EMPTY, member=True)
        elif new is _MISSING:
            removed.add(element, _fields(kind, old, everything=True) or EMPTY, member=True)
        elif not is_same(old, new):
            here, below = _compare_values(kind, old, new)
            added.add(element, below.added)
            removed.add(element, below.removed)
            modified.add(element, below.modified, member=here)
    return Comparison(added=added.done(), removed=removed.done(), modified=modified.done())


def _compare_values(kind: FieldType, old: Any, new: Any) -> tuple[bool, Comparison]:
    """Whether the value itself changed as a leaf, and what changed below it."""
    before, after = kind.shape_of(old), kind.shape_of(new)
    if before is after is Shape.MAP:
        return False, _compare_pairs(_entries(kind, old, new))
    if before is after is not Shape.LEAF:
        old_elements, new_elements = kind.item_elements(old), kind.item_elements(new)
        if old_elements is None or new_elements is None:
            return True, _SAME
        return False, _compare_pairs(_items(kind.items, _grouped(old_elements, old), _grouped(new_elements, new)))
    # Null is an empty map or list of whatever type the other side is: it comes and goes without being a change itself.
    gone = _fields(kind, old, everything=True) or EMPTY
    come = _fields(kind, new, everything=True) or EMPTY
    is_leaf = not ((old is None and come) or (new is None and gone))
    return is_leaf, Comparison(added=come, removed=gone)


def _entries(kind: FieldType, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[_Pair]:
    for name, value in old.items():
        yield field_element(name), kind.field(name), value, new.get(name, _MISSING)
    for name, value in new.items():
        if name not in old:
            yield field_element(name), kind.field(name), _MISSING, value


def _items(kind: FieldType, old: Mapping[str, list[Any]], new: Mapping[str, list[Any]]) -> Iterable[_Pair]:
    for element in old.keys() | new.keys():
        before, after = old.get(element, []), new.get(element, [])
        if len(before) > 1 or len(after) > 1:
            # Items that one key stands for cannot be told apart: together they are one field.
            yield element, OPEN, before or _MISSING, after or _MISSING
        else:
            yield element, kind, before[0] if before else _MISSING, after[0] if after else _MISSING


def _grouped(elements: list[str], items: list[Any]) -> Mapping[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for element, item in zip(elements, items, strict=True):
        found.setdefault(element, []).append(item)
    return found


def is_same(old: Any, new: Any) -> bool:
    """True for equal JSON values. To Python alone, true is 1 and 1.0 is 1."""
    if old != new:
        return False
    if not isinstance(old, (dict, list)):
        return type(old) is type(new)
    # Encoding is many times faster than a walk; only for other orders of the same keys it is done twice.
    if msgspec.json.encode(old) == msgspec.json.encode(new):
        return True
    return msgspec.json.encode(old, order="sorted") == msgspec.json.encode(new, order="sorted")
