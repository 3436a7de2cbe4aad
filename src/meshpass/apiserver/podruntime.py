"""What runs Pods, as far as the API server needs to know it: the part of a kubelet behind ``exec`` and ``log``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from meshpass.apiserver.channel import Channel, TerminalSize


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerName:
    """One container of a Pod of this cluster."""

    namespace: str
    pod: str
    container: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRequest:
    """A program, and which of its streams somebody wants."""

    command: tuple[str, ...]
    """The program and its arguments; no shell looks at them. Never logged: arguments may be tokens."""
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False
    """It has a terminal, so that what it writes as errors comes as output."""

    def __repr__(self) -> str:
        return f"CommandRequest({len(self.command)} words)"


class RunningCommand(Protocol):
    """A program that was started for somebody."""

    async def write(self, data: bytes) -> None:
        """The program's standard input has taken the data, or nobody reads it any more."""

    def close_input(self) -> None:
        """Standard input ends after what was written."""

    async def read(self, channel: Channel) -> bytes:
        """The next bytes of one of its outputs; empty at the end."""

    def resize(self, size: TerminalSize) -> None:
        """The terminal, if it has one, is of this size."""

    async def wait(self) -> int:
        """The exit code once it has ended; 128 and its number for a signal."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log."""

    time: datetime
    """When its end was written; aware."""
    text: bytes
    """With the line break; without it, the rest of a line that is not complete, or is very long."""


class LogCursor(Protocol):
    """A place in the log of one run of a container."""

    def read(self) -> Sequence[LogLine]:
        """The next lines, a bounded number of them; none when there are no more so far. Raises OSError."""

    def rest(self) -> Sequence[LogLine]:
        """The beginning of a line that was not read because its end was missing."""

    @property
    def ended(self) -> bool:
        """True when nothing more can come: the run is over."""

    def close(self) -> None:
        """No file is open."""


class PodRuntime(Protocol):
    """What runs the Pods of one cluster."""

    def runs(self, name: ContainerName) -> bool:
        """True where it runs that Pod."""

    def refuses(self, name: ContainerName) -> str:
        """Why no command can run in that container; empty where one can."""

    def run(self, name: ContainerName, request: CommandRequest) -> AbstractAsyncContextManager[RunningCommand]:
        """The program runs inside the context, and nothing of it after. Raises OSError."""

    def open_log(self, name: ContainerName, *, previous: bool) -> LogCursor | None:
        """The beginning of the log of the container's run, or of the run before; None where there was none before."""
