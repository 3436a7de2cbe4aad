"""CertificateFiles: what is in the files that objects name, read from the disk and followed as they change."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from meshpass.observable import Observable
from meshpass.translate.filecontent import NO_FILES, UNREAD, FileContent, FileContents

INTERVAL_SECONDS = 1.0
"""Between two looks at files that are known."""

FIRST_SECONDS = 1.0
"""How long others wait for new files."""

MAX_BYTES = 1 << 20

MAX_HELD_LOOKS = 5
"""A file that changes at every look holds the changes of others back for so many looks, and no longer."""

_UNREADABLE = FileContent(problem="cannot be read")
"""Said of files that are not there and of files that may not be read alike: nobody learns here what there is."""
_NO_REGULAR_FILE = FileContent(problem="is no regular file")
_TOO_LARGE = FileContent(problem=f"is larger than {MAX_BYTES >> 20} MiB")
_NO_TEXT = FileContent(problem="is no text")
_NO_PEM = FileContent(problem="has nothing in PEM")

_Mark = tuple[int, ...] | None
"""What changes with a file; None for one that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A file as it was at the last look."""

    mark: _Mark
    content: FileContent
    changing: bool = False
    """True: it was another one at the look before. It is read when it stays as it is for a look."""
    settled: bool = False
    """True: it was read when it had not changed for a whole interval, so that no later change has the same mark."""


class CertificateFiles(Observable):
    """Reads what `follow` names, as long as `run` runs.

    - ``revision`` grows whenever ``files`` is another one.
    - Files that change about the same time, such as a certificate and its key, change in ``files`` at once: when none
      has changed for an interval.
    - What has nothing in PEM is not kept. Nothing of any content is logged.
    - A disk that hangs leaves all files as they are. Its own new ones then count as not read; others are read.
    - Not thread-safe: it lives in one event loop; the disk is read in threads.
    """

    def __init__(self, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        super().__init__()
        self._interval = interval_seconds
        self._wanted: frozenset[str] = frozenset()
        self._seen: dict[str, _Seen] = {}
        self._held = 0
        self._files = NO_FILES
        self._wanted_more = asyncio.Event()

    @property
    def files(self) -> FileContents:
        """What is known of every followed file. Never changed in place."""
        return self._files

    def follow(self, paths: frozenset[str]) -> bool:
        """Exactly these are followed from now on.

        True if some of them have not been looked at yet: ``files`` is another one then within FIRST_SECONDS, and has
        them all.
        """
        self._wanted = paths
        if not self._files.keys() <= paths:
            self._seen = {path: seen for path, seen in self._seen.items() if path in paths}
            self._files = MappingProxyType({path: one for path, one in self._files.items() if path in paths})
        unknown = not paths <= self._files.keys()
        if unknown:
            self._wanted_more.set()
        return unknown

    async def run(self) -> NoReturn:
        """Follows until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_again())
            while True:
                await self._wanted_more.wait()
                self._wanted_more.clear()
                tasks.create_task(self._read_new(sorted(self._wanted - self._files.keys()), tasks))

    async def _read_new(self, paths: Iterable[str], tasks: asyncio.TaskGroup) -> None:
        reading = tasks.create_task(asyncio.to_thread(_read_all, paths))
        await asyncio.wait({reading}, timeout=FIRST_SECONDS)
        if not reading.done():
            self._publish(dict.fromkeys(paths, UNREAD))
        read = {path: seen for path, seen in (await reading).items() if path in self._wanted}
        self._seen |= read
        self._publish({path: seen.content for path, seen in read.items()})

    async def _look_again(self) -> NoReturn:
        while True:
            await asyncio.sleep(self._interval)
            before = dict(self._seen)
            if not before:
                continue
            after = await asyncio.to_thread(_look_all, before)
            self._seen.update({path: seen for path, seen in after.items() if self._seen.get(path) is before[path]})
            if any(seen.changing for seen in self._seen.values()) and self._held < MAX_HELD_LOOKS:
                self._held += 1
                continue
            self._held = 0
            self._publish({path: seen.content for path, seen in self._seen.items()})

    def _publish(self, contents: Mapping[str, FileContent]) -> None:
        known = {path: content for path, content in self._files.items() if path in self._wanted}
        files = known | {path: content for path, content in contents.items() if path in self._wanted}
        if files == self._files:
            return
        self._files = MappingProxyType(files)
        self._count_change()


def _read_all(paths: Iterable[str]) -> dict[str, _Seen]:
    return {path: _Seen(mark=_mark(path), content=_read(path)) for path in paths}


def _look_all(before: Mapping[str, _Seen]) -> dict[str, _Seen]:
    return {path: _look(path, seen) for path, seen in before.items()}


def _look(path: str, seen: _Seen) -> _Seen:
    mark = _mark(path)
    if mark != seen.mark:
        return replace(seen, mark=mark, changing=True, settled=False)
    if seen.settled:
        return seen
    content = _read(path)
    # What could not be read is tried again: the reason need not be one that changes the mark.
    kept = seen.content if content == seen.content else content
    return _Seen(mark=mark, content=kept, settled=content is not _UNREADABLE)


def _mark(path: str) -> _Mark:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _read(path: str) -> FileContent:
    """The content. Never blocks on what is no file of a disk, and opens no device."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            return _NO_REGULAR_FILE
        with open(path, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return _NO_REGULAR_FILE
            data = file.read(MAX_BYTES + 1) or b""
    except (OSError, ValueError):
        return _UNREADABLE
    if len(data) > MAX_BYTES:
        return _TOO_LARGE
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return _NO_TEXT
    return FileContent(text=text) if "-----BEGIN " in text else _NO_PEM


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
