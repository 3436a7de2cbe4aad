"""Parts of a mesh are stopped, started and killed: what is left goes on, and everybody is told."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from tests.support.mesh import Mesh, running_mesh
from typer.testing import CliRunner, Result

from meshpass.cli.main import build_app
from meshpass.localmesh.directory import MeshRecord
from meshpass.localmesh.supervisorclient import read_parts
from meshpass.localmesh.switchboard import PartRecord

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(240)]

T = TypeVar("T")
PATIENCE_SECONDS = 30.0
HELLO = "http://helloworld.helloworld:5000/hello"
FEDERATED = "http://helloworld.helloworld.cluster2.global:5000/hello"
TABLE = """
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata: {{name: {name}, namespace: httpbin}}
spec:
  hosts: [{name}.example.com]
  workloadSelectors: [{{}}]
  http:
  - name: all
    forwardTo: {{destinations: [{{ref: {{name: httpbin}}, port: {{number: 8000}}}}]}}
"""


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    """Three clusters, of a short path, as Unix sockets need."""
    directory = Path(tempfile.mkdtemp(prefix="mpf-", dir="/tmp"))
    try:
        with running_mesh(directory=directory / "mesh", apps=("httpbin", "helloworld")) as running:
            yield running
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(autouse=True)
def whole(mesh: Mesh) -> Iterator[None]:
    """Each test leaves a mesh in which everything runs and is in sync."""
    yield
    for part in read_parts(mesh.record):
        if part.stopped:
            assert meshpass(mesh, "start", part.name).exit_code == 0
    mesh.wait(PATIENCE_SECONDS)


def meshpass(mesh: Mesh, *arguments: str) -> Result:
    return CliRunner().invoke(build_app(), [*arguments, "--dir", str(mesh.state.path)])


def live(mesh: Mesh) -> MeshRecord:
    """What ``mesh.json`` says at this moment."""
    record = mesh.state.read_record()
    assert record is not None
    return record


def part(mesh: Mesh, name: str) -> PartRecord:
    return next(one for one in read_parts(mesh.record) if one.name == name)


def await_that(condition: Callable[[], T], what: str) -> T:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


def readiness(mesh: Mesh, namespace: str, pod: str, cluster: str) -> tuple[str, bool]:
    """The Pod's condition Ready, and the EndpointSlice's."""
    service = pod.rpartition("-v")[0] or pod
    status = mesh.get("pods", pod, namespace=namespace, context=cluster)["status"]
    endpoints = mesh.get("endpointslices", f"{service}-{pod}", namespace=namespace, context=cluster)["endpoints"]
    (condition,) = [one["status"] for one in status["conditions"] if one["type"] == "Ready"]
    return condition, endpoints[0]["conditions"]["ready"]


def test_a_stopped_workload_gets_no_requests_and_comes_back(mesh: Mesh) -> None:
    """Its Pod and its endpoint are not ready; both clusters see that; stopping it twice is as once."""
    assert mesh.request(HELLO).status == 200
    stopped = meshpass(mesh, "stop", "workload/helloworld-v2")
    again = meshpass(mesh, "stop", "workload/helloworld-v2")

    assert (stopped.exit_code, again.exit_code) == (0, 0)
    assert "workload/cluster2/helloworld/helloworld-v2 is stopped" in stopped.stderr
    assert "was stopped already" in again.stderr
    assert readiness(mesh, "helloworld", "helloworld-v2", "cluster2") == ("False", False)
    assert part(mesh, "workload/cluster2/helloworld/helloworld-v2").pid is None
    mesh.wait(PATIENCE_SECONDS)
    assert mesh.request(FEDERATED).status == 503
    assert mesh.request(HELLO).text.startswith("Hello version: v1")
    line = next(one for one in meshpass(mesh, "status").stdout.splitlines() if "helloworld-v2" in one)
    assert line.split()[-3] == "stopped"

    assert meshpass(mesh, "start", "workload/helloworld-v2").exit_code == 0
    assert readiness(mesh, "helloworld", "helloworld-v2", "cluster2") == ("True", True)
    mesh.wait(PATIENCE_SECONDS)
    assert mesh.request(FEDERATED).text.startswith("Hello version: v2")


def test_a_program_that_crashes_is_not_ready_until_it_listens_again(mesh: Mesh) -> None:
    """Nobody has asked for that, and nobody has to ask for its return."""
    name = "workload/cluster1/helloworld/helloworld-v1"
    pid = part(mesh, name).pid
    assert pid is not None
    watched = mesh.kubectl("get", "pods", "-n", "helloworld", "helloworld-v1", "--context", "cluster1")
    assert "2/2" in watched.stdout
    psutil.Process(pid).kill()

    def came_back() -> bool:
        found = part(mesh, name)
        return found.pid not in {None, pid} and readiness(mesh, "helloworld", "helloworld-v1", "cluster1") == (
            "True",
            True,
        )

    await_that(came_back, "it did not come back")
    status = mesh.get("pods", "helloworld-v1", namespace="helloworld", context="cluster1")["status"]
    restarts = {one["name"]: one["restartCount"] for one in status["containerStatuses"]}
    assert restarts["helloworld-v1"] > restarts["istio-proxy"]
    mesh.wait(PATIENCE_SECONDS)
    assert mesh.request(HELLO).status == 200


def test_a_stopped_proxy_is_told_of(mesh: Mesh) -> None:
    """Of two workloads of one name it has to be said which; the other one's goes on."""
    unclear = meshpass(mesh, "stop", "proxy/client")
    assert unclear.exit_code == 1
    assert "proxy/cluster1/httpbin/client, proxy/cluster2/httpbin/client" in unclear.stderr
    assert meshpass(mesh, "stop", "proxy/cluster1/httpbin/client").exit_code == 0

    with pytest.raises(ConnectionRefusedError):
        mesh.request()
    page = meshpass(mesh, "check", "--timeout", "0s")
    assert page.exit_code == 1
    assert "! proxy/cluster1/httpbin/client: somebody has stopped it" in page.stdout
    rows = [line.split() for line in meshpass(mesh, "status").stdout.splitlines()]
    assert {row[0]: row[-1] for row in rows if row[2:3] == ["client"]}["cluster1"] == "stopped"

    assert meshpass(mesh, "start", "proxy/cluster1/httpbin/client").exit_code == 0
    mesh.wait(PATIENCE_SECONDS)
    assert mesh.request(HELLO).status == 200


def test_without_the_management_server_clusters_go_on_by_themselves(mesh: Mesh) -> None:
    """Requests between clusters are answered, edits in a cluster reach its own proxies; who waits is told why."""
    assert meshpass(mesh, "stop", "management-server").exit_code == 0

    assert mesh.request(FEDERATED).text.startswith("Hello version: v2")
    mesh.apply(TABLE.format(name="alone"), "cluster1", wait=False)
    await_that(lambda: mesh.request("http://alone.example.com/get").status == 200, "the edit did not come")
    late = meshpass(mesh, "wait", "--timeout", "1s")
    assert (late.exit_code, late.stderr) == (1, "late: management-server\nlate: agent/cluster2\n")
    page = meshpass(mesh, "check", "--timeout", "0s")
    assert page.exit_code == 1
    assert "✗ management-server: somebody has stopped it" in page.stdout
    assert "? Agents" in page.stdout
    listed = meshpass(mesh, "cluster", "list")
    assert listed.stdout.splitlines()[1].split()[:3] == ["cluster1", "yes", "unknown"]
    row = next(line for line in meshpass(mesh, "status").stdout.splitlines() if line.startswith("management-server"))
    assert row.split()[1:3] == ["-", "stopped"]

    assert meshpass(mesh, "start", "management-server").exit_code == 0
    await_that(lambda: meshpass(mesh, "check", "--timeout", "5s").exit_code == 0, "it is not well again")
    mesh.delete("routetable", "alone", context="cluster1")


def test_without_an_agent_its_proxies_keep_what_they_have(mesh: Mesh) -> None:
    """And get what they have missed when it is back; the other cluster does not wait for it."""
    assert meshpass(mesh, "stop", "agent/cluster1").exit_code == 0
    assert mesh.request(FEDERATED).text.startswith("Hello version: v2")
    mesh.apply(TABLE.format(name="late"), "cluster1", wait=False)
    mesh.apply(TABLE.format(name="later"), "cluster2", wait=False)
    url = "http://later.example.com/get"
    in_cluster2 = mesh.workload("client", cluster="cluster2")
    await_that(lambda: request_by(in_cluster2.address, url) == 200, "cluster2 waits for the agent of cluster1")

    assert mesh.request("http://late.example.com/get").status == 502
    assert meshpass(mesh, "start", "agent/cluster1").exit_code == 0
    mesh.wait(PATIENCE_SECONDS)
    assert mesh.request("http://late.example.com/get").status == 200
    for name, cluster in (("late", "cluster1"), ("later", "cluster2")):
        mesh.delete("routetable", name, context=cluster, wait=False)


def request_by(address: str, url: str) -> int:
    """The status that a workload gets through its sidecar."""
    from tests.support.mesh import Connection

    connection = Connection(address)
    try:
        return connection.request(url).status
    finally:
        connection.close()


@pytest.mark.parametrize("name", ["management-server", "agent/cluster1", "agent/cluster2"])
def test_a_killed_process_comes_back(mesh: Mesh, name: str) -> None:
    """With another process id, which ``mesh.json`` has too; requests are answered all the while."""
    before = part(mesh, name)
    assert before.pid is not None
    psutil.Process(before.pid).kill()

    def came_back() -> bool:
        found = part(mesh, name)
        return found.restarts > before.restarts and found.pid not in {None, before.pid}

    while not came_back():
        assert mesh.request(FEDERATED).status == 200
    await_that(lambda: meshpass(mesh, "check", "--timeout", "5s").exit_code == 0, f"{name} is not well again")
    recorded = {one.name: one.pid for one in live(mesh).processes}
    assert recorded[name] == part(mesh, name).pid
    assert mesh.request(FEDERATED).status == 200


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["stop"], "stop which part of the mesh?", "`meshpass down` stops the whole mesh"),
        (["stop", "agent/cluster9"], "the mesh has no agent/cluster9", "did you mean agent/cluster"),
        (["start", "workload/helowrld-v1"], "the mesh has no workload/helowrld-v1", "did you mean workload/helloworld"),
        (
            ["stop", "workload/cluster1/httpbin/client"],
            "has no program that the mesh has started",
            "proxy/cluster1/httpbin/client is its Envoy",
        ),
        (["stop", "everything"], "the mesh has no everything", "`meshpass status` names what there is"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_one(mesh: Mesh, arguments: list[str], message: str, hint: str) -> None:
    """Exit code 1, and nothing is stopped."""
    found = meshpass(mesh, *arguments)

    assert found.exit_code == 1
    assert message in found.stderr
    assert hint in found.stderr
    assert not any(one.stopped for one in read_parts(mesh.record))
