"""How the processes of one workload are started: its Envoy, and its app, if it has one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from meshpass.errors import LocalMeshError
from meshpass.localmesh.bootstrap import BootstrapSettings, build_bootstrap, build_command
from meshpass.localmesh.directory import StateDirectory
from meshpass.localmesh.meshfile import App, Workload
from meshpass.localmesh.objects import Placement, node_id
from meshpass.localmesh.outbound import proxy_environment
from meshpass.localmesh.process import Children, ProcessSpec
from meshpass.secretfile import write_secret_file

_NOT_PROXIED = "localhost,127.0.0.1"
"""A program's own neighbours on this machine are not in the mesh; Pods have other loopback addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoySettings:
    """What is the same for all Envoys of a mesh."""

    binary: Path
    state: StateDirectory
    run_directory: Path
    ads_sockets: Mapping[str, Path]
    """Cluster → where the control plane answers its Envoys."""


def envoy_process(settings: EnvoySettings, workload: Workload, placement: Placement, index: int) -> ProcessSpec:
    """The workload's Envoy; its bootstrap is written. ``index`` makes its socket's name short and its own."""
    bootstrap = settings.run_directory / f"envoy-{index}.json"
    content = build_bootstrap(
        BootstrapSettings(
            node=node_id(workload),
            node_cluster=f"{workload.name}.{workload.namespace}",
            ads_socket=settings.ads_sockets[workload.cluster],
            admin_socket=settings.run_directory / f"admin-{index}.sock",
            address=placement.address,
        )
    )
    write_secret_file(bootstrap, json.dumps(content, indent=2).encode())
    return ProcessSpec(
        name=proxy_name(workload),
        command=build_command(settings.binary, bootstrap),
        environment={"PATH": os.environ.get("PATH", "")},
        working_directory=settings.run_directory,
        log=log_path(settings.state, workload, "envoy"),
    )


def proxy_name(workload: Workload) -> str:
    """What messages call the workload's Envoy."""
    return f"the gateway {workload}" if workload.is_gateway else f"the sidecar of {workload}"


def app_process(
    state: StateDirectory, workload: Workload, placement: Placement, base_directory: Path
) -> ProcessSpec | None:
    """The workload's program; none for a client and for an address. ``base_directory`` is the mesh file's."""
    if workload.app is None and workload.command is None:
        return None
    command = workload.command or sample_command(workload.app)
    inherited = {} if workload.command is None else dict(os.environ)
    directory = base_directory / (workload.working_directory or "")
    if not directory.is_dir():
        raise LocalMeshError(f"{workload}: workingDirectory {directory} is no directory")
    if shutil.which(command[0]) is None and not (directory / command[0]).is_file():
        raise LocalMeshError(f"{workload}: found no program {command[0]}")
    return ProcessSpec(
        name=f"{workload.command[0]} of {workload}" if workload.command else f"{command[-1]} of {workload}",
        command=command,
        environment={
            **inherited,
            "PATH": os.environ.get("PATH", ""),
            **proxy_environment(placement.address, not_proxied=_NOT_PROXIED),
            **_port_variables(workload, placement),
            **(_pod_variables(workload) if workload.app else {}),
            **workload.env,
        },
        working_directory=directory if workload.command else state.path,
        log=log_path(state, workload, "app"),
        children=Children.GROUP if workload.command else Children.NONE,
    )


def sample_command(app: App | None) -> tuple[str, ...]:
    """How a sample program is started."""
    name = App.HTTPBIN.value if app is None else app.value
    return (sys.executable, "-m", f"meshpass.localmesh.apps.{name}")


def place_workloads(
    workloads: tuple[Workload, ...], addresses: Mapping[tuple[str, str, str], str]
) -> Mapping[tuple[str, str, str], Placement]:
    """Where everything is: Pods at their addresses, and apps that we start at free ports of 127.0.0.1.

    Raises LocalMeshError for an address whose host has no IPv4 address.
    """
    with ExitStack() as held:
        # All at once, so that no port is given twice; they are free again when the programs start.
        return {
            workload.key: Placement(address=addresses[workload.key], apps=_app_addresses(workload, held))
            for workload in workloads
        }


def log_path(state: StateDirectory, workload: Workload, kind: str) -> Path:
    """The log of a workload's ``envoy`` or ``app``."""
    return state.logs / f"{workload.cluster}.{workload.namespace}.{workload.name}.{kind}.log"


def _app_addresses(workload: Workload, held: ExitStack) -> Mapping[int, str]:
    if workload.service is None:
        return {}
    if workload.address is not None:
        return dict.fromkeys(workload.service.targets, _resolve(workload, workload.address))
    if workload.app is None and workload.command is None:
        return {}
    return {port: _free_address(held) for port in workload.service.targets}


def _free_address(held: ExitStack) -> str:
    probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    probe.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{probe.getsockname()[1]}"


def _resolve(workload: Workload, address: str) -> str:
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host, int(port), socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise LocalMeshError(f"{workload}: address {address}: {host} has no IPv4 address") from error
    return f"{found[0][4][0]}:{port}"


def _pod_variables(workload: Workload) -> Mapping[str, str]:
    """What a sample program says of itself: its Pod, as Kubernetes gives it, its cluster, and its version by label."""
    return {
        "HOSTNAME": workload.name,
        "CLUSTER_NAME": workload.cluster,
        "SERVICE_VERSION": workload.pod_labels.get("version", "v1"),
    }


def _port_variables(workload: Workload, placement: Placement) -> Mapping[str, str]:
    """``PORT`` for the first port of the Service, and ``PORT_<NAME>`` for every one that has a name."""
    ports = workload.service.ports if workload.service else ()
    real = {
        port.name: placement.apps[port.target].rpartition(":")[2] for port in ports if port.target in placement.apps
    }
    variables = {f"PORT_{name.upper().replace('-', '_')}": value for name, value in real.items() if name}
    return variables | ({"PORT": next(iter(real.values()))} if real else {})
