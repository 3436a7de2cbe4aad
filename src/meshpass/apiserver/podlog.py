"""The answer to ``log``: a container's log as text, while it grows where that is asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from datetime import UTC
from typing import Final

from meshpass.apiserver.podlogoptions import LogOptions
from meshpass.apiserver.podruntime import LogCursor, LogLine

_LOOK_AGAIN: Final = 0.1
"""Seconds between two looks at a log that is followed. Its writer may be another process: nothing tells of more."""


async def render_log(cursor: LogCursor, options: LogOptions) -> AsyncGenerator[bytes]:
    """The chosen lines in pieces; the cursor is closed at the end. Raises OSError."""
    left = options.limit_bytes
    try:
        async for lines in _select(cursor, options):
            piece = b"".join(render_line(line, timestamps=options.timestamps) for line in lines)[:left]
            if piece:
                yield piece
            if left is not None:
                left -= len(piece)
                if left == 0:
                    return
    finally:
        cursor.close()


def render_line(line: LogLine, *, timestamps: bool) -> bytes:
    """The line, behind its time where that is wanted, with nanoseconds as a kubelet writes it."""
    if not timestamps:
        return line.text
    moment = line.time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return f"{moment}000Z ".encode() + line.text


async def _select(cursor: LogCursor, options: LogOptions) -> AsyncIterator[Iterable[LogLine]]:
    last: deque[LogLine] = deque(maxlen=options.tail)
    async for lines in _present(cursor, options):
        recent = [line for line in lines if options.since is None or line.time >= options.since]
        if options.tail is None:
            yield recent
        else:
            last.extend(recent)
    yield last
    while options.follow:
        if lines := cursor.read():
            yield lines
        elif cursor.ended:
            yield cursor.rest()
            return
        else:
            await asyncio.sleep(_LOOK_AGAIN)


async def _present(cursor: LogCursor, options: LogOptions) -> AsyncIterator[Sequence[LogLine]]:
    """What is there now, with the beginning of an incomplete line, unless that will come whole."""
    while lines := cursor.read():
        yield lines
        # Reading from the system's memory waits for nothing, and a long log must not keep everybody else waiting.
        await asyncio.sleep(0)
    if not options.follow:
        yield cursor.rest()
