"""Which processes a control plane consists of, and how each is started."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from meshpass.localmesh.controlprocess import (
    ads_sockets,
    control_process_spec,
    find_relay_port,
    is_distributed,
    plan_processes,
)
from meshpass.localmesh.directory import StateDirectory
from meshpass.localmesh.meshfile import default_mesh_path
from meshpass.localmesh.parse import load_mesh_file
from meshpass.localmesh.processrecord import ProcessRecord, Role, join_by_cluster
from meshpass.localmesh.selection import keep_clusters
from meshpass.translate.settings import FeatureGates

MESH = load_mesh_file(default_mesh_path())
STATE = StateDirectory(path=Path("/state"))
RUN = Path("/run/mesh")


def options(command):
    """Flag → value of a command line."""
    words = list(command)
    return {word: words[at + 1] for at, word in enumerate(words) if word.startswith("--")}


def test_one_workload_cluster_takes_one_process():
    """The supervisor itself, which serves all clusters."""
    mesh = keep_clusters(MESH, 1)
    (alone,) = plan_processes(mesh, STATE, RUN)

    assert not is_distributed(mesh)
    assert (alone.role, alone.cluster) == (Role.ALONE, "mgmt")
    assert set(ads_sockets(mesh, (alone,)).values()) == {RUN / "ads.sock"}


def test_several_clusters_take_a_management_server_and_agents():
    """Each has directory, sockets and log of its own; Envoys talk to the agent of their cluster."""
    processes = plan_processes(MESH, STATE, RUN)

    assert is_distributed(MESH)
    assert [one.record(None).name for one in processes] == ["management-server", "agent/cluster1", "agent/cluster2"]
    assert [one.directory for one in processes] == [
        Path("/state/management-server"),
        Path("/state/agents/cluster1"),
        Path("/state/agents/cluster2"),
    ]
    assert dict(ads_sockets(MESH, processes)) == {
        "mgmt": RUN / "ads-management-server.sock",
        "cluster1": RUN / "ads-agent-0.sock",
        "cluster2": RUN / "ads-agent-1.sock",
    }
    for attribute in ("control_socket", "ads_socket", "log", "directory"):
        assert len({getattr(one, attribute) for one in processes}) == len(processes)


def test_the_command_lines():
    """Each knows its cluster and its API server; the agents where the management server is, and who they are."""
    gates = FeatureGates(EnableJWTPolicyEastWestRoute=False)
    server, first, _ = (
        control_process_spec(one, MESH, STATE, relay_port=9900, gates=gates) for one in plan_processes(MESH, STATE, RUN)
    )

    common = {
        "--kubeconfig": "/state/kubeconfig",
        "--trust-domain": "cluster.local",
        "--feature-gates": "EnableJWTPolicyEastWestRoute=false,GatewayDefaultDenyAllHTTPRequests=false",
    }
    assert "management-server" in server.command
    assert options(server.command[2:]) == {
        **common,
        "--cluster": "mgmt",
        "--context": "mgmt",
        "--listen": "127.0.0.1:9900",
        "--directory": "/state/management-server",
        "--ads-socket": "/run/mesh/ads-management-server.sock",
        "--control-socket": "/run/mesh/control-management-server.sock",
    }
    assert "agent" in first.command
    assert options(first.command[2:]) == {
        **common,
        "--cluster": "cluster1",
        "--context": "cluster1",
        "--management-cluster": "mgmt",
        "--server": "127.0.0.1:9900",
        "--credentials": "/state/agents/cluster1/credentials",
        "--directory": "/state/agents/cluster1",
        "--ads-socket": "/run/mesh/ads-agent-0.sock",
        "--control-socket": "/run/mesh/control-agent-0.sock",
    }
    assert first.log == Path("/state/logs/agent.cluster1.log")


def test_the_commands_take_their_options():
    """The options that they are started with are options that they have."""
    from typer.testing import CliRunner

    from meshpass.cli.main import build_app

    for one in plan_processes(MESH, STATE, RUN):
        command = control_process_spec(one, MESH, STATE, relay_port=1, gates=FeatureGates()).command[3:]
        known = CliRunner().invoke(build_app(), [command[0], "--help"]).stdout
        for flag in options(command):
            assert flag in known


def test_the_relays_port_is_kept_as_long_as_it_is_free():
    """Agents elsewhere were told it."""
    first = find_relay_port(None)
    assert find_relay_port(first) == first
    with socket.create_server(("127.0.0.1", first)):
        assert find_relay_port(first) not in {0, first}


@pytest.mark.parametrize("reverse", [False, True])
def test_of_a_cluster_its_own_process_has_the_word(reverse):
    """Others know of it too, and may be behind; in whatever order they are asked."""
    server, agent = (
        ProcessRecord(role=role, cluster=cluster, control_socket="", log="")
        for role, cluster in ((Role.MANAGEMENT_SERVER, "mgmt"), (Role.AGENT, "c1"))
    )
    told = [(server, {"mgmt": "m:7", "c1": "a:1"}), (agent, {"mgmt": "m:3", "c1": "a:9", "c2": "b:1"})]

    assert join_by_cluster(told[::-1] if reverse else told) == {"mgmt": "m:7", "c1": "a:9", "c2": "b:1"}
