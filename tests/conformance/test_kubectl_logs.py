"""``kubectl logs`` shows what workloads and their proxies write."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from kubernetes import client, config
from tests.support.kubectl import KUBECTL_MARKS, Kubectl
from tests.support.mesh import Mesh, running_mesh
from tests.support.workload_pods import WorkloadServer, run_workload_server

from meshpass.apiserver import pods

pytestmark = KUBECTL_MARKS

MESH_FILE = """
apiVersion: meshpass/v1alpha1
kind: LocalMesh
clusters: [{name: test, management: true}]
workloads:
- name: program
  namespace: default
  cluster: test
  command: [sh, -c, "echo started $$; echo trouble >&2; exec sleep 600"]
"""


@pytest.fixture
async def workloads(tmp_path: Path) -> AsyncIterator[WorkloadServer]:
    async with run_workload_server(tmp_path) as server:
        yield server


@pytest.fixture
def kubectl(workloads: WorkloadServer, tmp_path: Path) -> Kubectl:
    return Kubectl(workloads.server, tmp_path)


async def test_the_containers(workloads: WorkloadServer, kubectl: Kubectl):
    """The program by default, the Envoy by the name that the guides know, both with --all-containers."""
    workloads.log("program").write(b"of the program\n")
    workloads.log("program", "envoy").write(b"of the proxy\n")
    workloads.log("entry", "envoy").write(b"of the gateway\n")
    assert (await kubectl.ok("logs", "program")).out == "of the program\n"
    assert (await kubectl.ok("logs", "program", "-c", "istio-proxy")).out == "of the proxy\n"
    both = (await kubectl.ok("logs", "program", "--all-containers")).out.splitlines()
    assert sorted(both) == ["of the program", "of the proxy"]  # in kubectl's order, which is by chance
    assert (await kubectl.ok("logs", "svc/entry")).out == "of the gateway\n"
    assert (await kubectl.ok("logs", "client")).out == ""
    assert "container nope is not valid for pod program" in await kubectl.fails("logs", "program", "-c", "nope")
    assert 'pods "nobody" not found' in await kubectl.fails("logs", "nobody")


async def test_a_part_of_it(workloads: WorkloadServer, kubectl: Kubectl):
    """By number of lines, by time, by bytes; a last line that is not complete is shown as it is."""
    log = workloads.log("program")
    log.write(b"".join(b"line %d\n" % number for number in range(1, 1001)))
    log.write(b"rest")
    assert len((await kubectl.ok("logs", "program")).out.splitlines()) == 1001
    assert (await kubectl.ok("logs", "program", "--tail=3")).out == "line 999\nline 1000\nrest"
    assert (await kubectl.ok("logs", "program", "--tail=0")).out == ""
    assert (await kubectl.ok("logs", "program", "--limit-bytes=10")).out == "line 1\nlin"
    assert (await kubectl.ok("logs", "program", "--since=1h", "--tail=1")).out == "rest"
    assert (await kubectl.ok("logs", "program", "--since-time=2999-01-01T00:00:00Z")).out == ""
    assert "sinceTime` or `sinceSeconds" in await kubectl.fails(
        "get",
        "--raw",
        "/api/v1/namespaces/default/pods/program/log?container=program&sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
    )


async def test_since_looks_at_when_lines_were_written(workloads: WorkloadServer, kubectl: Kubectl):
    """Not at what they say."""
    log = workloads.log("program")
    log.write(b"early\n")
    await asyncio.sleep(0.02)  # the resolution of the index
    between = datetime.now(UTC)
    await asyncio.sleep(0.02)
    log.write(b"late\n")
    # kubectl itself rounds --since-time to seconds.
    path = "/api/v1/namespaces/default/pods/program/log?container=program&sinceTime="
    moment = between.isoformat().replace("+00:00", "Z")
    assert (await kubectl.ok("get", "--raw", path + moment)).out == "late\n"


async def test_times(workloads: WorkloadServer, kubectl: Kubectl):
    """--timestamps: before each line, when it was written."""
    before = datetime.now(UTC)
    workloads.log("program").write(b"one\ntwo\n")
    shown = (await kubectl.ok("logs", "program", "--timestamps")).out.splitlines()
    assert [line.split(" ", 1)[1] for line in shown] == ["one", "two"]
    for line in shown:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ", line)
        moment = datetime.fromisoformat(line.split(" ", 1)[0][:26] + "+00:00")
        assert before <= moment <= datetime.now(UTC)


async def test_runs_are_apart(workloads: WorkloadServer, kubectl: Kubectl):
    """The latest run, or with --previous the one before it, if there was one."""
    log = workloads.log("program")
    log.begin()
    log.write(b"first\n")
    assert "previous terminated container" in await kubectl.fails("logs", "program", "--previous")
    log.begin()
    log.write(b"second\n")
    assert (await kubectl.ok("logs", "program")).out == "second\n"
    assert (await kubectl.ok("logs", "program", "--previous")).out == "first\n"


async def test_following(workloads: WorkloadServer, kubectl: Kubectl):
    """-f: what is there, then what comes, over files that get full, until another run begins."""
    log = workloads.log("program", limit=100)
    log.begin()
    log.write(b"0 is there\n")
    process = await kubectl.start("logs", "-f", "program")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"0 is there\n"
    for number in range(1, 60):
        log.write(b"%d comes\n" % number)
        async with asyncio.timeout(15):
            assert await process.stdout.readline() == b"%d comes\n" % number
    log.write(b"unfinished")
    log.begin()
    log.write(b"of another run\n")
    async with asyncio.timeout(15):
        assert await process.stdout.read() == b"unfinished"
        assert await process.wait() == 0


async def test_a_follower_that_goes_is_forgotten(
    workloads: WorkloadServer, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
):
    """Its place is free again, and its file closed."""
    monkeypatch.setattr(pods, "_MOST_SESSIONS", 1)
    workloads.log("program").write(b"here\n")
    process = await kubectl.start("logs", "-f", "program")
    assert process.stdout is not None
    await process.stdout.readline()
    assert "1 commands and logs are in use" in await kubectl.fails("logs", "program")
    process.kill()
    await process.wait()
    async with asyncio.timeout(15):
        while (await kubectl.run("logs", "program")).code:
            pass
    assert [one.path for one in psutil.Process().open_files() if one.mode == "r" and ".app.log" in one.path] == []


async def test_the_python_client(workloads: WorkloadServer):
    """read_namespaced_pod_log, with options, and a stream of it."""
    workloads.log("program").write(b"one\ntwo\n")

    def session() -> None:
        api = config.new_client_from_config(str(workloads.server.kubeconfig))
        core = client.CoreV1Api(api)
        assert core.read_namespaced_pod_log("program", "default", container="program") == "one\ntwo\n"
        assert core.read_namespaced_pod_log("program", "default", container="program", tail_lines=1) == "two\n"
        api.close()

    await asyncio.to_thread(session)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    file = tmp_path_factory.mktemp("mesh") / "mesh.yaml"
    file.write_text(MESH_FILE)
    with running_mesh(file) as running:
        yield running


@pytest.mark.envoy
async def test_a_crashed_program(mesh: Mesh):
    """What it wrote before the crash is under --previous, both of its outputs; the new run is what is shown."""
    async with asyncio.timeout(20):
        while "trouble" not in (shown := mesh.kubectl("logs", "program").stdout):  # noqa: ASYNC110 - a process sets no event
            await asyncio.sleep(0.02)
        words = shown.split()
        assert words[0] == "started"
        psutil.Process(int(words[1])).kill()
        while mesh.kubectl("logs", "program", "--previous").stdout != shown:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        while "trouble" not in (anew := mesh.kubectl("logs", "program").stdout):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert anew != shown
