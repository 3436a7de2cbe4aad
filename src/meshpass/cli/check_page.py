"""The page that ``check`` prints: sections in their order, each with a mark, a summary and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from meshpass.cli.check_text import count
from meshpass.cli.output import paint, render_table

_TITLE_WIDTH = 15
_SHOWN_PROBLEMS = 20
"""Per section: it is a page for people."""


class Mark(Enum):
    """How something is; the order is that of badness."""

    GOOD = "ok"
    UNKNOWN = "unknown"
    """It cannot be told, because of something else that is wrong and has a mark of its own."""
    WARNING = "warning"
    """It works, and somebody should look at it."""
    BAD = "failed"
    """It is wrong: exit code 1."""


_ORDER = tuple(Mark)
_SIGNS = {Mark.GOOD: ("good", "✓"), Mark.UNKNOWN: ("dim", "?"), Mark.WARNING: ("hint", "!"), Mark.BAD: ("bad", "✗")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is not as it should be."""

    mark: Mark
    where: str
    """Which object, proxy, server or file."""
    what: str
    hint: str = ""
    """What to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One heading of the page."""

    name: str
    """What it is called in JSON."""
    title: str
    summary: str
    problems: tuple[Problem, ...] = ()
    headers: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    """A table for people; nothing where the summary says it all."""
    items: tuple[Mapping[str, Any], ...] = ()
    """The facts behind it, for programs."""
    unknown: bool = False

    @property
    def mark(self) -> Mark:
        """That of the worst problem."""
        least = Mark.UNKNOWN if self.unknown else Mark.GOOD
        return max((least, *(problem.mark for problem in self.problems)), key=_ORDER.index)


def untold(name: str, title: str) -> Section:
    """A section that only the control plane could fill."""
    return Section(name=name, title=title, summary="unknown: the control plane does not answer", unknown=True)


def is_healthy(sections: Iterable[Section]) -> bool:
    """True where nothing is wrong; warnings are not wrong."""
    return all(section.mark is not Mark.BAD for section in sections)


def render_page(sections: Sequence[Section]) -> str:
    """The page for people."""
    lines = [line for section in sections for line in _render_section(section)]
    return "\n".join([*lines, "", _verdict(sections)])


def page_json(sections: Sequence[Section]) -> dict[str, Any]:
    """The page for programs."""
    return {
        "healthy": is_healthy(sections),
        "sections": [
            {
                "name": section.name,
                "mark": section.mark.value,
                "summary": section.summary,
                "problems": [
                    {"mark": one.mark.value, "where": one.where, "what": one.what, "hint": one.hint}
                    for one in section.problems
                ],
                "items": [dict(item) for item in section.items],
            }
            for section in sections
        ],
    }


def _render_section(section: Section) -> Iterable[str]:
    yield f"{_sign(section.mark)} {section.title.ljust(_TITLE_WIDTH)} {section.summary}"
    if section.rows:
        yield from (f"    {line}" for line in render_table(section.headers, section.rows).splitlines())
    for problem in section.problems[:_SHOWN_PROBLEMS]:
        yield f"  {_sign(problem.mark)} {problem.where}: {problem.what}"
        if problem.hint:
            yield f"    {paint('hint', 'hint:')} {problem.hint}"
    if more := len(section.problems[_SHOWN_PROBLEMS:]):
        yield f"    and {more} more, which `meshpass check -o json` lists"


def _verdict(sections: Sequence[Section]) -> str:
    counts = {mark: sum(one.mark is mark for section in sections for one in section.problems) for mark in Mark}
    nouns = ((Mark.BAD, "problem"), (Mark.WARNING, "warning"))
    told = [count(counts[mark], noun) for mark, noun in nouns if counts[mark]]
    worst = max((section.mark for section in sections), key=_ORDER.index, default=Mark.GOOD)
    return f"{_sign(worst)} {' and '.join(told)}" if told else f"{_sign(worst)} all is well"


def _sign(mark: Mark) -> str:
    style, sign = _SIGNS[mark]
    return paint(style, sign)
