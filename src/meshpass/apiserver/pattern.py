"""Pattern: the regular expressions of CustomResourceDefinitions, matched as RE2 matches them.

Python's own engine goes back and tries again, and a pattern that is harmless in Kubernetes (``^([a-z0-9]+)*$``) can keep
it busy for years while every other request waits. Here all ways through a pattern are followed side by side (Thompson's
simulation): the time is at most the length of the text times the size of the pattern. Python's parser reads the
expression; what RE2 does not have (look-around, back-references, atomic groups) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final

_LONGEST_PATTERN: Final = 10_000
_MOST_STEPS: Final = 10_000
"""Steps of one compiled pattern. RE2 counts repetitions to 1,000, which this allows for a class of characters."""
_MOST_MOVES: Final = 4096
_LARGEST: Final = 0x10FFFF
_DIGITS: Final = ((48, 57),)
_WORD: Final = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE: Final = ((9, 10), (12, 13), (32, 32))
_POSIX: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_CLASS: Final = re.compile(r"\[:(\w+):\]")

Ranges = tuple[tuple[int, int], ...]


class _Characters:
    """A set of characters."""

    def __init__(self, ranges: Iterable[tuple[int, int]], *, negated: bool, ignore_case: bool) -> None:
        self._ranges = tuple(ranges)
        self._negated = negated
        self._ignore_case = ignore_case

    def has(self, character: str) -> bool:
        forms = {character, character.lower(), character.upper()} if self._ignore_case else (character,)
        codes = [ord(form) for form in forms if len(form) == 1]
        return any(low <= code <= high for low, high in self._ranges for code in codes) is not self._negated


Assertion = Callable[[str, str], bool]
"""What holds between the character before and the one behind; both are empty where the text ends."""

State = tuple[frozenset[int], str]
"""The steps that wait for a character, and one that stands for the character before."""


class _Program:
    """Numbered steps: each eats a character, splits the way in two, asserts something about the place, or is the end."""

    def __init__(self, flags: int) -> None:
        self.eats: dict[int, _Characters] = {}
        self.splits: dict[int, tuple[int, int]] = {}
        self.asserts: dict[int, Assertion] = {}
        self.size = 0
        self._flags = flags

    def next_step(self) -> int:
        if self.size == _MOST_STEPS:
            raise re.error(f"expression too large: more than {_MOST_STEPS} steps")
        self.size += 1
        return self.size - 1

    # Each of these appends the steps of a part; whatever follows the part is the step after its last one.

    def add_sequence(self, items: Iterable[Any], flags: int) -> None:
        for operation, argument in items:
            self._add(operation, argument, flags)

    def _add(self, operation: Any, argument: Any, flags: int) -> None:
        match operation:
            case op.LITERAL | op.NOT_LITERAL:
                self._eat([(argument, argument)], flags, negated=operation is op.NOT_LITERAL)
            case op.ANY:
                self._eat([] if flags & re.DOTALL else [(10, 10)], flags, negated=True)
            case op.IN:
                negated = argument[0][0] is op.NEGATE
                self._eat([span for item in argument[negated:] for span in _spans(item)], flags, negated=negated)
            case op.AT:
                self.asserts[self.next_step()] = _assertion(argument, flags)
            case op.BRANCH:
                self._add_branches(argument[1], flags)
            case op.SUBPATTERN:
                _, added, removed, inner = argument
                self.add_sequence(inner, (flags | added) & ~removed)
            case op.MAX_REPEAT | op.MIN_REPEAT:
                fewest, most, inner = argument
                self._add_repeat(fewest, most, inner, flags)
            case _:
                raise re.error(f"{str(operation).lower()} is not supported")

    def _eat(self, ranges: Iterable[tuple[int, int]], flags: int, *, negated: bool) -> None:
        self.eats[self.next_step()] = _Characters(ranges, negated=negated, ignore_case=bool(flags & re.IGNORECASE))

    def _add_branches(self, branches: list[Any], flags: int) -> None:
        ends: list[int] = []
        for branch in branches[:-1]:
            split = self.next_step()
            self.add_sequence(branch, flags)
            ends.append(self.next_step())
            self.splits[split] = (split + 1, self.size)
        self.add_sequence(branches[-1], flags)
        for end in ends:
            self.splits[end] = (self.size, self.size)

    def _add_repeat(self, fewest: int, most: int, inner: Any, flags: int) -> None:
        for _ in range(fewest):
            self.add_sequence(inner, flags)
        if most is op.MAXREPEAT:
            split = self.next_step()
            self.add_sequence(inner, flags)
            back = self.next_step()
            self.splits[back] = (split, split)
            self.splits[split] = (split + 1, self.size)
            return
        skips: list[int] = []
        for _ in range(most - fewest):
            skips.append(self.next_step())
            self.add_sequence(inner, flags)
        for skip in skips:
            self.splits[skip] = (skip + 1, self.size)


class Pattern:
    """A compiled expression."""

    def __init__(self, expression: str) -> None:
        """Raises re.error where the expression is none, or is one that RE2 does not have or would find too large."""
        if len(expression) > _LONGEST_PATTERN:
            raise re.error(f"expression too large: more than {_LONGEST_PATTERN} characters")
        try:
            parsed = _parser.parse(_as_python(expression), re.ASCII)
            flags = parsed.state.flags
            self._program = _Program(flags)
            self._program.add_sequence(parsed, flags)
        except (OverflowError, RecursionError) as error:
            raise re.error(str(error)) from error
        self._end = self._program.size
        self._moves: dict[tuple[State, str], State | None] = {}

    def matches(self, text: str) -> bool:
        """True when the expression matches anywhere in the text."""
        state: State = (frozenset(), "")
        moves = self._moves
        for character in (*text, ""):
            key = (state, character)
            # Every move is found once and remembered: what comes of it depends on nothing else.
            after = moves[key] if key in moves else self._move(state, character)
            if after is None:
                return True
            state = after
        return False

    def _move(self, state: State, character: str) -> State | None:
        """Where a character leads; None when the end was reached before it."""
        reached = self._reach(state, character)
        after: State | None = None
        if self._end not in reached:
            eats = self._program.eats
            eating = (step + 1 for step in reached if character and step in eats and eats[step].has(character))
            after = (frozenset(eating), _stand_in(character))
        if len(self._moves) == _MOST_MOVES:
            self._moves.clear()
        self._moves[state, character] = after
        return after

    def _reach(self, state: State, character: str) -> set[int]:
        """Every step that is reached from these, and from the start, without eating a character."""
        splits, asserts = self._program.splits, self._program.asserts
        waiting, before = [*state[0], 0], state[1]
        reached: set[int] = set()
        while waiting:
            step = waiting.pop()
            if step in reached:
                continue
            reached.add(step)
            if step in splits:
                waiting += splits[step]
            elif step in asserts and asserts[step](before, character):
                waiting.append(step + 1)
        return reached


def _stand_in(character: str) -> str:
    """One character for all that assertions do not tell apart."""
    if _is_word(character):
        return "a"
    return character if character == "\n" else " "


@lru_cache(maxsize=1024)
def compile_pattern(expression: str) -> Pattern:
    """The expression, compiled once. Raises re.error."""
    return Pattern(expression)


def _as_python(expression: str) -> str:
    r"""``\z``, ``(?<name>…)`` and ``[[:alpha:]]`` in Python's words."""
    parts = re.sub(r"(\\.)|\(\?<(?![=!])", lambda found: found[1] or "(?P<", expression, flags=re.DOTALL)
    parts = re.sub(r"\\(.)", lambda found: r"\Z" if found[1] == "z" else found[0], parts, flags=re.DOTALL)
    return _CLASS.sub(lambda found: _POSIX.get(found[1], found[0]), parts)


def _spans(item: tuple[Any, Any]) -> Iterable[tuple[int, int]]:
    match item:
        case (op.LITERAL, code):
            return ((code, code),)
        case (op.RANGE, (low, high)):
            return ((low, high),)
        case (op.CATEGORY, category):
            return _CATEGORIES[category]
    raise re.error(f"{item[0]} is not supported")


def _others(ranges: Ranges) -> Ranges:
    edges = [-1, *(edge for low, high in ranges for edge in (low, high)), _LARGEST + 1]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return tuple((low + 1, high - 1) for low, high in pairs if low + 1 <= high - 1)


_CATEGORIES: Final[dict[Any, Ranges]] = {
    op.CATEGORY_DIGIT: _DIGITS,
    op.CATEGORY_WORD: _WORD,
    op.CATEGORY_SPACE: _SPACE,
    op.CATEGORY_NOT_DIGIT: _others(_DIGITS),
    op.CATEGORY_NOT_WORD: _others(_WORD),
    op.CATEGORY_NOT_SPACE: _others(_SPACE),
}


def _assertion(where: Any, flags: int) -> Assertion:
    lines = bool(flags & re.MULTILINE)
    match where:
        case op.AT_BEGINNING if lines:
            return lambda before, _: before in {"", "\n"}
        case op.AT_END if lines:
            return lambda _, behind: behind in {"", "\n"}
        case op.AT_BEGINNING | op.AT_BEGINNING_STRING:
            return lambda before, _: not before
        case op.AT_END | op.AT_END_STRING:
            return lambda _, behind: not behind
        case op.AT_BOUNDARY:
            return lambda before, behind: _is_word(before) is not _is_word(behind)
        case op.AT_NON_BOUNDARY:
            return lambda before, behind: _is_word(before) is _is_word(behind)
    raise re.error(f"{where} is not supported")


def _is_word(character: str) -> bool:
    return bool(character) and any(low <= ord(character) <= high for low, high in _WORD)
