"""Memo: results of pure functions, remembered by the identity of their inputs. All the incrementality there is.

Inputs are frozen values, so an input that is the *same object* as last time leads to the same result; comparing
identities costs nothing however large the values are. Text, numbers and NamedTuples of them are compared by value,
tuples by their elements.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar, TypeVarTuple, Unpack, cast

Result = TypeVar("Result")
Key = TypeVar("Key")
Input = TypeVar("Input")
Inputs = TypeVarTuple("Inputs")

SWEEP_INTERVAL = 16
"""Generations between two sweeps: a result that none of them used, directly or inside another, is forgotten."""


@dataclass(slots=True, eq=False)
class _Entry:
    inputs: tuple[Any, ...]  # kept alive, so that an identity in the key stays its own
    result: Any
    parts: Iterable[_Entry]  # the results that this one was computed from
    sweep: int  # the sweep interval in which it was last used
    marked: int = 0  # the last sweep that found it in use, directly or inside another


@dataclass(slots=True)
class _Batch:
    """What ``each`` did last, item by item."""

    items: Mapping[Any, Any]
    results: Mapping[Any, Any]
    parts_of: Mapping[Any, list[_Entry]]

    def __iter__(self) -> Iterator[_Entry]:
        return chain.from_iterable(self.parts_of.values())


class Memo:
    """Remembers what pure functions returned; memory follows the live input."""

    def __init__(self) -> None:
        self._entries: dict[Any, _Entry] = {}
        self._computing: list[list[_Entry]] = []
        self._generation = 0
        self._sweeps = 0

    def __call__(self, function: Callable[[Unpack[Inputs]], Result], *inputs: *Inputs) -> Result:
        """Return ``function(*inputs)``, computed only if these inputs are new. The same inputs give the same object."""
        key = (function, *[value if type(value) in _BY_VALUE else _identity(value) for value in inputs])
        entry = self._entries.get(key)
        if entry is None:
            parts: list[_Entry] = []
            self._computing.append(parts)
            try:
                result = function(*inputs)
            finally:
                self._computing.pop()
            entry = self._entries[key] = _Entry(inputs, result, parts, 0)
        if self._computing:
            self._computing[-1].append(entry)
        entry.sweep = self._generation // SWEEP_INTERVAL
        return cast("Result", entry.result)

    def while_held(self, function: Callable[[Unpack[Inputs]], Result], *inputs: *Inputs) -> Result:
        """Return ``function(*inputs)``, computed only if nobody holds on to the result for these inputs any more.

        For what is large: the memo does not keep it alive. The result has to be one that can be referred to weakly.
        """
        key = (
            Memo.while_held,
            function,
            *[value if type(value) in _BY_VALUE else _identity(value) for value in inputs],
        )
        entry = self._entries.get(key)
        result = None if entry is None else entry.result()
        if entry is None or result is None:
            parts: list[_Entry] = []
            self._computing.append(parts)
            try:
                result = function(*inputs)
            finally:
                self._computing.pop()
            entry = self._entries[key] = _Entry(inputs, weakref.ref(result), parts, 0)
        if self._computing:
            self._computing[-1].append(entry)
        entry.sweep = self._generation // SWEEP_INTERVAL
        return cast("Result", result)

    def each(
        self,
        function: Callable[[Key, Input, Unpack[Inputs]], Result],
        items: Mapping[Key, Input],
        *context: *Inputs,
    ) -> Mapping[Key, Result]:
        """Return ``{key: function(key, item, *context)}``, computed only for items that are new; in the order of the items.

        The same results in the same order are the same mapping. What it costs to find an old result is a tenth of a
        call's.
        """
        place = (Memo.each, function, *[_identity(value) for value in context])
        entry = self._entries.get(place)
        if entry is None or entry.inputs[0] is not items:
            old = entry.parts if entry is not None and isinstance(entry.parts, _Batch) else _Batch({}, {}, {})
            batch = self._compute_each(function, items, context, old)
            entry = self._entries.setdefault(place, entry or _Entry((), None, (), 0))
            # In place: whatever was computed from it goes on to keep what it is now.
            entry.inputs, entry.result, entry.parts = (items, *context), batch.results, batch
        if self._computing:
            self._computing[-1].append(entry)
        entry.sweep = self._generation // SWEEP_INTERVAL
        return cast("Mapping[Key, Result]", entry.result)

    def _compute_each(
        self, function: Callable[..., Any], items: Mapping[Any, Any], context: tuple[Any, ...], old: _Batch
    ) -> _Batch:
        known, results, parts = old.items, dict[Any, Any](), dict[Any, list[_Entry]]()
        changed = len(items) != len(known)
        for key, item in items.items():
            if key in known and _is_same(known[key], item):
                results[key] = old.results[key]
                if key in old.parts_of:
                    parts[key] = old.parts_of[key]
                continue
            inner: list[_Entry] = []
            self._computing.append(inner)
            try:
                results[key] = function(key, item, *context)
            finally:
                self._computing.pop()
            changed = changed or key not in known or results[key] is not old.results[key]
            if inner:
                parts[key] = inner
        unchanged = not changed and all(map(operator.eq, results, old.results))
        return _Batch(dict(items), old.results if unchanged else results, parts)

    def next_generation(self) -> None:
        """Tell that one whole pass is over; now and then, what has gone out of use is forgotten."""
        self._generation += 1
        if self._generation % SWEEP_INTERVAL == 0:
            self._sweep(self._generation // SWEEP_INTERVAL - 1)

    def _sweep(self, interval: int) -> None:
        self._sweeps += 1
        live = [entry for entry in self._entries.values() if entry.sweep >= interval]
        for entry in live:
            entry.marked = self._sweeps
        while live:
            for part in live.pop().parts:
                if part.marked != self._sweeps:
                    part.marked = self._sweeps
                    live.append(part)
        for key in [key for key, entry in self._entries.items() if entry.marked != self._sweeps]:
            del self._entries[key]


def _is_same(one: object, other: object) -> bool:
    """True for values that would be the same key of a result."""
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other):
        return False
    if isinstance(one, tuple) and isinstance(other, tuple):
        # A NamedTuple is text and numbers, such as an object's key; of any other tuple, each element is compared.
        return one == other if kind is not tuple else len(one) == len(other) and all(map(_is_same, one, other))
    return kind in _BY_VALUE and one == other


def _identity(value: object) -> object:
    kind = type(value)
    if kind in _BY_VALUE:
        return value
    if kind is tuple:
        return tuple([_identity(item) for item in value])  # type: ignore[attr-defined]
    # A NamedTuple is text and numbers, such as an object's key; anything else is kept by the entry, so its id stays its own.
    return value if isinstance(value, tuple) else (None, id(value))


_BY_VALUE = frozenset({str, int, float, bool, type(None)})
