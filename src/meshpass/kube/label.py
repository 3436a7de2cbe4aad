"""Label: which state of one cluster's objects something was made from."""

from __future__ import annotations

from typing import NamedTuple


class Label(NamedTuple):
    """Labels of one cluster are given by the one process that reads its API server, and rise with every change.

    Everybody else passes them on as text. A process that starts goes on above the last label that it stored; one that
    stored none begins with the time of day, in milliseconds, which is above those of the processes before it.
    """

    start: int
    """Of the process, in milliseconds since 1970."""
    changes: int
    """Since then."""

    def __str__(self) -> str:
        return f"{self.start:x}:{self.changes}"

    def next(self) -> Label:
        """The label after one more change."""
        return Label(self.start, self.changes + 1)


def parse_label(text: str) -> Label | None:
    """The label that was written as ``text``; None if it is none."""
    start, separator, changes = text.partition(":")
    try:
        return Label(int(start, 16), int(changes)) if separator else None
    except ValueError:
        return None


def label_covers(label: str, wanted: str) -> bool:
    """True when a state with ``label`` has everything that the state of the same cluster with ``wanted`` has."""
    if label == wanted:
        return True
    one, other = parse_label(label), parse_label(wanted)
    return one is not None and other is not None and one >= other
