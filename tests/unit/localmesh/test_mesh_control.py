"""Several processes are asked at the same time, and give one answer."""

from __future__ import annotations

import pytest

from meshpass.errors import LocalMeshError
from meshpass.localmesh import meshcontrol
from meshpass.localmesh.directory import MeshRecord
from meshpass.localmesh.meshcontrol import read_mesh_status, read_raw_mesh_status, wait_mesh
from meshpass.localmesh.processrecord import ProcessRecord, Role

ALONE = ProcessRecord(role=Role.ALONE, cluster="mgmt", control_socket="/alone", log="/log", pid=1)
SERVER = ProcessRecord(role=Role.MANAGEMENT_SERVER, cluster="mgmt", control_socket="/server", log="/log", pid=2)
AGENT = ProcessRecord(role=Role.AGENT, cluster="c1", control_socket="/agent", log="/log", pid=3)


def record(*processes):
    return MeshRecord(pid=1, ready=True, run_directory="/run", processes=processes)


@pytest.fixture
def processes(monkeypatch):
    """Answers by socket; what is missing does not answer. The list takes what was asked."""
    observed, late, statuses, asked = {}, {}, {}, []

    def answer(answers, path):
        if str(path) not in answers:
            raise LocalMeshError(f"{path} does not answer")
        return answers[str(path)]

    def observe(path, *, timeout):
        asked.append((str(path), "observe", timeout))
        return answer(observed, path)

    def wait(path, *, timeout, revisions=None):
        asked.append((str(path), "wait", revisions))
        return answer(late, path)

    monkeypatch.setattr(meshcontrol, "observe", observe)
    monkeypatch.setattr(meshcontrol, "wait_in_sync", wait)
    monkeypatch.setattr(meshcontrol, "read_raw_status", lambda path: answer(statuses, path))
    return observed, late, statuses, asked


def test_one_process_is_asked_as_it_is(processes):
    """Nothing has to be observed for it elsewhere."""
    _, late, _, asked = processes
    late["/alone"] = ("a",)

    assert wait_mesh(record(ALONE), timeout=2) == ("a",)
    assert asked == [("/alone", "wait", None)]


def test_every_process_waits_for_what_all_have_observed(processes):
    """Of each cluster for what its own process has seen."""
    observed, late, _, asked = processes
    observed |= {"/server": {"mgmt": "m:2"}, "/agent": {"c1": "a:5"}}
    late |= {"/server": (), "/agent": ("node",)}

    assert wait_mesh(record(SERVER, AGENT), timeout=2) == ("node",)
    waits = {path: revisions for path, what, revisions in asked if what == "wait"}
    assert waits == {path: {"mgmt": "m:2", "c1": "a:5"} for path in ("/server", "/agent")}


def test_a_silent_process_is_late_and_the_others_are_waited_for(processes):
    """A process that is late itself goes by its name."""
    observed, late, _, asked = processes
    observed["/agent"] = {"c1": "a:5"}
    late["/agent"] = ("control plane",)

    assert wait_mesh(record(SERVER, AGENT), timeout=2) == ("management-server", "agent/c1")
    assert [path for path, what, _ in asked if what == "wait"] == ["/agent"]


def test_nobody_there(processes):
    """Is an error for people."""
    with pytest.raises(LocalMeshError, match="does not answer"):
        wait_mesh(record(SERVER, AGENT), timeout=2)


def status(cluster, *nodes, **more):
    proxies = [{"node": node, "connected": True, "inSync": sync, "rejections": []} for node, sync in nodes]
    return {"synced": True, "clusters": [{"name": cluster, "synced": True}], "proxies": proxies, **more}


def test_statuses_are_joined(processes):
    """A proxy is told of by the process of its cluster; what each process says by itself stays apart."""
    _, _, statuses, _ = processes
    server = {"address": "127.0.0.1:9900", "connected": True, "sinceSeconds": 3.0}
    statuses["/server"] = status("mgmt", ("sidecar~c1~n~w", False), ("sidecar~mgmt~n~w", True), agents=[])
    statuses["/agent"] = status("c1", ("sidecar~c1~n~w", True), server=server)
    raw = read_raw_mesh_status(record(SERVER, AGENT))

    assert {proxy.node: proxy.in_sync for proxy in read_mesh_status(record(SERVER, AGENT)).proxies} == {
        "sidecar~mgmt~n~w": True,
        "sidecar~c1~n~w": True,
    }
    assert [one["name"] for one in raw["clusters"]] == ["c1", "mgmt"]
    assert raw["processes"] == [
        {"role": "management-server", "cluster": "mgmt", "pid": 2, "answers": True, "agents": []},
        {"role": "agent", "cluster": "c1", "pid": 3, "answers": True, "server": server},
    ]


def test_a_silent_process_is_part_of_the_status(processes):
    """The mesh is not synced without it; a process alone that is silent is an error."""
    _, _, statuses, _ = processes
    statuses["/agent"] = status("c1")
    raw = read_raw_mesh_status(record(SERVER, AGENT))

    assert not raw["synced"]
    assert [one["answers"] for one in raw["processes"]] == [False, True]
    with pytest.raises(LocalMeshError):
        read_raw_mesh_status(record(ALONE))
