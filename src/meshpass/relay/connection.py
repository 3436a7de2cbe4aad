"""Connection: what the management server knows of one cluster's agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Connection:
    """The streams of the agent, one of each method; a second one takes the place of the first."""

    def __init__(self, cluster: str, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        """``clock`` tells seconds since 1970; ``changed`` is called whenever `view` says something else."""
        self.cluster = cluster
        self._clock = clock
        self._changed = changed
        self._streams: dict[str, asyncio.Future[str]] = {}
        self._since: float | None = None
        self._refused = ""
        self.diverged = False
        """True while what we hold of it is in doubt: it is to tell everything anew."""

    @property
    def streams(self) -> frozenset[str]:
        """The methods of its open streams."""
        return frozenset(self._streams)

    @property
    def refused(self) -> str:
        """Why it was not let in when it tried last; empty if it was, or never tried."""
        return self._refused

    @property
    def since(self) -> float | None:
        """When it came or went last, in seconds since 1970."""
        return self._since

    def open(self, method: str) -> asyncio.Future[str]:
        """A stream begins. The future is done, with the reason, when the stream has to end."""
        if (before := self._streams.pop(method, None)) is not None:
            _end(before, "another connection of this agent has taken its place")
        ending = asyncio.get_running_loop().create_future()
        self._streams[method] = ending
        self._refused = ""
        self._since = self._clock()
        self._changed()
        return ending

    def close(self, method: str, ending: asyncio.Future[str]) -> None:
        """The stream has ended."""
        ending.cancel()
        if self._streams.get(method) is ending:
            del self._streams[method]
            self._since = self._clock()
            self._changed()

    def refuse(self, reason: str) -> bool:
        """It is not let in, and what streams it has end. True if the reason is news."""
        news, self._refused = reason != self._refused, reason
        self.end(reason)
        if news:
            self._changed()
        return news

    def end(self, reason: str) -> None:
        """All its streams end."""
        for ending in self._streams.values():
            _end(ending, reason)

    def view(self, registered: frozenset[str], methods: frozenset[str]) -> dict[str, object]:
        """What ``/v1/status`` says of it."""
        since = None if self._since is None else round(max(self._clock() - self._since, 0.0), 3)
        return {
            "cluster": self.cluster,
            "registered": self.cluster in registered,
            "connected": self.streams >= methods,
            "sinceSeconds": since,
            "refused": self._refused or None,
        }


def _end(ending: asyncio.Future[str], reason: str) -> None:
    if not ending.done():
        ending.set_result(reason)
