"""Supervisor: one process that runs a whole local mesh, from the lock on its directory to the last Envoy."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from meshpass.app import ControlPlaneSettings, run_control_plane
from meshpass.errors import LocalMeshError
from meshpass.localmesh.address import claim_address_block
from meshpass.localmesh.announcement import Announce, Announcement
from meshpass.localmesh.cluster_server import run_api_servers
from meshpass.localmesh.control import read_status, wait_in_sync
from meshpass.localmesh.directory import (
    ClusterRecord,
    MeshRecord,
    StateDirectory,
    WorkloadRecord,
    ads_socket,
    control_socket,
)
from meshpass.localmesh.envoy_binary import find_envoy
from meshpass.localmesh.existing import ExistingServers, use_api_servers
from meshpass.localmesh.listening import find_silent
from meshpass.localmesh.logfile import last_lines
from meshpass.localmesh.meshfile import LocalMesh, Workload
from meshpass.localmesh.objects import Placement, Placements, node_id
from meshpass.localmesh.pods import local_pods
from meshpass.localmesh.populate import populate_clusters
from meshpass.localmesh.process import ChildProcess, ProcessSpec
from meshpass.localmesh.workload_process import (
    EnvoySettings,
    app_process,
    envoy_process,
    log_path,
    place_workloads,
    proxy_name,
)
from meshpass.translate.settings import FeatureGates

_READY_WITHIN = 60.0
_LOOK_AGAIN = 1.0
_APPS_WITHIN = 5.0
"""Programs that take longer, to compile themselves say, are no reason to fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSettings:
    """What to run, and where."""

    mesh: LocalMesh
    base_directory: Path
    """What relative paths of the mesh file start from."""
    state: StateDirectory
    gates: FeatureGates = field(default_factory=FeatureGates)
    servers: ExistingServers | None = None
    """The API servers to run on; None: those that come with the mesh."""


@asynccontextmanager
async def run_local_mesh(settings: SupervisorSettings, announce: Announce) -> AsyncIterator[MeshRecord]:
    """The mesh runs, and every proxy has its configuration, inside this context; at its end everything stops.

    Raises LocalMeshError: another mesh runs here, a port is taken, no Envoy is found, or a proxy was not ready within
    60 s.
    """
    mesh, state = settings.mesh, settings.state
    envoy = find_envoy()
    state.prepare()
    with state.lock():
        previous = state.read_record()
        # Who holds the lock is in the record from the first moment: `down` must not take an old pid for it.
        state.write_record(
            msgspec.structs.replace(previous, pid=os.getpid(), ready=False)
            if previous
            else MeshRecord(pid=os.getpid(), ready=False, run_directory="")
        )
        run_directory = state.make_run_directory()
        block = claim_address_block(state.path, mesh.workloads)
        try:
            placements = place_workloads(mesh.workloads, block.addresses)
            envoys = EnvoySettings(binary=envoy, state=state, run_directory=run_directory)
            async with _run_everything(settings, envoys, placements, previous, announce) as record:
                yield record
        except BaseExceptionGroup as failures:
            # Every TaskGroup on the way wraps what failed inside it; people want to read the failure.
            raise _first(failures) from None
        finally:
            block.claim.close()
            shutil.rmtree(run_directory, ignore_errors=True)


@asynccontextmanager
async def _run_everything(
    settings: SupervisorSettings,
    envoys: EnvoySettings,
    placements: Placements,
    previous: MeshRecord | None,
    announce: Announce,
) -> AsyncIterator[MeshRecord]:
    mesh, state = settings.mesh, settings.state
    apps = [app_process(state, one, placements[one.key], settings.base_directory) for one in mesh.workloads]
    async with _children(tuple(app for app in apps if app), announce):
        started = time.monotonic()
        pods = local_pods(mesh, placements, state=state, base_directory=settings.base_directory)
        served = (
            run_api_servers(mesh, state, previous, pods)
            if settings.servers is None
            else use_api_servers(mesh, state, settings.servers)
        )
        async with served as clusters:
            _announce_step(announce, f"API servers of {', '.join(one.name for one in clusters)} answer", started)
            record = _record(settings, envoys.run_directory, clusters, placements)
            state.write_record(record)
            await populate_clusters(mesh, state.kubeconfig, placements)
            _announce_step(announce, f"{_count(len(mesh.workloads), 'workload')} stored in them", started)
            async with (
                run_control_plane(_control_plane_settings(settings, envoys.run_directory)),
                _children(tuple(envoy_process(envoys, one, i) for i, one in enumerate(mesh.workloads)), announce),
            ):
                await _wait_ready(settings, envoys.run_directory)
                _announce_step(announce, f"{_count(len(mesh.workloads), 'proxy', 'proxies')} in sync", started)
                for name in await find_silent(_app_addresses(mesh, placements), seconds=_APPS_WITHIN):
                    text = f"{name}: nothing listens there yet, so its sidecar answers 503"
                    announce(Announcement(text=text, trouble=True))
                record = msgspec.structs.replace(record, ready=True)
                state.write_record(record)
                yield record


@asynccontextmanager
async def _children(specs: tuple[ProcessSpec, ...], announce: Announce) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ChildProcess(spec, announce=announce).run()) for spec in specs]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _first(failure: BaseException) -> BaseException:
    return _first(failure.exceptions[0]) if isinstance(failure, BaseExceptionGroup) else failure


def _app_addresses(mesh: LocalMesh, placements: Placements) -> dict[str, str]:
    return {
        f"{workload} at {address}": address
        for workload in mesh.workloads
        for address in placements[workload.key].apps.values()
    }


def _control_plane_settings(settings: SupervisorSettings, run_directory: Path) -> ControlPlaneSettings:
    return ControlPlaneSettings(
        kubeconfig=settings.state.kubeconfig,
        contexts=tuple((cluster.name, cluster.name) for cluster in settings.mesh.clusters),
        management_cluster=settings.mesh.management.name,
        ads_socket=ads_socket(run_directory),
        control_socket=control_socket(run_directory),
        directory=settings.state.path,
        gates=settings.gates,
    )


async def _wait_ready(settings: SupervisorSettings, run_directory: Path) -> None:
    workloads = settings.mesh.workloads
    deadline = time.monotonic() + _READY_WITHIN
    socket = control_socket(run_directory)
    while True:
        late = await asyncio.to_thread(wait_in_sync, socket, timeout=_LOOK_AGAIN)
        status = await asyncio.to_thread(read_status, socket)
        in_sync = {proxy.node for proxy in status.proxies if proxy.connected and proxy.in_sync}
        missing = [workload for workload in workloads if node_id(workload) not in in_sync]
        if not late and not missing:
            return
        if time.monotonic() > deadline:
            raise _not_ready(settings.state, missing[0] if missing else None, late)
        await asyncio.sleep(0.02)


def _not_ready(state: StateDirectory, workload: Workload | None, late: tuple[str, ...]) -> LocalMeshError:
    if workload is None:
        return LocalMeshError(f"not in sync after {_READY_WITHIN:g} s: {', '.join(late)}")
    log = log_path(state, workload, "envoy")
    words = last_lines(log, 5)
    return LocalMeshError(
        f"{proxy_name(workload)} is not in sync after {_READY_WITHIN:g} s" + (f":\n{words}" if words else ""),
        hint=f"its log is {log}",
    )


def _record(
    settings: SupervisorSettings, run_directory: Path, clusters: tuple[ClusterRecord, ...], placements: Placements
) -> MeshRecord:
    return MeshRecord(
        pid=os.getpid(),
        ready=False,
        run_directory=str(run_directory),
        clusters=clusters,
        workloads=tuple(_workload_record(one, placements[one.key]) for one in settings.mesh.workloads),
    )


def _workload_record(workload: Workload, placement: Placement) -> WorkloadRecord:
    app = workload.app.value if workload.app else workload.address or (workload.command or (None,))[0]
    return WorkloadRecord(
        cluster=workload.cluster,
        namespace=workload.namespace,
        name=workload.name,
        node=node_id(workload),
        address=placement.address,
        app=app,
        gateway_ports=_gateway_ports(workload),
    )


def _gateway_ports(workload: Workload) -> dict[str, int]:
    ports = workload.service.ports if workload.service and workload.is_gateway else ()
    return {port.name or str(port.port): port.target for port in ports}


async def supervise(settings: SupervisorSettings, announce: Announce, on_ready: Callable[[MeshRecord], None]) -> None:
    """Runs the mesh until SIGTERM or SIGINT, then stops it and returns."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    asked = False

    def stop() -> None:
        nonlocal asked
        if not asked and task is not None:
            asked = True
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        async with run_local_mesh(settings, announce) as record:
            on_ready(record)
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        if not asked:
            raise


def _announce_step(announce: Announce, text: str, started: float) -> None:
    announce(Announcement(text=f"{text} ({time.monotonic() - started:.1f} s)"))


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
