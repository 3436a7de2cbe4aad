"""Merge: the audit logs of several processes as one, in the order of time."""

from __future__ import annotations

import heapq
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain

from meshpass.errors import LocalMeshError

HOLD_SECONDS = 0.3
"""How long a record waits for older ones of other processes, where logs are followed."""

OpenLog = Callable[[], AbstractContextManager[Iterator[str]]]


def merge_kept(logs: Sequence[Iterator[str]]) -> Iterator[str]:
    """All lines of logs that end. A log is in the order in which its process was told, which is nearly that of time."""
    return iter(sorted(chain(*logs), key=_moment))


def follow_merged(opened: Sequence[OpenLog]) -> Iterator[str]:
    """The lines of all logs as they come, those that came within 0.3 s of each other in the order of time.

    Raises LocalMeshError once none of the logs goes on; the others are read while one of them does.
    """
    came: queue.SimpleQueue[str | LocalMeshError | None] = queue.SimpleQueue()
    for one in opened:
        # They wait for lines for ever, and end with the program.
        threading.Thread(target=_read, args=(one, came), daemon=True).start()
    held: list[tuple[float, int, float, str]] = []
    number = 0
    left = len(opened)
    failure: LocalMeshError | None = None
    while left or held:
        yield from _due(held, all_of_them=not left)
        try:
            told = came.get(timeout=HOLD_SECONDS / 3) if left else None
        except queue.Empty:
            continue
        if isinstance(told, str):
            number += 1
            heapq.heappush(held, (_moment(told), number, time.monotonic(), told))
        elif left:
            left -= 1
            failure = told or failure
    if failure is not None:
        raise failure


def _due(held: list[tuple[float, int, float, str]], *, all_of_them: bool) -> Iterator[str]:
    """Takes the oldest lines out, as long as the oldest one has waited."""
    now = time.monotonic()
    while held and (all_of_them or now - held[0][2] >= HOLD_SECONDS):
        yield heapq.heappop(held)[3]


def _read(opened: OpenLog, came: queue.SimpleQueue[str | LocalMeshError | None]) -> None:
    try:
        with opened() as lines:
            for line in lines:
                came.put(line)
        came.put(None)
    except LocalMeshError as error:
        came.put(error)


def _moment(line: str) -> float:
    """Seconds since 1970; a line that tells of missing records comes at once."""
    return float(json.loads(line).get("time", 0.0))
