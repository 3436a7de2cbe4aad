"""PodCommand: a program that runs as a workload, for somebody who asked for it, and no longer than they want it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

from meshpass.apiserver.channel import Channel, TerminalSize
from meshpass.apiserver.podruntime import CommandRequest
from meshpass.localmesh import guard
from meshpass.localmesh.descriptor import Descriptor
from meshpass.localmesh.process import stop_process

_PIECE = 64 * 1024
_END_OF_FILE = b"\x04"
"""What ends the input of a program at a terminal (termios, VEOF)."""


class PodCommand:
    """The program with its streams: pipes, or one terminal for all of them."""

    def __init__(
        self, process: asyncio.subprocess.Process, streams: Mapping[Channel, Descriptor], terminal: Descriptor | None
    ) -> None:
        self._process = process
        self._streams = streams
        self._terminal = terminal

    async def write(self, data: bytes) -> None:
        """The program's standard input has taken the data, or nobody reads it any more."""
        stream = self._streams.get(Channel.INPUT)
        if stream is not None:
            with suppress(OSError):
                await stream.write(data)

    def close_input(self) -> None:
        """Standard input ends after what was written."""
        stream = self._streams.get(Channel.INPUT)
        if stream is None:
            return
        if stream is not self._terminal:
            stream.close()
            return
        with suppress(OSError):  # one that takes no more input is not waiting for its end
            os.write(stream.number, _END_OF_FILE)

    async def read(self, channel: Channel) -> bytes:
        """The next bytes of one of its outputs; empty at the end."""
        stream = self._streams.get(channel)
        return b"" if stream is None else await stream.read(_PIECE)

    def resize(self, size: TerminalSize) -> None:
        """The terminal, if it has one, is of this size."""
        if self._terminal is not None:
            rows = struct.pack("HHHH", size.height, size.width, 0, 0)
            fcntl.ioctl(self._terminal.number, termios.TIOCSWINSZ, rows)

    async def wait(self) -> int:
        """The exit code once it has ended; 128 and its number for a signal. Outputs end then too."""
        code = await self._process.wait()
        for stream in self._streams.values():
            stream.finish()
        return code if code >= 0 else 128 - code


@asynccontextmanager
async def run_command(
    request: CommandRequest, *, environment: Mapping[str, str], directory: Path
) -> AsyncIterator[PodCommand]:
    """The program runs inside; after, it and its process group are gone, as when this process dies. Raises OSError."""
    with ExitStack() as theirs, ExitStack() as ours:
        terminal: Descriptor | None = None
        streams: dict[Channel, Descriptor] = {}
        if request.tty:
            terminal, slave = _open_terminal(ours, theirs)
            standard = {Channel.INPUT: slave, Channel.OUTPUT: slave, Channel.ERROR_OUTPUT: slave}
            streams = {Channel.OUTPUT: terminal} | ({Channel.INPUT: terminal} if request.stdin else {})
            environment = {"TERM": "xterm", **environment}
        else:
            standard = {}
            wanted = {
                Channel.INPUT: request.stdin,
                Channel.OUTPUT: request.stdout,
                Channel.ERROR_OUTPUT: request.stderr,
            }
            for channel, used in wanted.items():
                if used:
                    streams[channel], standard[channel] = _open_pipe(ours, theirs, reads=channel is Channel.INPUT)
        # The guard ends the group when this pipe ends, whatever becomes of us.
        control, guarded = _open_pipe(ours, theirs, reads=True)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", guard.__file__, "session", str(os.getpid()), str(guarded), *request.command),
            # Pipes of our own: asyncio and uvloop make sockets, and /dev/stdin cannot be opened where it is one.
            stdin=standard.get(Channel.INPUT, asyncio.subprocess.DEVNULL),
            stdout=standard.get(Channel.OUTPUT, asyncio.subprocess.DEVNULL),
            stderr=standard.get(Channel.ERROR_OUTPUT, asyncio.subprocess.DEVNULL),
            env=dict(environment),
            cwd=directory,
            start_new_session=True,
            pass_fds=(guarded,),
        )
        theirs.close()
        try:
            yield PodCommand(process, streams, terminal)
        finally:
            control.close()
            if process.returncode is None:
                await stop_process(process)


def _open_terminal(ours: ExitStack, theirs: ExitStack) -> tuple[Descriptor, int]:
    """Our end, and the program's."""
    master, slave = os.openpty()
    theirs.callback(os.close, slave)
    terminal = Descriptor(master)
    ours.callback(terminal.close)
    return terminal, slave


def _open_pipe(ours: ExitStack, theirs: ExitStack, *, reads: bool) -> tuple[Descriptor, int]:
    """Our end, and the program's, which ``reads`` from it or writes to it."""
    reader, writer = os.pipe()
    own, other = (writer, reader) if reads else (reader, writer)
    theirs.callback(os.close, other)
    stream = Descriptor(own)
    ours.callback(stream.close)
    return stream, other
