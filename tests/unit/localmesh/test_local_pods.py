"""What the workloads of a mesh file are to their API server."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.workload_pods import ADDRESS, MESH_FILE

from meshpass.apiserver.channel import Channel
from meshpass.apiserver.podruntime import CommandRequest, ContainerName
from meshpass.errors import MeshFileError
from meshpass.localmesh.directory import StateDirectory
from meshpass.localmesh.objects import Placement
from meshpass.localmesh.outbound import command_environment
from meshpass.localmesh.parse import parse_mesh_file
from meshpass.localmesh.pods import local_pods

MESH = parse_mesh_file(MESH_FILE)


def name(pod, container=None):
    return ContainerName(namespace="default", pod=pod, container=container or pod)


@pytest.fixture
def pods(tmp_path):
    (tmp_path / "inner").mkdir()
    placements = {one.key: Placement(address=ADDRESS, apps={}) for one in MESH.workloads}
    return local_pods(MESH, placements, state=StateDirectory(path=tmp_path), base_directory=tmp_path)["test"]


async def output_of(pods, pod, *words) -> str:
    out = b""
    request = CommandRequest(command=words, stdout=True)
    async with asyncio.timeout(20), pods.run(name(pod), request) as command:
        ended = asyncio.gather(command.wait())
        while piece := await command.read(Channel.OUTPUT):
            out += piece
        await ended
    return out.decode()


async def test_a_program_has_what_meshpass_exec_gives(pods, tmp_path, monkeypatch):
    """Our environment and the proxy; of a workload with a program, its variables and directory too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OF_THE_USER", "yes")
    expected = "".join(f"{key}={value}\0" for key, value in command_environment(ADDRESS).items())
    assert await output_of(pods, "client", "env", "-0") == expected
    assert f"http_proxy=http://{ADDRESS}:15001\0" in expected
    assert await output_of(pods, "client", "pwd") == f"{tmp_path}\n"
    variables = (await output_of(pods, "program", "env", "-0")).split("\0")
    assert {"COLOUR=blue", "OF_THE_USER=yes", f"http_proxy=http://{ADDRESS}:15001"} <= set(variables)
    assert await output_of(pods, "program", "pwd") == f"{tmp_path / 'inner'}\n"


def test_where_programs_run(pods):
    """In the workload's own container; not in a proxy."""
    assert pods.refuses(name("client")) == ""
    assert "-c client" in pods.refuses(name("client", "istio-proxy"))
    assert "gateway" in pods.refuses(name("entry", "istio-proxy"))
    assert pods.runs(name("client"))
    assert not pods.runs(name("stranger"))
    assert not pods.runs(ContainerName(namespace="other", pod="client", container="client"))


def test_no_workload_is_called_as_its_proxy():
    """A Pod would have two containers of one name."""
    with pytest.raises(MeshFileError, match="istio-proxy is the container of every Pod's Envoy"):
        parse_mesh_file(MESH_FILE.replace("name: client", "name: istio-proxy"))
