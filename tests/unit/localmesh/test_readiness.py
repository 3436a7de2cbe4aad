"""A cluster is told when processes of a workload end, stop and come back, and of nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager

import pytest

from meshpass.errors import ApiError
from meshpass.localmesh.meshfile import Port, ProxyKind, Service, Workload
from meshpass.localmesh.objects import Placement
from meshpass.localmesh.process import ChildProcess, ProcessSpec
from meshpass.localmesh.readiness import Readiness

SERVICE = Service(ports=(Port(port=80, target_port=8080),))
WORKLOAD = Workload(name="web", namespace="shop", cluster="one", command=("serve",), service=SERVICE)
LISTENER = "import socket, sys, time\ns = socket.create_server(('127.0.0.1', int(sys.argv[1])))\ntime.sleep(600)"


class Cluster:
    """Stands for a KubeClient: keeps what was patched."""

    def __init__(self):
        self.failing = 0
        self.history = []
        self.pod = {}

    async def patch_raw(self, kind, namespace, name, change, *, content_type, subresource):
        assert namespace == "shop"
        if self.failing:
            self.failing -= 1
            raise ApiError("down", code=503)
        if kind.kind == "Pod":
            assert (name, subresource) == ("web", "status")
            self.pod = change["status"]
        else:
            assert name == "web-web"
            self.history.append(change["endpoints"][0]["conditions"]["ready"])

    @property
    def containers(self):
        return {one["name"]: one["ready"] for one in self.pod.get("containerStatuses", ())}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@asynccontextmanager
async def following(tmp_path, *, command=None, workload=WORKLOAD):
    """The workload's program runs, and the cluster is told of it."""
    port = free_port()
    spec = ProcessSpec(
        name="web",
        command=command or (sys.executable, "-I", "-S", "-c", LISTENER, str(port)),
        environment={"PATH": os.environ["PATH"]},
        working_directory=tmp_path,
        log=tmp_path / "log",
    )
    child, cluster = ChildProcess(spec, announce=lambda _: None), Cluster()
    placement = Placement(address="127.0.0.1", apps={8080: f"127.0.0.1:{port}"})
    readiness = Readiness(workload, placement, {"web": child})
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = group.create_task(child.run())
        while child.pid is None:  # noqa: ASYNC110 - the process says it to the readiness alone
            await asyncio.sleep(0.01)
        tasks = [running, group.create_task(readiness.run(cluster))]
        try:
            yield child, cluster, readiness
        finally:
            for task in tasks:
                task.cancel()


async def test_what_listens_is_ready_and_nothing_more_is_said(tmp_path):
    """It was stored as ready; one that was not listening yet is told of, and that it listens by then."""
    async with following(tmp_path) as (_, cluster, readiness):
        await readiness.wait_told("web", ready=True)

        assert cluster.history in ([], [False, True])
        assert readiness.ready


async def test_stop_and_start(tmp_path):
    """The cluster knows when it is over; the proxy's container stays ready."""
    async with following(tmp_path) as (child, cluster, readiness):
        await readiness.wait_told("web", ready=True)
        await child.stop()
        await readiness.wait_told("web", ready=False)
        assert cluster.containers == {"web": False, "istio-proxy": True}
        (status,) = [one for one in cluster.pod["containerStatuses"] if one["name"] == "web"]
        assert status["state"] == {"waiting": {"reason": "Stopped"}}
        assert cluster.history[-1] is False

        child.start()
        await readiness.wait_told("web", ready=True)
        assert cluster.containers == {"web": True, "istio-proxy": True}
        assert cluster.history[-1] is True


async def test_a_crash_is_told_and_counted(tmp_path):
    """Whoever looks sees a restart."""
    async with following(tmp_path) as (child, cluster, readiness):
        await readiness.wait_told("web", ready=True)
        told = len(cluster.history)
        os.kill(child.pid, signal.SIGKILL)
        while len(cluster.history) < told + 2:  # noqa: ASYNC110 - the patches come from elsewhere
            await asyncio.sleep(0.01)

        assert cluster.history[told:] == [False, True]
        assert {one["name"]: one["restartCount"] for one in cluster.pod["containerStatuses"]}["web"] == 1


async def test_an_api_server_that_is_down_is_told_later(tmp_path):
    """Nobody forgets."""
    async with following(tmp_path) as (child, cluster, readiness):
        await readiness.wait_told("web", ready=True)
        cluster.failing = 3
        await child.stop()
        await readiness.wait_told("web", ready=False)

        assert cluster.failing == 0
        assert cluster.history[-1] is False


async def test_a_program_that_never_listens_is_not_ready(tmp_path):
    """Although it runs."""
    async with following(tmp_path, command=("sh", "-c", "exec sleep 600")) as (child, cluster, readiness):
        await readiness.wait_told("web", ready=False)

        assert child.pid is not None
        assert cluster.history == [False]
        assert cluster.pod["containerStatuses"][0]["state"]["running"]


@pytest.mark.parametrize("kind", list(ProxyKind))
async def test_a_workload_without_a_program_of_ours_is_always_ready(kind):
    """A client, an address of somebody else's program."""
    workload = Workload(name="web", namespace="shop", cluster="one", proxy=kind, service=SERVICE)
    readiness = Readiness(workload, Placement(address="127.0.0.1", apps={}), {})
    cluster = Cluster()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(readiness.run(cluster))
        await readiness.wait_told("istio-proxy", ready=True)
        task.cancel()

    assert (cluster.history, cluster.pod) == ([], {})
