"""Startup: waiting until the control plane answers and every proxy of a new mesh has its configuration."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from meshpass.errors import LocalMeshError
from meshpass.localmesh.directory import MeshRecord, StateDirectory
from meshpass.localmesh.logfile import last_lines
from meshpass.localmesh.meshcontrol import read_mesh_status, wait_mesh
from meshpass.localmesh.meshfile import Workload
from meshpass.localmesh.objects import node_id
from meshpass.localmesh.parts import ControlPart, is_answering
from meshpass.localmesh.processrecord import Role
from meshpass.localmesh.workload_process import log_path, proxy_name

READY_WITHIN_SECONDS = 60.0
_LOOK_AGAIN = 1.0
_PAUSE = 0.02
_LOG_LINES = 5
_LOOK_AT_PROCESS = 0.05
_HOPELESS_RESTARTS = 4
"""Of a process that has never answered: it will not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Startup:
    """A mesh whose processes have been started."""

    record: MeshRecord
    state: StateDirectory
    workloads: tuple[Workload, ...]

    async def wait_answering(self, controls: Iterable[ControlPart]) -> None:
        """These processes answer. Raises LocalMeshError where one does not within 60 s, or ends time and again."""
        async with asyncio.TaskGroup() as group:
            for one in controls:
                group.create_task(_wait_answering(one))

    async def wait_in_sync(self) -> None:
        """Every proxy has its configuration. Raises LocalMeshError, naming one, where that is not so within 60 s."""
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while True:
            late, missing = await self._look()
            if not late and not missing:
                return
            if time.monotonic() > deadline:
                raise self._not_ready(missing[0] if missing else None, late)
            await asyncio.sleep(_PAUSE)

    async def _look(self) -> tuple[tuple[str, ...], tuple[Workload, ...]]:
        """What is late, and the workloads whose proxies are."""
        try:
            late = await asyncio.to_thread(wait_mesh, self.record, timeout=_LOOK_AGAIN)
            status = await asyncio.to_thread(read_mesh_status, self.record)
        except LocalMeshError as error:
            if self.record.processes[0].role is Role.ALONE:
                raise
            return (str(error),), ()  # one that has just crashed is being started anew
        in_sync = {proxy.node for proxy in status.proxies if proxy.connected and proxy.in_sync}
        return late, tuple(workload for workload in self.workloads if node_id(workload) not in in_sync)

    def _not_ready(self, workload: Workload | None, late: tuple[str, ...]) -> LocalMeshError:
        if workload is None:
            return LocalMeshError(f"not in sync after {READY_WITHIN_SECONDS:g} s: {', '.join(late)}")
        return _unready(
            f"{proxy_name(workload)} is not in sync after {READY_WITHIN_SECONDS:g} s",
            log_path(self.state, workload, "envoy"),
        )


async def _wait_answering(one: ControlPart) -> None:
    child = one.child
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while not await is_answering(one.process.control_socket):
        if child.restarts >= _HOPELESS_RESTARTS:
            raise _unready(f"{child.spec.name} has ended {child.restarts} times", one.process.log)
        if time.monotonic() > deadline:
            raise _unready(f"{child.spec.name} does not answer after {READY_WITHIN_SECONDS:g} s", one.process.log)
        await asyncio.sleep(_LOOK_AT_PROCESS)


def _unready(what: str, log: Path) -> LocalMeshError:
    words = last_lines(log, _LOG_LINES)
    return LocalMeshError(what + (f":\n{words}" if words else ""), hint=f"its log is {log}")
