"""The index beside a log: when which of its bytes were written, and where the log of another run begins.

The log itself stays what the program wrote. A record is 16 bytes: nanoseconds since 1970, and twice the offset from
which on they hold, plus one where a run begins.
"""

from __future__ import annotations

import struct
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

_RECORD: Final = struct.Struct("<QQ")
_RESOLUTION: Final = 10_000_000
"""Nanoseconds: what comes sooner after a record needs none of its own, so that an index stays small."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def index_path(log: Path) -> Path:
    """Where the index of a log is."""
    return log.with_name(log.name + ".times")


class IndexWriter:
    """Appends to the index of one log file."""

    def __init__(self, log: Path) -> None:
        path = index_path(log)
        self._file = path.open("ab", buffering=0)
        path.chmod(0o600)
        self._latest = 0

    def note(self, offset: int, *, begins: bool = False) -> None:
        """What is written from ``offset`` on is written now; ``begins``: by another run of the program."""
        now = time.time_ns()
        if begins or not 0 <= now - self._latest < _RESOLUTION:
            self._file.write(_RECORD.pack(now, offset << 1 | begins))
            self._latest = now

    def close(self) -> None:
        """Nothing more is noted."""
        self._file.close()


@dataclass(slots=True)
class IndexReader:
    """What is known of one log file so far. Without an index nothing is."""

    file: BinaryIO | None
    offsets: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    """Offsets at which runs begin, ascending."""

    @classmethod
    def open(cls, log: Path) -> IndexReader:
        """The index of a log file, read as far as it is written."""
        reader = cls(None)
        with suppress(FileNotFoundError):
            reader.file = index_path(log).open("rb", buffering=0)
        reader.refresh()
        return reader

    def refresh(self) -> None:
        """What was noted since is known too."""
        for moment, place in self._records():
            self.offsets.append(place >> 1)
            self.times.append(moment)
            if place & 1:
                self.begins.append(place >> 1)

    def time_of(self, offset: int) -> datetime | None:
        """When the byte there was written, aware; None where nobody knows."""
        found = bisect_right(self.offsets, offset) - 1
        return None if found < 0 else _EPOCH + timedelta(microseconds=self.times[found] // 1000)

    def close(self) -> None:
        """The file is closed."""
        if self.file is not None:
            self.file.close()

    def _records(self) -> Iterator[tuple[int, int]]:
        data = b"" if self.file is None else self.file.read()
        whole = len(data) - len(data) % _RECORD.size
        if self.file is not None and whole < len(data):
            self.file.seek(whole - len(data), 1)
        yield from _RECORD.iter_unpack(data[:whole])
