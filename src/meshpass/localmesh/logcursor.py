"""RunLog: the log of one run of a program, read from the beginning, also while it grows and its files change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from os import fstat
from pathlib import Path
from typing import BinaryIO, Final

from meshpass.apiserver.podruntime import LogCursor, LogLine
from meshpass.localmesh.logfile import older_log
from meshpass.localmesh.logindex import IndexReader

_PIECE: Final = 64 * 1024
"""Bytes that are read at a time, and the length at which a line is passed on in parts."""


def open_run_log(path: Path, *, previous: bool) -> LogCursor | None:
    """The log of the latest run that wrote to ``path``, or of the run before; None where there was none before."""
    files = [log for log in (older_log(path), path) if log.exists()]
    begins = [(log, offset, count) for log in files for count, offset in enumerate(_begins(log), start=1)]
    oldest = [(log, 0, 0) for log in files[:1]]
    if previous:
        # What is before the first known beginning was written by a run whose own beginning is gone.
        runs = begins[:-1] or [one for one in oldest if begins and begins[0][:2] != one[:2]]
        return RunLog(path, *runs[-1]) if runs else None
    found = begins or oldest
    return RunLog(path, *found[-1]) if found else SilentLog()


def _begins(log: Path) -> Sequence[int]:
    index = IndexReader.open(log)
    index.close()
    return index.begins


class RunLog:
    """From ``offset`` of ``start``, which is ``path`` or the file before it, to where another run begins.

    ``begun`` runs have begun in that file by then, this one included: some write nothing, so offsets do not tell.
    """

    def __init__(self, path: Path, start: Path, offset: int, begun: int) -> None:
        self._path = path
        self._rest = b""
        self._file: BinaryIO
        self._index: IndexReader
        self._open(start, offset, begun)

    @property
    def ended(self) -> bool:
        """True when all is read, and another run has begun."""
        return self._end is not None and self._offset >= self._end

    def read(self) -> Sequence[LogLine]:
        """The next lines, of at most 64 KiB and a bit; none when there are no more so far."""
        while True:
            piece = self._next_piece()
            if not piece:
                return ()
            if lines := self._split(piece):
                return lines

    def rest(self) -> Sequence[LogLine]:
        """The beginning of a line whose end has not been written."""
        text, self._rest = self._rest, b""
        return (LogLine(self._time_of(self._offset), text),) if text else ()

    def close(self) -> None:
        """No file is open."""
        self._file.close()
        self._index.close()

    def _next_piece(self) -> bytes:
        """The bytes that follow, from this file or the next."""
        while not self.ended:
            rotated = self._is_rotated()
            piece = self._file.read(_PIECE)
            self._index.refresh()
            if (end := self._end) is not None:
                piece = piece[: max(end - self._offset, 0)]
            if piece or not rotated:
                return piece
            newer = self._path if _is_same(older_log(self._path), self._file) else older_log(self._path)
            self.close()
            self._open(newer, 0, 0)
        return b""

    def _open(self, log: Path, offset: int, begun: int) -> None:
        self._file = log.open("rb", buffering=0)
        self._file.seek(offset)
        self._index = IndexReader.open(log)
        self._offset = offset
        self._begun = begun

    @property
    def _end(self) -> int | None:
        """Where in this file another run begins; None where none has, so far."""
        return self._index.begins[self._begun] if len(self._index.begins) > self._begun else None

    def _is_rotated(self) -> bool:
        return not _is_same(self._path, self._file)

    def _split(self, piece: bytes) -> Sequence[LogLine]:
        """The lines that end in the piece, each with the time of its last byte."""
        start = self._offset - len(self._rest)
        self._offset += len(piece)
        *whole, self._rest = (self._rest + piece).split(b"\n")
        lines = []
        for text in whole:
            start += len(text) + 1
            lines.append(LogLine(self._time_of(start), text + b"\n"))
        if len(self._rest) >= _PIECE:
            lines.extend(self.rest())
        return lines

    def _time_of(self, end: int) -> datetime:
        known = self._index.time_of(max(end - 1, 0))
        return known or datetime.fromtimestamp(fstat(self._file.fileno()).st_mtime, UTC)


class SilentLog:
    """The log of a container in which no program runs."""

    ended = False

    def read(self) -> Sequence[LogLine]:
        """Nothing."""
        return ()

    def rest(self) -> Sequence[LogLine]:
        """Nothing."""
        return ()

    def close(self) -> None:
        """No file is open."""


def _is_same(path: Path, file: BinaryIO) -> bool:
    try:
        return path.stat().st_ino == fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False
