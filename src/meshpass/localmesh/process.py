"""Child processes: started through the guard, logged, started anew when they crash, stopped when asked to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from meshpass.localmesh import guard
from meshpass.localmesh.announcement import Announce, Announcement
from meshpass.localmesh.logfile import LogFile

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_HEALTHY_AFTER = 10.0
"""A child that lived this many seconds is started anew without a pause worth the name."""
_STOP_GRACE = 0.9
"""Seconds that a child has between SIGTERM and SIGKILL."""


class Children(Enum):
    """Whether a program starts others."""

    NONE = "exec"
    """The kernel ends the program with the supervisor (Linux; elsewhere as GROUP)."""
    GROUP = "group"
    """A guard stays with it and ends its whole process group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """How one child is started."""

    name: str
    """What messages call it, and its log file."""
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """The whole environment."""
    working_directory: Path
    log: Path
    children: Children = Children.NONE


class ChildProcess:
    """Keeps one child running until cancelled, but for the time between `stop` and `start`."""

    def __init__(self, spec: ProcessSpec, *, announce: Announce) -> None:
        self.spec = spec
        self.pid: int | None = None
        """The child's process id while it runs (the guard's, for GROUP)."""
        self.restarts = 0
        self._announce = announce
        self._listeners: list[Callable[[], None]] = []
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._gone = asyncio.Event()
        self._gone.set()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def stopped(self) -> bool:
        """True from `stop` to `start`."""
        return not self._wanted.is_set()

    def add_listener(self, listener: Callable[[], None]) -> None:
        """It is called whenever the process has started, and whenever it has ended."""
        self._listeners.append(listener)

    async def stop(self) -> None:
        """The child is gone, and is not started before somebody says so; of a stopped one nothing changes.

        It gets SIGTERM, after 0.9 s SIGKILL.
        """
        self._wanted.clear()
        if self._process is not None:
            await stop_process(self._process)
        await self._gone.wait()
        self._tell()

    def start(self) -> None:
        """The child is started, if it was stopped."""
        self._wanted.set()

    async def run(self) -> None:
        """Runs the child for ever: when it ends it is started anew, after a pause that doubles from 0.1 s to 5 s.

        So it is when the system has no process or file descriptor for it.
        Cancelled, it sends SIGTERM, after 0.9 s SIGKILL, and returns when the child is gone.
        """
        log = LogFile(self.spec.log)
        pause = _FIRST_PAUSE
        try:
            while True:
                while self.stopped:  # again, it may be, between being wanted and getting here
                    await self._wanted.wait()
                started = time.monotonic()
                ended = await self._run_once(log)
                if self.stopped:
                    pause = _FIRST_PAUSE
                    continue
                if time.monotonic() - started > _HEALTHY_AFTER:
                    pause = _FIRST_PAUSE
                self.restarts += 1
                text = f"{self.spec.name} {ended}, starting it anew (log: {self.spec.log})"
                self._announce(Announcement(text=text, trouble=True))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            log.close()

    async def _run_once(self, log: LogFile) -> str:
        """How it ended, in words."""
        self._gone.clear()
        try:
            return _render_exit(await self._run_process(log))
        except OSError as error:
            return f"could not be started ({error.strerror})"
        finally:
            self.pid = self._process = None
            self._gone.set()
            self._tell()

    async def _run_process(self, log: LogFile) -> int:
        log.begin()
        mode = self.spec.children if sys.platform == "linux" else Children.GROUP
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", guard.__file__, mode.value, str(os.getpid()), *self.spec.command),
            stdin=asyncio.subprocess.PIPE if mode is Children.GROUP else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(self.spec.environment),
            cwd=self.spec.working_directory,
            # A Ctrl-C in the terminal is the supervisor's to handle.
            start_new_session=True,
        )
        self.pid, self._process = process.pid, process
        self._tell()
        try:
            if self.stopped:  # while it was being started
                await stop_process(process)
            if process.stdout is not None:
                while data := await process.stdout.read(64 * 1024):
                    log.write(data)
            return await process.wait()
        finally:
            if process.returncode is None:
                await stop_process(process)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


async def stop_process(process: asyncio.subprocess.Process) -> None:
    """The process is gone: asked by SIGTERM, made by SIGKILL after 0.9 s."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_GRACE):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _render_exit(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
