"""Backoff: how long to wait before the next try."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Delays that double from ``first`` to ``limit`` seconds; each is shortened by up to half, so that clients spread.

    ``random`` returns numbers in [0, 1).
    """

    def __init__(self, random: Callable[[], float], *, first: float = 0.05, limit: float = 30.0) -> None:
        self._random = random
        self._first = first
        self._limit = limit
        self._delay = first

    def next_delay(self) -> float:
        """Seconds to wait now; the next answer is about twice as long."""
        delay, self._delay = self._delay, min(self._delay * 2, self._limit)
        return delay * (1 - self._random() / 2)

    def reset(self) -> None:
        """The next delay is the first one again."""
        self._delay = self._first
