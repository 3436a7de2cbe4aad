"""Memo: what is computed again, what is not, and what is forgotten."""

from __future__ import annotations

import gc
import weakref
from typing import NamedTuple

import pytest

from meshpass.memo import SWEEP_INTERVAL, Memo


class Thing:
    """A value with an identity and no equality."""


class Calls:
    """A function that counts its calls and returns something new each time."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *_inputs: object) -> Thing:
        self.count += 1
        return Thing()


def pass_generations(memo: Memo, number: int) -> None:
    for _ in range(number):
        memo.next_generation()


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        pytest.param(("a",), ("a",), True, id="text"),
        pytest.param((1,), (1,), True, id="number"),
        pytest.param((None,), (None,), True, id="none"),
        pytest.param((("a", (1, "b")),), (("a", (1, "b")),), True, id="tuples"),
        pytest.param(("a",), ("b",), False, id="other-text"),
        pytest.param((("a",),), (("a", "a"),), False, id="longer-tuple"),
        pytest.param((["a"],), (["a"],), False, id="equal-lists"),
        pytest.param(({"a": 1},), ({"a": 1},), False, id="equal-maps"),
        pytest.param((frozenset("a"),), (frozenset("a"),), False, id="equal-sets"),
        pytest.param((("a",), "b"), ("a", ("b",)), False, id="nesting-matters"),
    ],
)
def test_text_and_numbers_are_known_by_value_and_all_else_by_identity(
    first: tuple[object, ...], second: tuple[object, ...], same: bool
) -> None:
    """Values of tuples are looked into; other values are themselves and nothing else."""
    memo, function = Memo(), Calls()

    assert (memo(function, *first) is memo(function, *second)) is same


def test_the_same_object_is_known_again() -> None:
    """Identity is enough, however large the value."""
    memo, function, value = Memo(), Calls(), {"a": [1]}

    assert memo(function, value) is memo(function, value)
    assert function.count == 1


def test_functions_are_apart() -> None:
    """Two functions of one input have a result each."""
    memo, one, other = Memo(), Calls(), Calls()

    assert memo(one, "a") is not memo(other, "a")


class Point(NamedTuple):
    """A tuple with names."""

    x: str


def test_a_named_tuple_is_a_tuple() -> None:
    """Keys of objects, made anew each time, are known by their parts."""
    memo, function = Memo(), Calls()

    assert memo(function, Point("a")) is memo(function, Point("a"))


def test_a_failure_is_not_remembered() -> None:
    """What raised is called again, and calls around it are counted rightly."""
    memo = Memo()
    answers = [ValueError("no"), "yes"]

    def function(_: str) -> str:
        answer = answers.pop(0)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    with pytest.raises(ValueError, match="no"):
        memo(function, "a")
    assert memo(function, "a") == "yes"


def test_inputs_stay_alive_as_long_as_their_result() -> None:
    """An identity in the memo never becomes another object's."""
    memo, function = Memo(), Calls()
    value = Thing()
    alive = weakref.ref(value)
    memo(function, value)
    del value
    gc.collect()

    assert alive() is not None


def test_what_goes_out_of_use_is_forgotten() -> None:
    """After two intervals without use, input and result are gone."""
    memo, function = Memo(), Calls()
    value = Thing()
    alive, result = weakref.ref(value), weakref.ref(memo(function, value))
    del value
    pass_generations(memo, 2 * SWEEP_INTERVAL)
    gc.collect()

    assert (alive(), result()) == (None, None)


def test_what_is_used_is_kept() -> None:
    """A use in each interval is enough, for any number of intervals."""
    memo, function = Memo(), Calls()
    first = memo(function, "a")
    for _ in range(5):
        pass_generations(memo, SWEEP_INTERVAL)
        assert memo(function, "a") is first
    assert function.count == 1


def test_parts_of_what_is_used_are_kept() -> None:
    """A result keeps those that it was computed from, at any depth, though nobody asks for them by themselves."""
    memo, leaf = Memo(), Calls()

    def middle(name: str) -> tuple[object, ...]:
        return (memo(leaf, name), memo(leaf, "shared"))

    def whole() -> tuple[object, ...]:
        return (memo(middle, "a"), memo(middle, "b"))

    first = memo(whole)
    for _ in range(3):
        pass_generations(memo, SWEEP_INTERVAL)
        assert memo(whole) is first
    assert memo(leaf, "a") is first[0][0]
    assert leaf.count == 3


def test_a_part_is_forgotten_with_its_whole() -> None:
    """Nothing is kept for what is itself out of use."""
    memo, leaf = Memo(), Calls()

    def whole(name: str) -> object:
        return memo(leaf, name)

    part = weakref.ref(memo(whole, "a"))
    for _ in range(2 * SWEEP_INTERVAL):
        memo(whole, "b")
        memo.next_generation()
    gc.collect()

    assert part() is None


def test_memory_follows_the_live_input() -> None:
    """A thousand intervals of changing input leave no more than a few entries."""
    memo, function = Memo(), Calls()
    for number in range(20 * SWEEP_INTERVAL):
        memo(function, number)
        memo.next_generation()

    assert len(memo._entries) <= 3 * SWEEP_INTERVAL
