"""Log file of a child process: bounded in size, the older half kept beside it."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_LIMIT = 4 * 1024 * 1024


class LogFile:
    """Appends to ``path``; at ``limit`` bytes the file becomes ``<path>.1`` and a new one begins.

    So no child takes more than twice the limit on disk. The directory must exist.
    """

    def __init__(self, path: Path, *, limit: int = _LIMIT) -> None:
        self.path = path
        self._limit = limit
        self._file = self._open()

    def write(self, data: bytes) -> None:
        """The data is in the file, handed to the system."""
        if self._file.tell() + len(data) > self._limit and self._file.tell() > 0:
            self._file.close()
            self.path.replace(self.path.with_name(self.path.name + ".1"))
            self._file = self._open()
        self._file.write(data)
        self._file.flush()

    def close(self) -> None:
        """Nothing more is written."""
        self._file.close()

    def _open(self) -> BinaryIO:
        file = self.path.open("ab")
        self.path.chmod(0o600)
        return file


def last_lines(path: Path, count: int) -> str:
    """The last lines of a log, for a message about why its writer failed; empty where there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 64 * 1024))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(lines[-count:])
