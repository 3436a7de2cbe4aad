"""TimeBudget: how much of the event loop may go into reading records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHARE = 0.25
"""Of one core: the control plane has more urgent things to do."""
BURST_SECONDS = 0.25
"""What may be spent at once after a quiet second: some 10,000 records."""


class TimeBudget:
    """Time that refills at a share of the clock's pace, up to a burst, and is spent by measuring."""

    def __init__(self, clock: Callable[[], float], *, share: float = SHARE, burst: float = BURST_SECONDS) -> None:
        """``clock`` in seconds, never going back."""
        self._clock = clock
        self._share = share
        self._burst = burst
        self._left = burst
        self._seen = clock()

    @property
    def is_spent(self) -> bool:
        """True while nothing more may be started."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._seen) * self._share)
        self._seen = now
        return self._left <= 0

    @contextmanager
    def spend(self) -> Iterator[None]:
        """The time that passes inside is taken from the budget."""
        started = self._clock()
        try:
            yield
        finally:
            self._left -= self._clock() - started
