"""Schedule: when a source is asked next. Pure; ``random`` is a number in [0, 1) that keeps sources apart.

A server is asked when its keys are nearly as old as the shorter of two wishes allows, the policy's ``cacheDuration``
and the server's own caching headers. Neither can make the fetcher hammer, nor stop asking.
"""

from __future__ import annotations

MIN_CACHE_SECONDS = 1.0
"""The least that a policy can ask for."""
MIN_SERVER_SECONDS = 10.0
"""The least that a server can ask for, with max-age=0 and no-store too."""
MAX_CACHE_SECONDS = 86_400.0

MAX_RETRIES = 10
MIN_RETRY_SECONDS = 0.1
MIN_FAILED_SECONDS = 1.0
MAX_FAILED_SECONDS = 60.0
"""How long a source that goes on failing is left alone, unless its policies ask for longer."""
MIN_TIMEOUT_SECONDS = 0.01
MAX_TIMEOUT_SECONDS = 60.0

_EARLY = 0.1
_SPREAD = 0.1


def refresh_delay(cache_seconds: float, server_seconds: float | None, random: float) -> float:
    """Seconds from a success to the next request: 80 to 90 % of the time that the keys are fresh."""
    lifetime = max(cache_seconds, MIN_CACHE_SECONDS)
    if server_seconds is not None:
        lifetime = min(lifetime, max(server_seconds, MIN_SERVER_SECONDS))
    return min(lifetime, MAX_CACHE_SECONDS) * (1 - _EARLY - _SPREAD * random)


def retry_delay(base_seconds: float, max_seconds: float, retry: int, random: float) -> float:
    """Seconds before the retry of this number, from 0: doubling from base to max, less up to a half."""
    longest = max(base_seconds, max_seconds)
    return max(min(base_seconds * 2.0 ** min(retry, 32), longest) * (1 - random / 2), MIN_RETRY_SECONDS)


def failure_delay(failed_seconds: float, failures: int, random: float) -> float:
    """Seconds after the ``failures``-th failed refresh in a row, from 1: doubling up to a minute, less up to a fifth."""
    first = max(failed_seconds, MIN_FAILED_SECONDS)
    grown = min(first * 2.0 ** min(failures - 1, 32), max(first, MAX_FAILED_SECONDS))
    return max(grown * (1 - random / 5), first)


class TokenBucket:
    """Lets things happen: at once as long as tokens last, then as fast as they are refilled, one by one.

    Two are never closer than ``spacing`` seconds.
    """

    def __init__(self, *, capacity: int, refill_seconds: float, spacing: float) -> None:
        self._capacity = float(capacity)
        self._refill = refill_seconds
        self._spacing = spacing
        self._tokens = float(capacity)
        self._counted = 0.0
        self._earliest = 0.0

    def next_time(self, now: float) -> float:
        """When the next one may happen; not before ``now``."""
        self._count(now)
        missing = max(1.0 - self._tokens, 0.0)
        return max(now + missing * self._refill, self._earliest)

    def take(self, now: float) -> None:
        """One happens now."""
        self._count(now)
        self._tokens = max(self._tokens - 1.0, 0.0)

    def space(self, now: float) -> None:
        """Something else with the same effect happens now: it costs no token, but the spacing is kept."""
        self._earliest = now + self._spacing

    def _count(self, now: float) -> None:
        passed = max(now - self._counted, 0.0)
        self._tokens = min(self._tokens + passed / self._refill, self._capacity)
        self._counted = now
