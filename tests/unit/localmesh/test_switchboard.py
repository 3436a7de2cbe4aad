"""Parts are found by the names that people use, and whoever says a wrong one is told the right one."""

from __future__ import annotations

import asyncio
import os

import pytest

from meshpass.errors import LocalMeshError
from meshpass.localmesh import switchboard as module
from meshpass.localmesh.process import ChildProcess, ProcessSpec
from meshpass.localmesh.switchboard import Part, PartKind, Switchboard, display_names

FOREVER = ("sh", "-c", "exec sleep 600")


def part(tmp_path, kind, *path, settled=None):
    async def at_once(_running):
        return

    spec = ProcessSpec(
        name="child",
        command=FOREVER,
        environment={"PATH": os.environ["PATH"]},
        working_directory=tmp_path,
        log=tmp_path / "log",
    )
    return Part(kind=kind, path=path, child=ChildProcess(spec, announce=print), settled=settled or at_once)


@pytest.fixture
def board(tmp_path):
    parts = [
        part(tmp_path, PartKind.MANAGEMENT_SERVER),
        part(tmp_path, PartKind.AGENT, "cluster1"),
        part(tmp_path, PartKind.PROXY, "cluster1", "httpbin", "client"),
        part(tmp_path, PartKind.PROXY, "cluster2", "httpbin", "client"),
        part(tmp_path, PartKind.WORKLOAD, "cluster1", "web", "reviews-v1"),
        part(tmp_path, PartKind.PROXY, "cluster1", "web", "reviews-v1"),
    ]
    return Switchboard(parts, without_program=[("cluster1", "httpbin", "client")], alone=False)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("management-server", "management-server"),
        ("agent/cluster1", "agent/cluster1"),
        ("workload/reviews-v1", "workload/cluster1/web/reviews-v1"),
        ("proxy/reviews-v1", "proxy/cluster1/web/reviews-v1"),
        ("proxy/cluster2/httpbin/client", "proxy/cluster2/httpbin/client"),
    ],
)
async def test_names(board, name, found):
    """The last word of a workload's name is enough where only one has it."""
    assert board.find(name).name == found


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("proxy/client", "proxy/cluster1/httpbin/client, proxy/cluster2/httpbin/client", "whole name"),
        ("workload/client", "cluster1/httpbin/client has no program", "proxy/cluster1/httpbin/client is its Envoy"),
        ("agent/cluster2", "no agent/cluster2", "did you mean agent/cluster1?"),
        ("workload/revews-v1", "no workload/revews-v1", "did you mean workload/reviews-v1?"),
        ("agent", "no agent", None),
        ("management-server/x", "no management-server/x", "did you mean management-server?"),
        ("", "the mesh has no ", "meshpass status"),
    ],
)
async def test_wrong_names(board, name, message, hint):
    """Ambiguous, misspelt, of something without a process of ours."""
    with pytest.raises(LocalMeshError) as caught:
        board.find(name)

    assert message in str(caught.value)
    assert hint is None or hint in (caught.value.hint or "")


async def test_one_process_has_no_parts_to_stop():
    """Of its control plane; the message does not suggest otherwise."""
    with pytest.raises(LocalMeshError, match="one process, the supervisor itself"):
        Switchboard([], without_program=[], alone=True).find("agent/cluster1")


def test_the_shortest_names_are_those_that_are_found():
    """What a shell offers, `stop` takes."""
    names = ["management-server", "agent/c1", "proxy/c1/n/a", "proxy/c2/n/a", "workload/c1/n/a"]

    assert display_names(names) == {
        "management-server": "management-server",
        "agent/c1": "agent/c1",
        "proxy/c1/n/a": "proxy/c1/n/a",
        "proxy/c2/n/a": "proxy/c2/n/a",
        "workload/c1/n/a": "workload/a",
    }


async def test_stop_and_start_say_whether_they_changed_anything(tmp_path):
    """And return when the rest of the mesh has noticed."""
    told = []

    async def settled(running):
        told.append(running)

    one = part(tmp_path, PartKind.AGENT, "c1", settled=settled)
    board = Switchboard([one], without_program=[], alone=False)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(one.child.run())
        outcomes = [
            (await act("agent/c1"))[1] for act in (board.stop, board.stop, board.start, board.start, board.stop)
        ]
        assert (board.records[0].stopped, board.records[0].pid) == (True, None)
        task.cancel()

    assert outcomes == [True, False, True, False, True]
    assert told == [False, False, True, True, False]


async def test_what_does_not_come_up_is_an_error(tmp_path, monkeypatch):
    """With its log; nobody waits for ever."""
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.05)

    async def never(_running):
        await asyncio.Event().wait()

    board = Switchboard([part(tmp_path, PartKind.AGENT, "c1", settled=never)], without_program=[], alone=False)
    with pytest.raises(LocalMeshError, match=r"agent/c1 runs, but does not answer after 0\.05 s") as caught:
        await board.start("agent/c1")

    assert str(tmp_path / "log") in (caught.value.hint or "")
