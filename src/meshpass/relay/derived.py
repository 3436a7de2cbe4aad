"""Derived: a mapping that is made of one of objects, item by item, and follows it at the cost of what differs."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

from meshpass.api.objectset import ObjectKey

Item = TypeVar("Item")
Name = TypeVar("Name")
Value = TypeVar("Value")


class Derived(Generic[Item, Name, Value]):
    """Remembers what it was made of last, and what came of it.

    The result is the same object for as long as nothing of it changes, whatever else changes in what it is made of. Items
    are told apart by identity: to find those that differ costs a look at each, a tenth of what it costs to make them.
    """

    def __init__(self) -> None:
        self._items: Mapping[ObjectKey, Item] = MappingProxyType({})
        self._context: tuple[object, ...] = ()
        self._made: Mapping[Name, Value] = MappingProxyType({})

    def follow(
        self,
        items: Mapping[ObjectKey, Item],
        name: Callable[[ObjectKey], Name | None],
        value: Callable[[ObjectKey, Item], Value],
        *context: object,
    ) -> Mapping[Name, Value]:
        """Name → value of the items; those whose name is None are left out.

        Both are functions of what they are given and of ``context``: all is made anew where that is another object.
        """
        if len(context) != len(self._context) or not all(map(operator.is_, context, self._context)):
            self._items, self._made, self._context = MappingProxyType({}), MappingProxyType({}), context
        if items is self._items:
            return self._made
        before, self._items = self._items, items
        changed = [key for key, item in items.items() if before.get(key) is not item]
        new = sum(key not in before for key in changed)
        gone = before.keys() - items.keys() if len(items) != len(before) + new else frozenset()
        added = {found: key for key in changed if (found := name(key)) is not None}
        dropped = [found for key in gone if (found := name(key)) is not None]
        if added or dropped:
            made = dict(self._made)
            for one in dropped:
                del made[one]
            made.update({one: value(key, items[key]) for one, key in added.items()})
            self._made = MappingProxyType(made)
        return self._made
