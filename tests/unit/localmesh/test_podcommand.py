"""Programs that run for somebody: their streams, and that nothing of them stays."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import uvloop

from meshpass.apiserver.channel import Channel, TerminalSize
from meshpass.apiserver.podruntime import CommandRequest
from meshpass.localmesh.podcommand import run_command

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def sh(script: str, **wanted) -> CommandRequest:
    return CommandRequest(command=("sh", "-c", script), **({"stdout": True} | wanted))


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def read_all(command, channel=Channel.OUTPUT) -> bytes:
    data = b""
    while piece := await command.read(channel):
        data += piece
    return data


async def run(tmp_path, request) -> tuple[int, bytes]:
    async with asyncio.timeout(20), run_command(request, environment=ENVIRONMENT, directory=tmp_path) as command:
        code, out = await asyncio.gather(command.wait(), read_all(command))
    return code, out


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request):
    """The mesh runs on uvloop, tests mostly do not."""
    with asyncio.Runner(loop_factory=request.param) as found:
        yield found


def test_streams_on_both_loops(tmp_path, runner):
    """Input comes in whole, outputs come apart, input ends."""

    async def session():
        request = sh("cat; echo err >&2; exit 4", stdin=True, stderr=True)
        async with asyncio.timeout(20), run_command(request, environment=ENVIRONMENT, directory=tmp_path) as command:

            async def feed():
                await command.write(bytes(range(256)) * 4096)
                command.close_input()

            _, code, out, err = await asyncio.gather(
                feed(), command.wait(), read_all(command), read_all(command, Channel.ERROR_OUTPUT)
            )
        assert (code, out, err) == (4, bytes(range(256)) * 4096, b"err\n")

    runner.run(session())


def test_a_terminal_on_both_loops(tmp_path, runner):
    """All of it is one stream; the size is what was said; end of input is a key there."""

    async def session():
        request = sh("stty size; cat; tty >&2; exit 4", stdin=True, tty=True)
        async with asyncio.timeout(20), run_command(request, environment=ENVIRONMENT, directory=tmp_path) as command:
            command.resize(TerminalSize(width=101, height=33))
            out = b""
            while b"\n" not in out:
                out += await command.read(Channel.OUTPUT)
            await command.write(b"typed\n")
            while out.count(b"typed") < 2:  # the echo, and what cat writes
                out += await command.read(Channel.OUTPUT)
            command.close_input()
            code, rest = await asyncio.gather(command.wait(), read_all(command))
        assert code == 4
        assert b"/dev/" in out + rest
        assert b"typed\r\n" in out

    runner.run(session())


async def test_codes(tmp_path):
    """The program's own; 128 and more for a signal; 127 and 126 for what is no program."""
    assert (await run(tmp_path, sh("exit 9")))[0] == 9
    assert (await run(tmp_path, sh("kill -15 $$")))[0] == 143
    assert (await run(tmp_path, CommandRequest(command=("no-such-program",), stdout=True)))[0] == 127
    assert (await run(tmp_path, CommandRequest(command=("/",), stdout=True)))[0] == 126


async def test_signals_are_as_a_shell_has_them(tmp_path):
    """A writer whose reader has gone ends quietly, as at a prompt."""
    assert await run(tmp_path, sh("yes | head -1; trap '' PIPE; echo done")) == (0, b"y\ndone\n")
    code, _ = await run(tmp_path, sh("(kill -PIPE $(exec sh -c 'echo $PPID')); echo $?"))
    assert code == 0


async def test_what_nobody_asked_for_goes_nowhere(tmp_path):
    """Outputs, and input that is not there."""
    assert await run(tmp_path, sh("cat; echo err >&2; echo out")) == (0, b"out\n")
    request = CommandRequest(command=("sh", "-c", "echo out"), stdin=True)
    assert await run(tmp_path, request) == (0, b"")


async def test_input_that_nobody_reads_is_no_failure(tmp_path):
    """The program has ended, or closed it."""
    async with run_command(sh("exit 0", stdin=True), environment=ENVIRONMENT, directory=tmp_path) as command:
        await command.wait()
        await command.write(b"x" * 1_000_000)
        command.close_input()


async def test_nothing_stays_behind(tmp_path):
    """At the end of the context the program and its children are gone, however they ignore it."""
    script = "trap '' TERM HUP; echo $$; (trap '' TERM HUP; while :; do sleep 0.05; done) & echo $!; wait"
    for wanted in ({}, {"tty": True, "stdin": True}):
        async with run_command(sh(script, **wanted), environment=ENVIRONMENT, directory=tmp_path) as command:
            out = b""
            while out.count(b"\n") < 2:
                out += await command.read(Channel.OUTPUT)
        assert [pid for pid in map(int, out.split()) if alive(pid)] == []


async def test_a_daemon_does_not_hold_up_the_end(tmp_path):
    """Even one that has left the group, and holds the output open."""
    code, out = await run(tmp_path, sh("setsid sleep 600 & echo $!"))
    try:
        assert code == 0
    finally:
        os.kill(int(out), signal.SIGKILL)


async def test_no_descriptor_is_left(tmp_path):
    """Of hundreds of programs in a day."""
    await run(tmp_path, sh("true"))
    before = psutil.Process().num_fds()
    for wanted in ({}, {"stdin": True, "stderr": True}, {"tty": True}):
        await run(tmp_path, sh("true", **wanted))
    with pytest.raises(FileNotFoundError):
        await run(tmp_path / "gone", sh("true"))
    assert psutil.Process().num_fds() == before


SERVER = """
import asyncio, os, sys
from pathlib import Path
from meshpass.apiserver.podruntime import CommandRequest
from meshpass.localmesh.podcommand import run_command

async def main():
    request = CommandRequest(command=("sh", "-c", "echo $$ > $0; sleep 600 & echo $! >> $0; wait", sys.argv[1]), stdout=True)
    async with run_command(request, environment=dict(os.environ), directory=Path.cwd()) as command:
        await command.wait()

asyncio.run(main())
"""


def test_no_program_survives_a_killed_server(tmp_path):
    """kill -9, after which nothing of ours runs any more."""
    numbers = tmp_path / "numbers"
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(numbers)], cwd=tmp_path)
    deadline = time.monotonic() + 15
    pids: list[int] = []
    try:
        while len(pids) < 2 and time.monotonic() < deadline:
            pids = [int(word) for word in numbers.read_text().split()] if numbers.exists() else []
    finally:
        server.kill()
        server.wait()
    assert len(pids) == 2
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(alive, pids))
