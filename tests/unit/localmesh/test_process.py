"""Children are logged, started anew, stopped on request, and do not outlive the supervisor."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from meshpass.localmesh.announcement import Announcement
from meshpass.localmesh.process import ChildProcess, Children, ProcessSpec

FOREVER = ("sh", "-c", "echo started $$; exec sleep 600")
FAMILY = ("sh", "-c", "sleep 600 & echo child $!; echo parent $$; wait")


def spec(tmp_path, command, **fields):
    return ProcessSpec(
        name="the child",
        command=command,
        environment={"PATH": os.environ["PATH"]},
        working_directory=tmp_path,
        log=tmp_path / "child.log",
        **fields,
    )


async def wait_until(condition):
    async with asyncio.timeout(15):
        while not (found := condition()):  # noqa: ASYNC110 - other processes set no events
            await asyncio.sleep(0.01)
        return found


def numbers(log: Path, words: int):
    """The process ids in the log, once there are so many words."""
    parts = log.read_text().split() if log.exists() else []
    return [int(part) for part in parts if part.isdigit()] if len(parts) >= words else None


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("children", list(Children))
async def test_a_cancelled_child_is_gone(tmp_path, children):
    """When run() has returned, so has the child; what it wrote is in its log."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ChildProcess(spec(tmp_path, FOREVER, children=children), announce=print).run())
        (pid,) = await wait_until(lambda: numbers(tmp_path / "child.log", 2))
        assert alive(pid)
        task.cancel()

    assert not alive(pid)


async def test_a_group_goes_as_a_whole(tmp_path):
    """The children of a child are ended with it."""
    async with asyncio.TaskGroup() as group:
        family = ChildProcess(spec(tmp_path, FAMILY, children=Children.GROUP), announce=print)
        task = group.create_task(family.run())
        pids = await wait_until(lambda: numbers(tmp_path / "child.log", 4))
        task.cancel()

    assert [pid for pid in pids if alive(pid)] == []


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path):
    """After a second at most."""
    stubborn = ("sh", "-c", "trap '' TERM; echo here $$; while true; do sleep 0.1; done")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ChildProcess(spec(tmp_path, stubborn), announce=print).run())
        (pid,) = await wait_until(lambda: numbers(tmp_path / "child.log", 2))
        task.cancel()

    assert not alive(pid)


async def test_a_crashed_child_is_started_anew_and_named(tmp_path):
    """The announcement says who, how it ended, and where its log is."""
    said = []
    async with asyncio.TaskGroup() as group:
        child = ChildProcess(spec(tmp_path, FOREVER), announce=said.append)
        task = group.create_task(child.run())
        (first,) = await wait_until(lambda: numbers(tmp_path / "child.log", 2))
        os.kill(first, signal.SIGSEGV)
        pids = await wait_until(lambda: numbers(tmp_path / "child.log", 4))
        task.cancel()

    assert pids[1] != first
    text = f"the child was ended by SIGSEGV, starting it anew (log: {tmp_path / 'child.log'})"
    assert said == [Announcement(text=text, trouble=True)]


@pytest.mark.parametrize("children", list(Children))
async def test_a_stopped_child_stays_away_until_it_is_started(tmp_path, children):
    """Nobody is told of a crash; stopping and starting twice is as once; every change is told."""
    said, pids = [], []
    async with asyncio.TaskGroup() as group:
        child = ChildProcess(spec(tmp_path, FOREVER, children=children), announce=said.append)
        child.add_listener(lambda: pids.append(child.pid))
        task = group.create_task(child.run())
        (first,) = await wait_until(lambda: numbers(tmp_path / "child.log", 2))
        await child.stop()
        await child.stop()
        assert child.stopped
        assert (child.pid, alive(first)) == (None, False)
        child.start()
        child.start()
        _, second = await wait_until(lambda: numbers(tmp_path / "child.log", 4))
        assert not child.stopped
        assert alive(second)
        task.cancel()

    assert said == []
    assert child.restarts == 0
    assert [pid is None for pid in pids][:3] == [False, True, True]


async def test_a_child_that_is_just_being_started_is_stopped_too(tmp_path):
    """At whatever moment it is asked, there is no child when it is answered."""
    others = set(psutil.Process().children())  # of tests before, such as the resource tracker of multiprocessing
    child = ChildProcess(spec(tmp_path, FOREVER), announce=print)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(child.run())
        for turns in range(6):
            for _ in range(turns):
                await asyncio.sleep(0)
            await child.stop()
            assert child.pid is None
            assert set(psutil.Process().children()) - others == set()
            child.start()
        task.cancel()


async def test_a_crashed_child_that_waits_for_its_start_can_be_stopped(tmp_path):
    """It is not started at the end of its pause."""
    said = []
    async with asyncio.TaskGroup() as group:
        child = ChildProcess(spec(tmp_path, ("sh", "-c", "echo was here")), announce=said.append)
        task = group.create_task(child.run())
        await wait_until(lambda: said)
        await child.stop()
        runs = (tmp_path / "child.log").read_text().count("was here")
        child.start()
        await wait_until(lambda: (tmp_path / "child.log").read_text().count("was here") > runs)
        task.cancel()


async def test_a_program_that_is_not_there_is_in_the_log(tmp_path):
    """Its name and the reason, and exit code 127."""
    said = []
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ChildProcess(spec(tmp_path, ("no-such-program",)), announce=said.append).run())
        await wait_until(lambda: said)
        task.cancel()

    assert "exit code 127" in said[0].text
    assert "no-such-program: No such file or directory" in (tmp_path / "child.log").read_text()


SUPERVISOR = """
import asyncio, os, sys
from pathlib import Path
from meshpass.localmesh.process import ChildProcess, Children, ProcessSpec

async def main():
    directory = Path(sys.argv[1])
    async with asyncio.TaskGroup() as group:
        for children in Children:
            spec = ProcessSpec(
                name=children.name, command=("sh", "-c", sys.argv[2]), environment={"PATH": os.environ["PATH"]},
                working_directory=directory, log=directory / f"{children.name}.log", children=children,
            )
            group.create_task(ChildProcess(spec, announce=print).run())

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the guard stays with every child; same code as GROUP")
def test_no_child_survives_a_killed_supervisor(tmp_path):
    """kill -9, at which nothing of ours can run any more: leaf programs and whole groups end all the same."""
    family = FAMILY[2]
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(tmp_path), family])
    try:
        # The leaf's own background process is nobody's business: only the program itself is bound to us.
        leaf = asyncio.run(wait_until(lambda: numbers(tmp_path / "NONE.log", 4)))
        group = asyncio.run(wait_until(lambda: numbers(tmp_path / "GROUP.log", 4)))
    finally:
        supervisor.kill()
        supervisor.wait()
    try:
        deadline = time.monotonic() + 10
        bound = [leaf[1], *group]
        while time.monotonic() < deadline and any(alive(pid) for pid in bound):
            time.sleep(0.01)
        assert [pid for pid in bound if alive(pid)] == []
    finally:
        for pid in filter(alive, [*leaf, *group]):
            os.kill(pid, signal.SIGKILL)


async def test_a_system_without_room_for_a_child_does_not_end_the_mesh(tmp_path, monkeypatch):
    """It is told, and tried again."""
    start, told = asyncio.create_subprocess_exec, []

    async def refuse_once(*command, **options):
        monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse_once)
    async with asyncio.TaskGroup() as group:
        child = ChildProcess(spec(tmp_path, FOREVER), announce=told.append)
        task = group.create_task(child.run())
        await wait_until(lambda: numbers(tmp_path / "child.log", 2))
        task.cancel()

    (one,) = told
    assert one.text.startswith("the child could not be started (Resource temporarily unavailable), starting it anew")
    assert child.restarts == 1
