"""Output: how commands talk. Data goes to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from meshpass.errors import MeshpassError

if TYPE_CHECKING:
    from meshpass.localmesh.announcement import Announcement

_COLOURS = {"error": "\x1b[31m", "hint": "\x1b[36m", "good": "\x1b[32m", "bad": "\x1b[31m", "dim": "\x1b[2m"}
_PLAIN = "\x1b[0m"


def print_data(text: str) -> None:
    """The text is on standard output, as it is."""
    sys.stdout.write(text if text.endswith("\n") or not text else text + "\n")
    sys.stdout.flush()


def print_json(value: Any) -> None:
    """The value is on standard output as indented JSON."""
    print_data(json.dumps(value, indent=2, ensure_ascii=False))


def say(text: str) -> None:
    """The text is on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def say_step(text: str) -> None:
    """Something is done while a person waits."""
    say(f"{paint('good', '✓', to=2)} {text}")


def say_announcement(told: Announcement) -> None:
    """What a supervisor told: a step, or trouble."""
    if told.trouble:
        say(f"{paint('bad', '✗', to=2)} {told.text}")
    else:
        say_step(told.text)


def say_error(error: MeshpassError) -> None:
    """The error and, after a blank line, its hint are on standard error."""
    say(f"{paint('error', 'error:', to=2)} {error}")
    if error.hint:
        say(f"\n{paint('hint', 'hint:', to=2)} {error.hint}")


def paint(style: str, text: str, *, to: int = 1) -> str:
    """The text in a colour where the stream ``to`` (1 output, 2 error) shows colours and nobody forbade them."""
    stream = sys.stdout if to == 1 else sys.stderr
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return text
    return f"{_COLOURS[style]}{text}{_PLAIN}"


def render_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as kubectl prints them: left-aligned, three spaces between, nothing after the last."""
    lines = [tuple(headers), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


@contextmanager
def reported_errors() -> Iterator[None]:
    """What Meshpass raises on purpose inside becomes a message and exit code 1; bugs keep their traceback."""
    try:
        yield
    except MeshpassError as error:
        say_error(error)
        raise typer.Exit(1) from error
