"""Results: rows of the one table, and the arithmetic behind them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How a figure compares with its aim."""

    MET = "met"
    MISSED = "MISSED"
    NO_AIM = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    measure: str
    value: str
    aim: str = "-"
    verdict: Verdict = Verdict.NO_AIM


def aimed(measure: str, value: float, aim: float, *, most: bool = True, text: Callable[[float], str] = str) -> Row:
    """A row whose value is to be at ``most`` the aim, or else at least."""
    met = value <= aim if most else value >= aim
    sign = "≤" if most else "≥"
    aim_text = f"{sign} {text(aim)}" if aim else text(aim)
    return Row(measure=measure, value=text(value), aim=aim_text, verdict=Verdict.MET if met else Verdict.MISSED)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that ``percent`` of all values do not exceed (nearest rank): always one that was measured."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def milliseconds(value: float) -> str:
    return f"{value:.1f} ms"


def seconds(value: float) -> str:
    return f"{value:.2f} s"


def ratio(value: float) -> str:
    return f"{value:.2f}"


def count(value: float) -> str:
    return f"{value:.0f}"


def mebibytes(value: float) -> str:
    return f"{value / 2**20:.0f} MiB"


def megabytes(value: float) -> str:
    """Of a million bytes, as aims have them."""
    return f"{value / 1e6:.0f} MB"


def kilobytes(value: float) -> str:
    return f"{value / 1e3:,.1f} kB"
