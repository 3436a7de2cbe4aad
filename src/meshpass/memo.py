"""Memo: results of pure functions, remembered by the identity of their inputs. All the incrementality there is.

Inputs are frozen values, so an input that is the *same object* as last time leads to the same result; comparing
identities costs nothing however large the values are. Text, numbers and NamedTuples of them are compared by value,
tuples by their elements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, TypeVarTuple, Unpack, cast

Result = TypeVar("Result")
Inputs = TypeVarTuple("Inputs")

SWEEP_INTERVAL = 64
"""Generations between two sweeps: a result that none of them used, directly or inside another, is forgotten."""


@dataclass(slots=True)
class _Entry:
    inputs: tuple[Any, ...]  # kept alive, so that an identity in the key stays its own
    result: Any
    parts: list[Any]  # keys of the results that this one was computed from
    sweep: int  # the sweep interval in which it was last used


class Memo:
    """Remembers what pure functions returned; memory follows the live input."""

    def __init__(self) -> None:
        self._entries: dict[Any, _Entry] = {}
        self._computing: list[list[Any]] = []
        self._generation = 0

    def __call__(self, function: Callable[[Unpack[Inputs]], Result], *inputs: *Inputs) -> Result:
        """Return ``function(*inputs)``, computed only if these inputs are new. The same inputs give the same object."""
        key = (function, *[value if type(value) in _BY_VALUE else _identity(value) for value in inputs])
        if self._computing:
            self._computing[-1].append(key)
        entry = self._entries.get(key)
        if entry is None:
            parts: list[Any] = []
            self._computing.append(parts)
            try:
                result = function(*inputs)
            finally:
                self._computing.pop()
            entry = self._entries[key] = _Entry(inputs, result, parts, 0)
        entry.sweep = self._generation // SWEEP_INTERVAL
        return cast("Result", entry.result)

    def next_generation(self) -> None:
        """Tell that one whole pass is over; now and then, what has gone out of use is forgotten."""
        self._generation += 1
        if self._generation % SWEEP_INTERVAL == 0:
            self._sweep(self._generation // SWEEP_INTERVAL - 1)

    def _sweep(self, interval: int) -> None:
        live = [key for key, entry in self._entries.items() if entry.sweep >= interval]
        kept = set(live)
        while live:
            parts = self._entries[live.pop()].parts
            fresh = [key for key in parts if key in self._entries and key not in kept]
            kept.update(fresh)
            live.extend(fresh)
        self._entries = {key: entry for key, entry in self._entries.items() if key in kept}


def _identity(value: object) -> object:
    kind = type(value)
    if kind in _BY_VALUE:
        return value
    if kind is tuple:
        return tuple([_identity(item) for item in value])  # type: ignore[attr-defined]
    # A NamedTuple is text and numbers, such as an object's key; anything else is kept by the entry, so its id stays its own.
    return value if isinstance(value, tuple) else (None, id(value))


_BY_VALUE = frozenset({str, int, float, bool, type(None)})
