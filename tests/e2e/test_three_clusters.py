"""A mesh of three clusters by its commands: management server and agents as processes, one answer of all of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(240)]

CODE = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode(), end='')"
PROCESSES = ["management-server", "agent/cluster1", "agent/cluster2"]
UP = ("up", "--detach", "--apps", "httpbin,helloworld")
PROXIES = 10
POLICY = """
apiVersion: security.policy.gloo.solo.io/v2
kind: JWTPolicy
metadata: {name: keys, namespace: httpbin}
spec:
  applyToRoutes: [{route: {labels: {name: keys}}}]
  config: {providers: {dev: {issuer: https://dev.example.com, remote: {url: "http://127.0.0.1:1/jwks"}}}}
"""
TABLE = """
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata: {name: keys, namespace: httpbin}
spec:
  hosts: [keys.example.com]
  workloadSelectors: [{}]
  http:
  - name: all
    labels: {name: keys}
    forwardTo: {destinations: [{ref: {name: httpbin}, port: {number: 8000}}]}
"""


class Shell:
    """Runs meshpass on one state directory, as a shell would."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.mesh = directory / "mesh"

    def __call__(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "meshpass.cli.main", *arguments],
            env={**os.environ, "MESHPASS_DIR": str(self.mesh), "TMPDIR": str(self.directory), "NO_COLOR": "1"},
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.mesh / "mesh.json").read_text())
        return found

    def json(self, *arguments: str) -> Any:
        """What a command says with ``-o json``."""
        done = self(*arguments, "-o", "json")
        return json.loads(done.stdout)

    def ask(self, cluster: str, url: str) -> str:
        """What the client of the cluster gets."""
        done = self("exec", "--context", cluster, "-n", "httpbin", "client", "--", sys.executable, "-c", CODE, url)
        return done.stdout or done.stderr

    def processes(self) -> list[psutil.Process]:
        supervisor = psutil.Process(self.record()["pid"])
        return [supervisor, *supervisor.children(recursive=True)]


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    """A detached mesh in a directory with a short name, as Unix sockets need."""
    directory = Path(f"/tmp/mp3-{os.getpid()}")
    directory.mkdir(mode=0o700)
    found = Shell(directory)
    up = found(*UP)
    try:
        assert up.returncode == 0, up.stderr
        assert "management server and 2 agents answer" in up.stderr
        yield found
    finally:
        found("down")
        shutil.rmtree(directory)


def rows(page: str, *header: str) -> list[list[str]]:
    """The cells of the table of a page that has these columns first."""
    (found,) = [
        lines
        for part in page.split("\n\n")
        if (lines := [line.split() for line in part.splitlines()])[0][: len(header)] == list(header)
    ]
    return found[1:]


def test_status_tells_of_processes_and_of_proxies_by_cluster(shell: Shell) -> None:
    """Who runs, who is connected to whom; every proxy once."""
    page = shell("status").stdout
    document = shell.json("status")

    assert [(row[0], row[2]) for row in rows(page, "PROCESS")] == [(name, "running") for name in PROCESSES]
    assert rows(page, "PROCESS")[0][3:] == ["2", "of", "2", "agents"]
    assert all(row[3] == "for" for row in rows(page, "PROCESS")[1:])
    workloads = rows(page, "CLUSTER", "NAMESPACE")
    assert [row[0] for row in workloads] == sorted(row[0] for row in workloads)
    assert page.count("in sync") == PROXIES == len(workloads)
    nodes = [proxy["node"] for proxy in document["controlPlane"]["proxies"]]
    assert len(nodes) == len(set(nodes)) == PROXIES
    assert [one["role"] for one in document["mesh"]["processes"]] == ["management-server", "agent", "agent"]


def test_every_process_is_one_of_its_own(shell: Shell) -> None:
    """Children of the supervisor, with the process ids of ``mesh.json``; no Envoy talks to another cluster's agent."""
    recorded = {one["pid"]: one for one in shell.record()["processes"]}
    for pid, one in recorded.items():
        process = psutil.Process(pid)
        assert one["role"] in process.cmdline()
        assert process.ppid() == shell.record()["pid"]
    assert len(recorded) == 3


def test_workloads_of_both_clusters_answer_in_both(shell: Shell) -> None:
    """By the Service's own name in the cluster, by its federated host from the other one."""
    for here, there, version in (("cluster1", "cluster2", "v2"), ("cluster2", "cluster1", "v1")):
        own = {"v1": "v2", "v2": "v1"}[version]
        local = shell.ask(here, "http://helloworld.helloworld:5000/hello")
        other = shell.ask(here, f"http://helloworld.helloworld.{there}.global:5000/hello")
        assert local == f"Hello version: {own}, instance: helloworld-{own}\n"
        assert other == f"Hello version: {version}, instance: helloworld-{version}\n"


def test_wait_is_for_all_clusters(shell: Shell) -> None:
    """What was stored in any of them has reached the proxies that it concerns, in every one."""
    for number in range(3):
        for cluster in ("cluster1", "cluster2"):
            name = f"t{number}-{cluster}"
            table = TABLE.replace("keys", name)
            assert shell("apply", "--context", cluster, "-f", "-", stdin=table).returncode == 0
        waited = shell("wait", "--timeout", "20s")
        assert waited.returncode == 0, waited.stderr
        for cluster in ("cluster1", "cluster2"):
            assert '"args"' in shell.ask(cluster, f"http://t{number}-{cluster}.example.com/get")


def test_the_mesh_is_well_and_says_of_what_it_consists(shell: Shell) -> None:
    """On one page, and as JSON; with agents and identities."""
    page = shell("check", "--timeout", "20s")
    document = shell.json("check")

    assert page.returncode == 0, page.stdout
    assert "3 of 3 processes answer" in page.stdout
    assert "✓ Agents          2 of 2 registered clusters connected" in page.stdout
    assert f"{PROXIES} of {PROXIES} in sync" in page.stdout
    sections = {section["name"]: section for section in document["sections"]}
    assert [one["cluster"] for one in sections["agents"]["items"]] == ["cluster1", "cluster2"]
    assert sections["identity"]["items"][0]["trustDomain"] == "cluster.local"
    assert [one["role"] for one in sections["controlPlane"]["items"]] == ["management-server", "agent", "agent"]


def test_logs_of_all_clusters_are_one_log(shell: Shell) -> None:
    """In the order of time, with the cluster of each proxy."""
    for cluster in ("cluster1", "cluster2", "cluster1"):
        shell.ask(cluster, "http://helloworld.helloworld:5000/hello")
    deadline = time.monotonic() + 10
    while True:
        lines = [json.loads(line) for line in shell("logs", "--since", "1m", "-o", "json").stdout.splitlines()]
        if {line["proxy"].split("~")[1] for line in lines} == {"cluster1", "cluster2"}:
            break
        assert time.monotonic() < deadline, lines

    times = [line["time"] for line in lines]
    assert times == sorted(times)
    table = shell("logs", "--since", "1m").stdout
    assert "cluster1/httpbin/client" in table
    assert "cluster2/httpbin/client" in table


def test_key_sets_of_all_processes_are_listed_once(shell: Shell) -> None:
    """Each agent fetches for its own proxies; what failed anywhere is told."""
    for cluster, text in (("cluster1", TABLE), ("mgmt", POLICY)):
        assert shell("apply", "--context", cluster, "-f", "-", stdin=text).returncode == 0
    deadline = time.monotonic() + 20
    while not (sources := shell.json("jwks")["sources"]) or not sources[0]["lastError"]:
        assert time.monotonic() < deadline, sources
    refreshed = shell("jwks", "refresh", "http://127.0.0.1:1/jwks")

    assert [source["url"] for source in sources] == ["http://127.0.0.1:1/jwks"]
    assert sources[0]["policies"] == [{"cluster": "mgmt", "namespace": "httpbin", "name": "keys"}]
    assert refreshed.returncode == 1
    assert shell("delete", "jwtpolicy", "-n", "httpbin", "keys").returncode == 0


def test_a_cluster_is_registered_and_deregistered(shell: Shell) -> None:
    """With credentials that only their owner reads; the list knows it, and says that nobody came."""
    done = shell("cluster", "register", "cluster3", "--label", "region=eu")
    credentials = shell.mesh / "agents" / "cluster3" / "credentials"

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("meshpass agent --cluster cluster3 --management-cluster mgmt --server 127.0.0.1:")
    assert sorted(path.name for path in credentials.iterdir()) == ["ca.crt", "tls.crt", "tls.key"]
    assert {path.stat().st_mode & 0o777 for path in credentials.iterdir()} == {0o600}
    stored = shell.json("get", "kubernetescluster", "-n", "gloo-mesh", "cluster3")
    assert stored["metadata"]["labels"] == {"region": "eu"}
    assert shell("wait").returncode == 0
    listed = {row["cluster"]: (row["registered"], row["connected"]) for row in shell.json("cluster", "list")}
    assert listed == {"cluster1": (True, True), "cluster2": (True, True), "cluster3": (True, False)}
    assert shell("check").returncode == 1
    assert shell("cluster", "register", "cluster3").returncode == 0

    assert shell("cluster", "deregister", "cluster3").returncode == 0
    again = shell("cluster", "deregister", "cluster3")
    assert again.returncode == 1
    assert "no cluster cluster3 is registered" in again.stderr
    assert "cluster3" not in shell("cluster", "list").stdout


def test_a_deregistered_cluster_is_refused_until_it_is_registered_again(shell: Shell) -> None:
    """Its proxies keep what they have; `cluster list` says that its agent asks for entry."""
    assert shell("cluster", "deregister", "cluster2").returncode == 0
    deadline = time.monotonic() + 30
    while True:
        row = next((one for one in shell.json("cluster", "list") if one["cluster"] == "cluster2"), None)
        if row and not row["registered"] and row["refused"]:
            break
        assert time.monotonic() < deadline, row
    assert shell.ask("cluster2", "http://helloworld.helloworld:5000/hello").startswith("Hello version: v2")

    assert shell("cluster", "register", "cluster2").returncode == 0
    while unconnected := [row for row in shell.json("cluster", "list") if not row["connected"]]:
        assert time.monotonic() < deadline + 30, unconnected
    assert shell("wait", "--timeout", "20s").returncode == 0


def test_a_killed_supervisor_takes_all_with_it_and_the_next_one_starts(shell: Shell) -> None:
    """kill -9: no process is left; `up` keeps the port of the relay and what was stored."""
    before = shell.record()
    processes = shell.processes()
    os.kill(before["pid"], signal.SIGKILL)
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []

    up = shell(*UP)
    assert up.returncode == 0, up.stderr
    after = shell.record()
    assert after["relayPort"] == before["relayPort"]
    assert after["clusters"] == before["clusters"]
    hello = shell.ask("cluster1", "http://helloworld.helloworld.cluster2.global:5000/hello")
    assert hello == "Hello version: v2, instance: helloworld-v2\n"


def test_down_ends_every_process(shell: Shell) -> None:
    """Within seconds."""
    processes = shell.processes()
    assert shell("down").returncode == 0
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert alive == []


def test_fewer_clusters_on_the_same_directory_take_one_process(shell: Shell) -> None:
    """What was stored stays; what the other cluster would have is not missed."""
    up = shell("up", "--detach", "--clusters", "1", "--apps", "httpbin,helloworld")
    try:
        assert up.returncode == 0, up.stderr
        assert [one["role"] for one in shell.record()["processes"]] == ["alone"]
        assert "PROCESS" not in shell("status").stdout
        assert shell.ask("cluster1", "http://helloworld.helloworld:5000/hello").startswith("Hello version: v1")
        told = shell("stop", "management-server")
        assert told.returncode == 1
        assert "one process, the supervisor itself" in told.stderr
        assert "to which no agent can connect" in shell("cluster", "register", "cluster3").stderr
        assert json.loads(shell("cluster", "list", "-o", "json").stdout)[0]["cluster"] == "cluster1"
    finally:
        assert shell("down").returncode == 0
