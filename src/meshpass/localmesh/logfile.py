"""Log file of a child process: bounded in size, the older half kept beside it, and an index of times beside each."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from meshpass.localmesh.logindex import IndexWriter, index_path

_LIMIT = 4 * 1024 * 1024


class LogFile:
    """Appends to ``path``; at ``limit`` bytes the file becomes ``<path>.1`` and a new one begins.

    So no child takes much more than twice the limit on disk. The directory must exist. What a full disk does not take is
    lost: the child and its mesh go on.
    """

    def __init__(self, path: Path, *, limit: int = _LIMIT) -> None:
        self.path = path
        self._limit = limit
        self._open()

    def begin(self) -> None:
        """What follows is written by another run of the program."""
        with suppress(OSError):
            self._reopen()
            self._index.note(self._file.tell(), begins=True)

    def write(self, data: bytes) -> None:
        """The data is in the file, handed to the system, if that takes it."""
        with suppress(OSError):
            self._reopen()
            if self._file.tell() + len(data) > self._limit and self._file.tell() > 0:
                self.close()
                older = older_log(self.path)
                index_path(self.path).replace(index_path(older))
                self.path.replace(older)
                self._open()
            self._index.note(self._file.tell())
            self._file.write(data)

    def close(self) -> None:
        """Nothing more is written."""
        self._file.close()
        self._index.close()

    def _reopen(self) -> None:
        """The file is open: it is not where another one could not be begun."""
        if self._file.closed:
            self._open()

    def _open(self) -> None:
        index = IndexWriter(self.path)
        try:
            # Without a buffer, what was not taken does not come back in the midst of what follows.
            file: BinaryIO = self.path.open("ab", buffering=0)
        except BaseException:
            index.close()
            raise
        self._file, self._index = file, index
        self.path.chmod(0o600)


def older_log(path: Path) -> Path:
    """Where a log was moved when it was full."""
    return path.with_name(path.name + ".1")


def last_lines(path: Path, count: int) -> str:
    """The last lines of a log, for a message about why its writer failed; empty where there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 64 * 1024))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(lines[-count:])
