"""MeshControl: what all processes of a mesh's control plane say, asked at the same time and joined."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from meshpass.errors import LocalMeshError
from meshpass.localmesh.control import ControlStatus, observe, read_raw_status, wait_in_sync
from meshpass.localmesh.directory import MeshRecord
from meshpass.localmesh.processrecord import ProcessRecord, Role, join_by_cluster, speaks_for

_NOT_A_PROXY = "control plane"
"""How a process says that nothing but itself is late."""

T = TypeVar("T")
Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Generic[T]):
    """What one process said, or why it said nothing."""

    process: ProcessRecord
    answer: T | None = None
    error: LocalMeshError | None = None


def ask_each(processes: Sequence[ProcessRecord], question: Callable[[ProcessRecord], T]) -> tuple[Told[T], ...]:
    """The answer of every process to the question, which raises LocalMeshError where there is none."""

    def ask(process: ProcessRecord) -> Told[T]:
        try:
            return Told(process=process, answer=question(process))
        except LocalMeshError as error:
            return Told(process=process, error=error)

    with ThreadPoolExecutor(max_workers=max(len(processes), 1)) as threads:
        return tuple(threads.map(ask, processes))


def answers(told: Iterable[Told[T]]) -> list[tuple[ProcessRecord, T]]:
    """The answers that came, with who gave them. Raises LocalMeshError where none did."""
    every = tuple(told)
    came = [(one.process, one.answer) for one in every if one.answer is not None]
    if not came and every and every[0].error is not None:
        raise every[0].error
    return came


def wait_mesh(record: MeshRecord, *, timeout: float) -> tuple[str, ...]:
    """Waits until every proxy has acknowledged what was made from all that was stored in any cluster before the call.

    Returns what had not done so after ``timeout`` seconds: nodes, and processes that do not answer. Raises
    LocalMeshError where no process answers.
    """
    processes = record.processes
    if len(processes) == 1:
        return wait_in_sync(processes[0].socket, timeout=timeout)
    deadline = time.monotonic() + timeout
    observed = ask_each(processes, lambda one: observe(one.socket, timeout=timeout))
    revisions = join_by_cluster(answers(observed))

    def wait(one: ProcessRecord) -> tuple[str, ...]:
        left = max(deadline - time.monotonic(), 0.0)
        late = wait_in_sync(one.socket, timeout=left, revisions=revisions)
        return tuple(one.name if name == _NOT_A_PROXY else name for name in late)

    waited = ask_each([one.process for one in observed if one.error is None], wait)
    silent = [one.process.name for one in observed if one.error is not None]
    silent += [one.process.name for one in waited if one.error is not None]
    late = [node for one in waited for node in one.answer or ()]
    return tuple(dict.fromkeys((*silent, *late)))


def read_mesh_status(record: MeshRecord) -> ControlStatus:
    """What the control plane says of itself. Raises LocalMeshError as `read_raw_mesh_status`."""
    return msgspec.convert(read_raw_mesh_status(record), ControlStatus)


def read_raw_mesh_status(record: MeshRecord) -> Raw:
    """The statuses of all processes as one, as JSON; what each said by itself is in ``processes``.

    Raises LocalMeshError where there is one process, which does not answer; of several, none has to.
    """
    told = ask_each(record.processes, lambda one: read_raw_status(one.socket))
    came: list[tuple[ProcessRecord, Raw]] = (
        answers(told) if len(told) == 1 else [(one.process, one.answer) for one in told if one.answer is not None]
    )
    return {
        "synced": len(came) == len(told) and all(said["synced"] for _, said in came),
        "clusters": list(
            join_by_cluster([(one, {part["name"]: part for part in said["clusters"]}) for one, said in came]).values()
        ),
        "proxies": join_proxies(came),
        "processes": [_process_status(one) for one in told],
    }


def join_proxies(told: Sequence[tuple[ProcessRecord, Raw]]) -> list[Raw]:
    """The proxies that each process tells of: those of its own cluster's, whatever else it has heard of."""
    return [
        proxy
        for process, said in told
        for proxy in said["proxies"]
        if process.role is Role.ALONE or speaks_for(process, cluster_of(proxy["node"]))
    ]


def cluster_of(node: str) -> str:
    """The cluster of an Envoy, by its id."""
    return node.split("~")[1] if node.count("~") > 1 else ""


def _process_status(told: Told[Raw]) -> Raw:
    process, said = told.process, told.answer
    own = {"role": process.role.value, "cluster": process.cluster, "pid": process.pid, "answers": said is not None}
    more = {key: said[key] for key in ("agents", "server") if key in said} if said is not None else {}
    return {**own, **more}
