"""FieldSet: a set of paths into an object, and its form in ``metadata.managedFields`` (meta.k8s.io/v1 FieldsV1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from meshpass.apiserver.fieldpath import FIELD, element_order, parse_element

_SELF: Final = "."
_DEPTH_LIMIT: Final = 256
"""Twice what a body may be nested: no honest set is deeper than its object."""


@dataclass(frozen=True, slots=True)
class FieldSet:
    """Paths by their first element: those that end with it, and those that go on. No child is empty."""

    members: frozenset[str] = frozenset()
    children: Mapping[str, FieldSet] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.members or self.children)

    def __or__(self, other: FieldSet) -> FieldSet:
        """Every path of either."""
        if not other or self is other:
            return self
        if not self:
            return other
        children = dict(self.children)
        for element, child in other.children.items():
            held = children.get(element)
            children[element] = child if held is None else held | child
        return FieldSet(self.members | other.members, children)

    def __and__(self, other: FieldSet) -> FieldSet:
        """The paths of both."""
        common = self.children.keys() & other.children.keys() if self.children and other.children else ()
        children = {element: self.children[element] & other.children[element] for element in common}
        return FieldSet(self.members & other.members, {name: child for name, child in children.items() if child})

    def __sub__(self, other: FieldSet) -> FieldSet:
        """The paths of this set that are not in the other; what is below a path of the other stays."""
        if not (self and other):
            return self
        children = {}
        for element, child in self.children.items():
            taken = other.children.get(element)
            left = child if taken is None else child - taken
            if left:
                children[element] = left
        return FieldSet(self.members - other.members, children)

    def below(self, element: str) -> FieldSet:
        """The paths behind an element, without it."""
        return self.children.get(element, EMPTY)

    def without_field(self, name: str) -> FieldSet:
        """The set without a field of the object and all that is below it."""
        element = f"{FIELD}{name}"
        children = {key: child for key, child in self.children.items() if key != element}
        return FieldSet(self.members - {element}, children)

    def only_field(self, name: str) -> FieldSet:
        """The part of the set that is a field of the object or below it."""
        element = f"{FIELD}{name}"
        below = self.children.get(element)
        return FieldSet(self.members & {element}, {} if below is None else {element: below})

    def paths(self) -> Iterator[tuple[str, ...]]:
        """Every path, in order, one before what is below it."""
        for element in sorted(self.members | self.children.keys(), key=element_order):
            if element in self.members:
                yield (element,)
            for path in self.below(element).paths():
                yield (element, *path)

    def fields_v1(self) -> dict[str, Any]:
        """The JSON of the set."""
        written: dict[str, Any] = {}
        for element in sorted(self.members | self.children.keys(), key=element_order):
            child = self.children.get(element)
            if child is None:
                written[element] = {}
            elif element in self.members:
                written[element] = {_SELF: {}, **child.fields_v1()}
            else:
                written[element] = child.fields_v1()
        return written


EMPTY: Final = FieldSet()


def parse_fields_v1(value: Any) -> FieldSet:
    """The set that the JSON stands for. Raises ValueError for what stands for none."""
    return _parse(value, 0)


def _parse(value: Any, depth: int) -> FieldSet:
    if not isinstance(value, dict) or depth > _DEPTH_LIMIT:
        raise ValueError("not a FieldsV1")
    members: set[str] = set()
    children: dict[str, FieldSet] = {}
    for text, below in value.items():
        if text == _SELF:
            continue  # said of the element above, and read there
        element = parse_element(text)
        child = _parse(below, depth + 1)
        if _SELF in below or not below:
            members.add(element)
        if child:
            children[element] = children[element] | child if element in children else child
    return FieldSet(frozenset(members), children)
