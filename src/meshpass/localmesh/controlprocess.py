"""The processes of a control plane that is several: which there are, where they listen, and how they are started."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from meshpass.localmesh.directory import StateDirectory, ads_socket, control_socket
from meshpass.localmesh.meshfile import LocalMesh
from meshpass.localmesh.process import ProcessSpec
from meshpass.localmesh.processrecord import ProcessRecord, Role
from meshpass.translate.settings import FeatureGates

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlProcess:
    """One process of the control plane."""

    role: Role
    cluster: str
    directory: Path
    """What it keeps."""
    control_socket: Path
    ads_socket: Path
    """Where the Envoys of its cluster talk to it."""
    log: Path

    def record(self, pid: int | None) -> ProcessRecord:
        """What ``mesh.json`` says of it."""
        return ProcessRecord(
            role=self.role, cluster=self.cluster, control_socket=str(self.control_socket), log=str(self.log), pid=pid
        )


def is_distributed(mesh: LocalMesh) -> bool:
    """True for a mesh that has a management server and agents: one with several workload clusters."""
    return len(mesh.workload_clusters) > 1


def plan_processes(mesh: LocalMesh, state: StateDirectory, run_directory: Path) -> tuple[ControlProcess, ...]:
    """The processes of the mesh's control plane, the management server first; one alone is in the supervisor."""
    management = mesh.management.name
    if not is_distributed(mesh):
        alone = ControlProcess(
            role=Role.ALONE,
            cluster=management,
            directory=state.path,
            control_socket=control_socket(run_directory),
            ads_socket=ads_socket(run_directory),
            log=state.supervisor_log,
        )
        return (alone,)
    server = ControlProcess(
        role=Role.MANAGEMENT_SERVER,
        cluster=management,
        directory=state.management_server,
        control_socket=run_directory / "control-management-server.sock",
        ads_socket=run_directory / "ads-management-server.sock",
        log=state.logs / "management-server.log",
    )
    agents = (
        ControlProcess(
            role=Role.AGENT,
            cluster=cluster.name,
            directory=state.agent(cluster.name),
            control_socket=run_directory / f"control-agent-{i}.sock",
            ads_socket=run_directory / f"ads-agent-{i}.sock",
            log=state.logs / f"agent.{cluster.name}.log",
        )
        for i, cluster in enumerate(mesh.workload_clusters)
    )
    return (server, *agents)


def ads_sockets(mesh: LocalMesh, processes: tuple[ControlProcess, ...]) -> Mapping[str, Path]:
    """Cluster → where its Envoys talk to the control plane."""
    return {
        cluster.name: next(one.ads_socket for one in processes if one.role is Role.ALONE or one.cluster == cluster.name)
        for cluster in mesh.clusters
    }


def find_relay_port(previous: int | None) -> int:
    """A port of 127.0.0.1 for the management server: the one that it had before, if that is free, else any."""
    for port in (previous or 0, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise AssertionError("the system gives some port")


def control_process_spec(
    one: ControlProcess, mesh: LocalMesh, state: StateDirectory, *, relay_port: int, gates: FeatureGates
) -> ProcessSpec:
    """How the process is started; it gets this process's environment, for its API server may need programs of it."""
    return ProcessSpec(
        name="the management server" if one.role is Role.MANAGEMENT_SERVER else f"the agent of {one.cluster}",
        command=(sys.executable, "-m", "meshpass.cli.main", *_arguments(one, mesh, state, relay_port, gates)),
        environment=dict(os.environ),
        working_directory=state.path,
        log=one.log,
    )


def _arguments(
    one: ControlProcess, mesh: LocalMesh, state: StateDirectory, relay_port: int, gates: FeatureGates
) -> Iterator[str]:
    relay = f"{_HOST}:{relay_port}"
    yield one.role.value
    yield from ("--cluster", one.cluster)
    if one.role is Role.AGENT:
        yield from ("--management-cluster", mesh.management.name, "--server", relay)
        yield from ("--credentials", str(one.directory / "credentials"))
    else:
        yield from ("--listen", relay)
    yield from ("--kubeconfig", str(state.kubeconfig), "--context", one.cluster)
    yield from ("--directory", str(one.directory), "--trust-domain", mesh.trust_domain)
    yield from ("--ads-socket", str(one.ads_socket), "--control-socket", str(one.control_socket))
    yield from ("--feature-gates", ",".join(f"{name}={str(value).lower()}" for name, value in asdict(gates).items()))
