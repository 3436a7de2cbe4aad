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


class Named:
    """A function of a key and an item that remembers for which keys it was called."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __call__(self, key: str, item: object, *_context: object) -> tuple[str, object]:
        self.keys.append(key)
        return (key, item)


def test_each_computes_what_is_new_and_nothing_else() -> None:
    """An item that is another object is computed again, the others are not; results are in the order of the items."""
    memo, function = Memo(), Named()
    first, second, third = Thing(), Thing(), Thing()

    memo.each(function, {"a": first, "b": second})
    found = memo.each(function, {"c": first, "b": third, "a": first})

    assert function.keys == ["a", "b", "c", "b"]
    assert list(found.items()) == [("c", ("c", first)), ("b", ("b", third)), ("a", ("a", first))]


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        pytest.param({"a": "x"}, {"a": "x"}, True, id="equal-items"),
        pytest.param({"a": ("x", (1,))}, {"a": ("x", (1,))}, True, id="equal-tuples"),
        pytest.param({"a": "x"}, {"a": "y"}, False, id="another-item"),
        pytest.param({"a": ("x",)}, {"a": ("x", "x")}, False, id="longer-tuple"),
        pytest.param({"a": ["x"]}, {"a": ["x"]}, False, id="equal-lists"),
        pytest.param({"a": 1}, {"a": True}, False, id="another-type"),
        pytest.param({"a": "x", "b": "y"}, {"b": "y", "a": "x"}, False, id="another-order"),
        pytest.param({"a": "x", "b": "y"}, {"a": "x"}, False, id="one-less"),
        pytest.param({"a": "x"}, {"a": "x", "b": "y"}, False, id="one-more"),
    ],
)
def test_the_same_items_give_the_same_mapping(before: dict[str, object], after: dict[str, object], same: bool) -> None:
    """So that what is computed from the mapping is known again as well."""
    memo, function = Memo(), Named()

    assert (memo.each(function, before) is memo.each(function, after)) is same
    assert dict(memo.each(function, after)) == {key: (key, item) for key, item in after.items()}


def test_each_is_apart_for_another_context() -> None:
    """Two contexts do not push each other out."""
    memo, function, one, other = Memo(), Named(), Thing(), Thing()
    items = {"a": "x"}

    found = memo.each(function, items, one)
    memo.each(function, items, other)

    assert memo.each(function, dict(items), one) is found
    assert function.keys == ["a", "a"]


def test_results_inside_of_each_live_as_long_as_it_is_used() -> None:
    """Also those of items that were not computed for a long time; what is gone is forgotten."""
    memo, inner = Memo(), Calls()
    kept, gone = Thing(), Thing()

    def outer(_key: str, item: Thing) -> object:
        return memo(inner, item)

    memo.each(outer, {"kept": kept, "gone": gone})
    for _ in range(3 * SWEEP_INTERVAL):
        memo.each(outer, {"kept": kept})
        memo.next_generation()

    memo(inner, kept)
    assert inner.count == 2
    memo(inner, gone)
    assert inner.count == 3


def test_a_result_of_each_that_failed_is_tried_again() -> None:
    """An exception leaves what was known as it was."""
    memo, function = Memo(), Named()
    memo.each(function, {"a": "x"})

    def failing(key: str, item: object) -> object:
        raise ValueError(key)

    with pytest.raises(ValueError, match="a"):
        memo.each(failing, {"a": "x"})
    assert memo.each(function, {"a": "x"}) == {"a": ("a", "x")}
    assert function.keys == ["a"]
