"""WatchEvent: one line of a watch stream, from bytes to a typed value."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from meshpass.kube.resource import Raw


class EventType(StrEnum):
    """What happened to the object; the names are those of metav1.WatchEvent."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent:
    """One event; for ERROR the object is a metav1.Status, for BOOKMARK only its resourceVersion counts."""

    type: EventType
    object: Raw


class _Line(msgspec.Struct):
    type: EventType
    object: dict[str, Any]


_decoder = msgspec.json.Decoder(_Line)


class MalformedEventError(ValueError):
    """A complete line of a watch stream that is no watch event."""


def parse_event(line: bytes) -> WatchEvent:
    """The event that one line holds; raises MalformedEventError, which never quotes the line (it may hold a Secret)."""
    try:
        decoded = _decoder.decode(line)
    except msgspec.MsgspecError as error:
        raise MalformedEventError(f"a watch line of {len(line)} bytes is no watch event") from error
    return WatchEvent(type=decoded.type, object=decoded.object)


async def split_lines(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    r"""Complete, non-empty lines; what follows the last newline was cut off by the connection and is dropped.

    Only ``\n`` ends a line: JSON strings may hold U+0085 or U+2028 as they are, which text-mode splitters take for ends.
    """
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
