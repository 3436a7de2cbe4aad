"""FullJitter: how long to wait before the next connection."""

from __future__ import annotations

from collections.abc import Callable

FIRST_SECONDS = 0.1
LIMIT_SECONDS = 30.0
REFUSED_LIMIT_SECONDS = 3.0
"""Of a server that answers, and refuses: it may be told of the cluster at any moment, and refusing costs it little."""


class FullJitter:
    """Delays anywhere between nothing and a bound that doubles from 0.1 s to 30 s.

    So the agents of a server that comes back come back spread evenly. ``random`` returns numbers in [0, 1).
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._bound = FIRST_SECONDS

    def next_delay(self, *, refused: bool = False) -> float:
        """Seconds to wait now."""
        bound = min(self._bound, REFUSED_LIMIT_SECONDS) if refused else self._bound
        self._bound = min(self._bound * 2, LIMIT_SECONDS)
        return bound * self._random()

    def reset(self) -> None:
        """The next bound is the first one again."""
        self._bound = FIRST_SECONDS
