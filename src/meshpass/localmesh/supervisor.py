"""Supervisor: one process that runs a whole local mesh, from the lock on its directory to the last Envoy."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from meshpass.app import ControlPlaneSettings, run_control_plane
from meshpass.identity.relay import ensure_agent_credentials
from meshpass.kube.client import KubeClient
from meshpass.localmesh.address import claim_address_block
from meshpass.localmesh.announcement import Announce, Announcement
from meshpass.localmesh.cluster_server import run_api_servers
from meshpass.localmesh.controlprocess import (
    ControlProcess,
    ads_sockets,
    control_process_spec,
    find_relay_port,
    is_distributed,
    plan_processes,
)
from meshpass.localmesh.directory import (
    MeshRecord,
    StateDirectory,
    WorkloadRecord,
    ads_socket,
    control_socket,
    supervisor_socket,
)
from meshpass.localmesh.envoy_binary import find_envoy
from meshpass.localmesh.existing import ExistingServers, use_api_servers
from meshpass.localmesh.listening import find_silent
from meshpass.localmesh.liverecord import LiveRecord
from meshpass.localmesh.meshfile import LocalMesh, Workload
from meshpass.localmesh.objects import Placement, Placements, node_id
from meshpass.localmesh.parts import (
    ControlPart,
    WorkloadParts,
    following_readiness,
    make_switchboard,
    make_workload_parts,
    running_children,
)
from meshpass.localmesh.pods import local_pods
from meshpass.localmesh.populate import populate_clusters, register_clusters
from meshpass.localmesh.process import ChildProcess
from meshpass.localmesh.processrecord import Role
from meshpass.localmesh.startup import Startup
from meshpass.localmesh.supervisorapi import serve_switchboard
from meshpass.localmesh.workload_process import EnvoySettings, app_process, envoy_process, place_workloads
from meshpass.translate.settings import FeatureGates

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
            sockets = ads_sockets(mesh, plan_processes(mesh, state, run_directory))
            envoys = EnvoySettings(binary=envoy, state=state, run_directory=run_directory, ads_sockets=sockets)
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
    run_directory = envoys.run_directory
    processes = plan_processes(mesh, state, run_directory)
    workloads = _make_workloads(settings, envoys, placements, announce)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running_children(one.app for one in workloads if one.app))
        started = time.monotonic()
        pods = local_pods(mesh, placements, state=state, base_directory=settings.base_directory)
        clusters = await stack.enter_async_context(
            run_api_servers(mesh, state, previous, pods)
            if settings.servers is None
            else use_api_servers(mesh, state, settings.servers)
        )
        _announce_step(announce, f"API servers of {', '.join(one.name for one in clusters)} answer", started)
        relay_port = find_relay_port(previous.relay_port if previous else None) if is_distributed(mesh) else None
        controls = _make_controls(settings, processes, relay_port, announce)
        record = LiveRecord(
            state,
            MeshRecord(
                pid=os.getpid(),
                ready=False,
                run_directory=str(run_directory),
                clusters=clusters,
                workloads=tuple(_workload_record(one, placements[one.key]) for one in mesh.workloads),
                relay_port=relay_port,
                trust_domain=mesh.trust_domain,
            ),
            processes,
            {one.process.control_socket: one.child for one in controls},
        )
        if controls:
            await register_clusters(mesh, state.kubeconfig)
        # Their imports take as long as the objects need to be stored; nothing that they read is missing meanwhile.
        await stack.enter_async_context(running_children(one.child for one in controls))
        await populate_clusters(mesh, state.kubeconfig, placements)
        _announce_step(announce, f"{_count(len(mesh.workloads), 'workload')} stored in them", started)
        if not controls:
            await stack.enter_async_context(run_control_plane(_control_plane_settings(settings, run_directory)))
        await stack.enter_async_context(running_children(one.envoy for one in workloads))
        startup = Startup(record=record.record, state=state, workloads=mesh.workloads)
        if controls:
            await startup.wait_answering(controls)
            _announce_step(announce, f"management server and {_count(len(controls) - 1, 'agent')} answer", started)
        await startup.wait_in_sync()
        _announce_step(announce, f"{_count(len(mesh.workloads), 'proxy', 'proxies')} in sync", started)
        for name in await find_silent(_app_addresses(mesh, placements), seconds=_APPS_WITHIN):
            text = f"{name}: nothing listens there yet, so its sidecar answers 503"
            announce(Announcement(text=text, trouble=True))
        clients = {
            one.name: await stack.enter_async_context(
                KubeClient.from_kubeconfig(state.kubeconfig, one.name, cluster=one.name)
            )
            for one in mesh.clusters
        }
        await stack.enter_async_context(following_readiness(workloads, clients))
        switchboard = make_switchboard(workloads, controls)
        await stack.enter_async_context(serve_switchboard(switchboard, supervisor_socket(run_directory)))
        record.set_ready()
        yield record.record


def _make_workloads(
    settings: SupervisorSettings, envoys: EnvoySettings, placements: Placements, announce: Announce
) -> tuple[WorkloadParts, ...]:
    return tuple(
        make_workload_parts(
            workload,
            placements[workload.key],
            app=app_process(settings.state, workload, placements[workload.key], settings.base_directory),
            envoy=envoy_process(envoys, workload, placements[workload.key], i),
            announce=announce,
        )
        for i, workload in enumerate(settings.mesh.workloads)
    )


def _make_controls(
    settings: SupervisorSettings,
    processes: tuple[ControlProcess, ...],
    relay_port: int | None,
    announce: Announce,
) -> tuple[ControlPart, ...]:
    """The processes of the control plane, which have their credentials; none where it is in this process."""
    if relay_port is None:
        return ()
    mesh, state = settings.mesh, settings.state
    for one in processes:
        if one.role is Role.AGENT:
            credentials = one.directory / "credentials"
            ensure_agent_credentials(state.management_server, credentials, mesh.trust_domain, one.cluster)
    return tuple(
        ControlPart(
            process=one,
            child=ChildProcess(
                control_process_spec(one, mesh, state, relay_port=relay_port, gates=settings.gates), announce=announce
            ),
        )
        for one in processes
    )


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
