"""Parts of a running mesh: the child processes, and how each of them can be stopped and started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from meshpass.errors import LocalMeshError
from meshpass.kube.client import KubeClient
from meshpass.localmesh.announcement import Announce
from meshpass.localmesh.control import read_raw_status
from meshpass.localmesh.controlprocess import ControlProcess
from meshpass.localmesh.meshfile import PROXY_CONTAINER, Workload
from meshpass.localmesh.objects import Placement
from meshpass.localmesh.process import ChildProcess, ProcessSpec
from meshpass.localmesh.processrecord import Role
from meshpass.localmesh.readiness import Readiness
from meshpass.localmesh.switchboard import Part, PartKind, Switchboard

_LOOK_AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadParts:
    """The processes of one workload."""

    workload: Workload
    app: ChildProcess | None
    """Its program, if the mesh has started one."""
    envoy: ChildProcess
    readiness: Readiness


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPart:
    """One process of a control plane that is several."""

    process: ControlProcess
    child: ChildProcess


def make_workload_parts(
    workload: Workload, placement: Placement, *, app: ProcessSpec | None, envoy: ProcessSpec, announce: Announce
) -> WorkloadParts:
    """The processes of the workload; nothing runs yet."""
    program = None if app is None else ChildProcess(app, announce=announce)
    proxy = ChildProcess(envoy, announce=announce)
    children = {PROXY_CONTAINER: proxy} | ({} if program is None else {workload.name: program})
    return WorkloadParts(
        workload=workload, app=program, envoy=proxy, readiness=Readiness(workload, placement, children)
    )


def make_switchboard(workloads: Iterable[WorkloadParts], controls: Iterable[ControlPart]) -> Switchboard:
    """The names of all parts."""
    every, processes = tuple(workloads), tuple(controls)
    parts = [*(_control_part(one) for one in processes), *(part for one in every for part in _workload_parts(one))]
    return Switchboard(
        parts, without_program=(one.workload.key for one in every if one.app is None), alone=not processes
    )


@asynccontextmanager
async def running_children(children: Iterable[ChildProcess]) -> AsyncIterator[None]:
    """The children run inside the context; after it they are gone."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(child.run()) for child in children]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


@asynccontextmanager
async def following_readiness(
    workloads: Iterable[WorkloadParts], clients: Mapping[str, KubeClient]
) -> AsyncIterator[None]:
    """Inside, each cluster is told when processes of its workloads end or come back; not of their end with the mesh."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one.readiness.run(clients[one.workload.cluster])) for one in workloads]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _control_part(one: ControlPart) -> Part:
    server = one.process.role is Role.MANAGEMENT_SERVER

    async def settled(running: bool) -> None:
        while running and not await is_answering(one.process.control_socket):  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    return Part(
        kind=PartKind.MANAGEMENT_SERVER if server else PartKind.AGENT,
        path=() if server else (one.process.cluster,),
        child=one.child,
        settled=settled,
    )


async def is_answering(control_socket: Path) -> bool:
    """True where a process of the control plane answers."""
    try:
        await asyncio.to_thread(read_raw_status, control_socket)
    except LocalMeshError:
        return False
    return True


def _workload_parts(one: WorkloadParts) -> Iterator[Part]:
    if one.app is not None:
        settled = _settled(one.readiness, one.workload.name)
        yield Part(kind=PartKind.WORKLOAD, path=one.workload.key, child=one.app, settled=settled)
    yield Part(
        kind=PartKind.PROXY,
        path=one.workload.key,
        child=one.envoy,
        settled=_settled(one.readiness, PROXY_CONTAINER),
    )


def _settled(readiness: Readiness, container: str) -> Callable[[bool], Awaitable[None]]:
    async def settled(running: bool) -> None:
        await readiness.wait_told(container, ready=running)

    return settled
