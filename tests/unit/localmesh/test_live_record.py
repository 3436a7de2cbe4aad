"""``mesh.json`` follows the processes of a mesh, and its disk ends nobody."""

from __future__ import annotations

import asyncio
import errno
import os
import sys

from meshpass.localmesh.controlprocess import ControlProcess
from meshpass.localmesh.directory import MeshRecord, StateDirectory
from meshpass.localmesh.liverecord import LiveRecord
from meshpass.localmesh.process import ChildProcess, ProcessSpec
from meshpass.localmesh.processrecord import Role


async def test_a_full_disk_leaves_the_record_as_it_was(tmp_path, monkeypatch):
    """The process that has ended is started anew all the same, and told of as soon as there is room."""
    state = StateDirectory(path=tmp_path)
    one = ControlProcess(
        role=Role.AGENT,
        cluster="cluster1",
        directory=tmp_path,
        control_socket=tmp_path / "control.sock",
        ads_socket=tmp_path / "ads.sock",
        log=tmp_path / "log",
    )
    spec = ProcessSpec(
        name="the agent",
        command=(sys.executable, "-c", "import time; time.sleep(600)"),
        environment={},
        working_directory=tmp_path,
        log=tmp_path / "log",
    )
    child = ChildProcess(spec, announce=print)
    record = LiveRecord(state, MeshRecord(pid=1, ready=False, run_directory=""), (one,), {one.control_socket: child})
    writes: list[None] = []

    def refuse(*_arguments):
        writes.append(None)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with asyncio.TaskGroup() as group:
        with monkeypatch.context() as patch:
            patch.setattr(StateDirectory, "write_record", refuse)
            task = group.create_task(child.run())
            async with asyncio.timeout(10):
                while child.pid is None or not writes:  # noqa: ASYNC110 - another process sets no event
                    await asyncio.sleep(0.01)
            assert state.read_record().processes[0].pid is None
        await child.stop()
        child.start()
        async with asyncio.timeout(10):
            while child.pid is None or state.read_record().processes[0].pid != child.pid:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        assert record.record.processes[0].pid == child.pid
        task.cancel()
