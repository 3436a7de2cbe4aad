"""FieldType: what a schema says about whose a field is: its owner's whole, or part by part (structured merge's types).

A list is one field unless it says how to tell its items apart (``x-kubernetes-list-type``); a map or object is many unless
it says that it is one (``x-kubernetes-map-type``). What a schema leaves open is told from the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cached_property
from typing import Any, Final

from meshpass.apiserver.fieldpath import FIELD, key_element, value_element
from meshpass.apiserver.modelschema import OBJECT_META

_LIST_TYPE: Final = "x-kubernetes-list-type"
_MAP_TYPE: Final = "x-kubernetes-map-type"
_KEYS: Final = "x-kubernetes-list-map-keys"
_PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED: Final = "x-kubernetes-embedded-resource"


class Shape(Enum):
    """How a value is owned."""

    LEAF = "leaf"
    """By one field: scalars, and what is atomic."""
    MAP = "map"
    """Entry by entry."""
    KEYED_LIST = "keyed list"
    """Item by item, known by some of their fields."""
    SET = "set"
    """Item by item, known by themselves."""
    OPEN = "open"
    """As the value is: a map entry by entry, anything else as a leaf."""


class FieldType:
    """The type of one node of a schema; what is below it is made when it is first asked for."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """``schema`` is structural; nothing of it is read before it is asked for."""
        self._schema = schema
        self._named: dict[str, FieldType] = {}

    @cached_property
    def shape(self) -> Shape:
        """How values that fit the type are owned."""
        return _shape(self._schema)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The fields by which items of a keyed list are known, in the order of their names."""
        return tuple(sorted(self._schema[_KEYS]))

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """The values of keys that an item of a keyed list leaves out."""
        known = (self._schema.get("items") or {}).get("properties") or {}
        return {key: known[key]["default"] for key in self.keys if "default" in known.get(key, {})}

    @cached_property
    def items(self) -> FieldType:
        """The type of the items of a list."""
        items = self._schema.get("items")
        return FieldType(items) if isinstance(items, Mapping) else OPEN

    @cached_property
    def others(self) -> FieldType:
        """The type of entries that the schema does not name: one for all, there may be any number of them."""
        others = self._schema.get("additionalProperties")
        return FieldType(others) if isinstance(others, Mapping) else OPEN

    def field(self, name: str) -> FieldType:
        """The type of a field, or of the entry of a map."""
        known = self._named.get(name)
        if known is not None:
            return known
        found = (self._schema.get("properties") or {}).get(name)
        if found is None and name == "metadata" and self._schema.get(_EMBEDDED):
            found = OBJECT_META
        if found is not None:
            self._named[name] = made = FieldType(found)
            return made
        return self.others

    def is_named(self, name: str) -> bool:
        """True for a field that the schema names, false for the entry of a map."""
        return name in (self._schema.get("properties") or {})

    def below(self, element: str) -> FieldType:
        """The type behind a path element."""
        return self.field(element[2:]) if element.startswith(FIELD) else self.items

    def shape_of(self, value: Any) -> Shape:
        """How this value of the type is owned; a value that does not fit the type is a leaf."""
        match self.shape:
            case Shape.MAP | Shape.OPEN:
                return Shape.MAP if isinstance(value, Mapping) else Shape.LEAF
            case Shape.KEYED_LIST | Shape.SET:
                return self.shape if isinstance(value, list) else Shape.LEAF
            case Shape.LEAF:
                return Shape.LEAF

    def item_element(self, item: Any) -> str | None:
        """The path element of an item of a list, None when nothing tells it apart."""
        if self.shape is Shape.SET:
            return None if item is None or isinstance(item, (dict, list)) else value_element(item)
        if not isinstance(item, Mapping):
            return None
        keys = {key: item.get(key, self.defaults.get(key)) for key in self.keys}
        if any(value is None or isinstance(value, (dict, list)) for value in keys.values()):
            return None
        return key_element(keys)

    def item_elements(self, items: list[Any]) -> list[str] | None:
        """The path elements of all items, None when an item has none: the list is then one field."""
        found = [self.item_element(item) for item in items]
        known = [element for element in found if element is not None]
        return known if len(known) == len(found) else None


def _shape(schema: Mapping[str, Any]) -> Shape:
    kind = schema.get("type")
    if kind == "array":
        match schema.get(_LIST_TYPE):
            case "map" if schema.get(_KEYS):
                return Shape.KEYED_LIST
            case "set":
                return Shape.SET
            case _:
                return Shape.LEAF
    if schema.get(_MAP_TYPE) == "atomic":
        return Shape.LEAF
    if kind == "object" or "properties" in schema or "additionalProperties" in schema:
        return Shape.MAP
    return Shape.OPEN if (kind is None and schema.get(_PRESERVE)) or not schema else Shape.LEAF


OPEN: Final = FieldType({})
"""Of what no schema describes."""
