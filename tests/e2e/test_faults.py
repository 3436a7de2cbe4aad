"""Everything that may die does, under steady load: no wrong verdict, no good request that fails, no object that is lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.api_servers import ApiServers, running_api_servers
from tests.support.jwt_objects import provider
from tests.support.mesh import Mesh, running_mesh
from tests.support.steady_load import Call, SteadyLoad
from tests.support.tokens import DEV, sign

from meshpass.errors import LocalMeshError, MeshpassError
from meshpass.localmesh.control import ask
from meshpass.localmesh.supervisorclient import start_part, stop_part

MESH_FILE = Path(__file__).with_name("fault-mesh.yaml")
LONG = bool(os.environ.get("MESHPASS_FUZZ"))
SECONDS = 180.0 if LONG else 25.0
SEED = int(os.environ.get("MESHPASS_FAULT_SEED") or (random.SystemRandom().randrange(10**6) if LONG else 1))
CLUSTERS = ("cluster1", "cluster2")
PARTS = ("management-server", "agent/cluster1", "agent/cluster2")

TABLE = """
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata: {{name: {name}, namespace: httpbin, labels: {labels}}}
spec:
  hosts: [{host}]
  workloadSelectors: [{{}}]
  http:
  - name: all
    forwardTo: {{destinations: [{{ref: {{name: httpbin, cluster: {cluster}}}, port: {{number: 8000}}}}]}}
"""
ANSWER = """
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata: {{name: written-{number}, namespace: httpbin}}
spec:
  hosts: [written-{number}.example.com]
  http: [{{name: answer, directResponse: {{status: 299, body: written}}}}]
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServers]:
    """API servers that can be killed."""
    with running_api_servers(tmp_path_factory.mktemp("servers"), ("mgmt", *CLUSTERS)) as running:
        yield running


@pytest.fixture(scope="module")
def mesh(servers: ApiServers) -> Iterator[Mesh]:
    """Two workload clusters; in each, tables for httpbin here and there, and a policy of the management cluster."""
    with running_mesh(MESH_FILE, servers=servers.existing) as running:
        for cluster in CLUSTERS:
            other = CLUSTERS[1 - CLUSTERS.index(cluster)]
            for name, labels, target in (
                ("open", "{}", cluster),
                ("guarded", "{route: guarded}", cluster),
                ("far", "{route: guarded}", other),
            ):
                # Bound to the workloads of both clusters: which of the two tables of a host is older does not matter.
                host = f"{name}.{cluster}.example.com"
                text = TABLE.format(name=f"{name}-{cluster}", labels=labels, host=host, cluster=target)
                running.apply(text, cluster, wait=False)
        running.apply(_policy(), "mgmt")
        settle(running)
        yield running


def _policy() -> str:
    import json

    spec = {
        "applyToRoutes": [{"route": {"labels": {"route": "guarded"}}}],
        "config": {"providers": {"dev": {**provider(), "clockSkewSeconds": 1}}},
    }
    metadata = {"name": "guard", "namespace": "httpbin"}
    return json.dumps(
        {"apiVersion": "security.policy.gloo.solo.io/v2", "kind": "JWTPolicy", "metadata": metadata, "spec": spec}
    )


def calls(mesh: Mesh) -> list[Call]:
    """Each client asks for what is open, and for what is guarded, near and far, with a good token and without one."""
    good = sign(DEV)
    found = []
    for cluster in CLUSTERS:
        address = (mesh.workload("client", cluster=cluster).address, 15001)
        for name in ("open", "guarded", "far"):
            host = f"{name}.{cluster}.example.com"
            tokens = (("", 200),) if name == "open" else ((good, 200), ("", 401))
            for token, status in tokens:
                header = f"x-auth: Bearer {token}\r\n" if token else ""
                request = f"GET /status/200 HTTP/1.1\r\nhost: {host}\r\n{header}\r\n".encode()
                call = f"{cluster} {name} {'good' if token else 'none'}"
                found.append(Call(name=call, address=address, request=request, expected=frozenset({status})))
    return found


def kill_process(mesh: Mesh, name: str) -> None:
    """The process of the control plane is gone, without a moment to tidy up; it is started anew by the supervisor."""
    record = mesh.state.read_record()
    pid = next((one.pid for one in record.processes if one.name == name), None) if record else None
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def await_condition(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Returns as soon as the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


def settle(mesh: Mesh) -> None:
    """Every process is there again, and every proxy has everything."""

    def settled() -> bool:
        try:
            mesh.wait(5.0)
        except (AssertionError, MeshpassError):
            return False
        return True

    await_condition(settled, "the mesh is in sync again", 90.0)


def written(mesh: Mesh, number: int, cluster: str) -> bool:
    """True when the client of a cluster gets what the object says."""
    return mesh.request(f"http://written-{number}.example.com/", cluster=cluster).status == 299


def test_nothing_that_dies_at_random_changes_a_verdict_or_loses_an_object(mesh: Mesh, servers: ApiServers) -> None:
    """kill -9 of management server, agents and API servers, one after the other, while objects are written."""
    print(f"MESHPASS_FAULT_SEED={SEED}")  # noqa: T201 - a failure is repeated by it
    chosen = random.Random(SEED)
    stored: list[tuple[int, str]] = []
    killed: list[str] = []
    with SteadyLoad(calls(mesh)) as load:
        load.wait_answers(100)
        deadline, number = time.monotonic() + SECONDS, 0
        while time.monotonic() < deadline:
            victim = chosen.choice((*PARTS, *(f"api-server/{cluster}" for cluster in servers.clusters)))
            killed.append(victim)
            kind, _, cluster = victim.partition("/")
            if kind == "api-server":
                servers.kill(cluster)
            else:
                kill_process(mesh, victim)
            for target in CLUSTERS:
                number += 1
                with contextlib.suppress(MeshpassError, OSError):
                    mesh.apply(ANSWER.format(number=number), target, wait=False)
                    stored.append((number, target))
            time.sleep(chosen.uniform(0.0, 1.0))
            if kind == "api-server":
                servers.start(cluster)
            time.sleep(chosen.uniform(0.0, 2.0))
        settle(mesh)
        load.wait_answers(100)

    assert len(killed) > 3
    assert load.total > 1000
    assert load.unexpected == [], f"seed {SEED}, killed {killed}"
    lost = [(number, cluster) for number, cluster in stored if not written(mesh, number, cluster)]
    assert lost == [], f"seed {SEED}, killed {killed}"


def test_an_agent_starts_without_the_management_server(mesh: Mesh) -> None:
    """It serves what it had, and what is new in its own cluster."""
    record = mesh.state.running()
    with SteadyLoad(calls(mesh)) as load:
        stop_part(record, "management-server")
        try:
            stop_part(record, "agent/cluster1")
            mesh.apply(ANSWER.format(number=9001), "cluster1", wait=False)
            start_part(record, "agent/cluster1")
            await_condition(lambda: written(mesh, 9001, "cluster1"), "the new table holds in cluster1")
            load.wait_answers(100)
        finally:
            start_part(record, "management-server")
        await_condition(lambda: written(mesh, 9001, "cluster2"), "the new table holds in cluster2")
        settle(mesh)

    assert load.unexpected == []


def test_who_looks_at_a_cluster_sees_whether_its_agent_is_connected(mesh: Mesh) -> None:
    """A condition of the KubernetesCluster."""
    record = mesh.state.running()
    assert _agent_condition(mesh) == "True"
    stop_part(record, "agent/cluster1")
    try:
        await_condition(lambda: _agent_condition(mesh) == "False", "the condition says that it is not")
    finally:
        start_part(record, "agent/cluster1")
    await_condition(lambda: _agent_condition(mesh) == "True", "the condition says that it is again")
    settle(mesh)


def _agent_condition(mesh: Mesh) -> str:
    stored = mesh.get("kubernetescluster", "cluster1", namespace="gloo-mesh", context="mgmt")
    conditions = (stored.get("status") or {}).get("conditions") or ()
    return str({one["type"]: one["status"] for one in conditions}.get("AgentConnected"))


def test_a_relay_that_hangs_is_cut_and_heals(mesh: Mesh) -> None:
    """The management server stands still for longer than agents wait; then it goes on."""
    record = mesh.state.running()
    server = next(one.pid for one in record.processes if one.name == "management-server")
    assert server is not None
    with SteadyLoad(calls(mesh)) as load:
        os.kill(server, signal.SIGSTOP)
        try:
            mesh.apply(ANSWER.format(number=9002), "cluster2", wait=False)
            await_condition(lambda: written(mesh, 9002, "cluster2"), "the new table holds in its own cluster")
            agent = next(one for one in record.processes if one.name == "agent/cluster1")
            await_condition(lambda: not _is_connected(agent.socket), "agent/cluster1 has noticed")
        finally:
            os.kill(server, signal.SIGCONT)
        await_condition(lambda: written(mesh, 9002, "cluster1"), "the new table holds in the other cluster")
        settle(mesh)

    assert load.unexpected == []


def _is_connected(socket: Path) -> bool:
    import json

    code, body = ask(socket, "GET", "/v1/status", timeout=5.0)
    assert code == 200
    return bool(json.loads(body)["server"]["connected"])


def test_authorities_are_rotated_under_load(mesh: Mesh) -> None:
    """First the intermediates, then the root: every request that was good is answered."""
    import json

    record = mesh.state.running()
    sockets = {one.name: one.socket for one in record.processes}

    def identity() -> dict[str, object]:
        code, body = ask(sockets["management-server"], "GET", "/v1/identity", timeout=5.0)
        assert code == 200
        found: dict[str, object] = json.loads(body)
        return found

    before = identity()
    with SteadyLoad(calls(mesh)) as load:
        for cluster in CLUSTERS:
            path = f"/v1/identity/rotate-intermediate?cluster={cluster}"
            assert ask(sockets[f"agent/{cluster}"], "POST", path, timeout=10.0)[0] == 200
        await_condition(lambda: _all_changed(before, identity()), "both clusters have other intermediates")
        load.wait_answers(100)
        assert ask(sockets["management-server"], "POST", "/v1/identity/rotate-root", timeout=10.0)[0] == 200
        await_condition(
            lambda: _is_rotated(before, identity()), "the old root is gone, and everyone shows the new one", 120.0
        )
        load.wait_answers(200)

    assert load.unexpected == []


def _all_changed(before: dict[str, object], after: dict[str, object]) -> bool:
    old, new = ({one["cluster"]: one["fingerprint"] for one in said["intermediates"]} for said in (before, after))  # type: ignore[attr-defined]
    return all(old[cluster] != new.get(cluster, old[cluster]) for cluster in CLUSTERS)


def _is_rotated(before: dict[str, object], after: dict[str, object]) -> bool:
    old, new = ({one["fingerprint"] for one in said["roots"]} for said in (before, after))  # type: ignore[attr-defined]
    return old.isdisjoint(new) and after["rotation"]["phase"] == "steady"  # type: ignore[index]


def test_a_token_expires_while_everything_is_away(mesh: Mesh) -> None:
    """Verdicts need nobody: at its time, and not before, the token is refused."""
    record = mesh.state.running()
    url = "http://far.cluster1.example.com/status/200"
    try:
        for part in PARTS:
            stop_part(record, part)
        expires = int(time.time()) + 3
        headers = {"x-auth": f"Bearer {sign({**DEV, 'exp': expires})}"}
        assert mesh.request(url, headers=headers).status == 200

        await_condition(lambda: mesh.request(url, headers=headers).status == 401, "the token is refused", 20.0)

        assert time.time() > expires
        assert "expired" in mesh.request(url, headers=headers).text
    finally:
        for part in PARTS:
            with contextlib.suppress(LocalMeshError):
                start_part(record, part)
    settle(mesh)
