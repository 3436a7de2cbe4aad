"""Three clusters: an edit in the management cluster until the verdict in cluster2, and what it all takes in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from bench.edit import EDITS, describe, run_edits
from bench.fleet import running_fleet
from bench.mesh import Mesh, note, scratch_directory
from bench.objects import ISSUERS, NAMESPACE, Raw, RouteShape, issuer_policy, make_object, upstream_objects
from bench.result import Row, aimed, mebibytes, median, milliseconds, percentile, seconds
from bench.upstream import run_upstream
from meshpass.localmesh.detach import start_detached
from meshpass.localmesh.directory import StateDirectory
from meshpass.localmesh.meshfile import default_mesh_path
from meshpass.localmesh.processrecord import Role
from meshpass.localmesh.stop import stop_mesh

MESH_FILE = Path(__file__).with_name("clusters.yaml")
MANAGEMENT, FAR = "mgmt", "cluster2"
SHAPE = RouteShape(routes=10)
FLEET, FLEET_EDITS, FLEET_AIM_SECONDS = 500, 6, 1.0
MEDIAN_AIM_MS, AIM_MS = 15.0, 40.0


def measure_clusters() -> Iterator[Row]:
    """Memory on the default mesh, as `meshpass up` starts it; the rest on one with four proxies."""
    with _running(default_mesh_path()) as mesh:
        yield from _measure_memory(mesh)
    with _running(MESH_FILE) as mesh, scratch_directory() as directory, run_upstream(directory) as port:
        yield from _measure_edits(mesh, port)
        yield from _measure_fleet(mesh)


@contextmanager
def _running(mesh_file: Path) -> Iterator[Mesh]:
    with scratch_directory() as directory:
        state = StateDirectory(path=directory / "mesh")
        try:
            record = start_detached(mesh_file, state, lambda _line: None, tied=True)
            yield Mesh(state=state, record=record, edited_in=MANAGEMENT, asked_in=FAR)
        finally:
            stop_mesh(state)


def _measure_memory(mesh: Mesh) -> Iterator[Row]:
    """Resident memory counts what processes share once for each; proportional memory counts it once."""
    children = mesh.supervisor.children(recursive=True)
    proportional = [one.memory_full_info().pss for one in (mesh.supervisor, *children)]
    yield Row(
        measure=f"memory of the three-cluster mesh, all {len(proportional)} processes (PSS)",
        value=mebibytes(sum(proportional)),
    )
    for process in mesh.record.processes:
        if process.pid is not None:
            resident = psutil.Process(process.pid).memory_info().rss
            yield Row(measure=f"  RSS of {process.name}", value=mebibytes(resident))


def _measure_edits(mesh: Mesh, port: int) -> Iterator[Row]:
    # Upstream and routes are cluster2's own, the policy is the management cluster's.
    far = replace(mesh, edited_in=FAR)
    far.store(upstream_objects(port))
    far.set_routes(SHAPE)
    note(f"{EDITS} edits in {MANAGEMENT}, asked in {FAR}")
    taken = [edit.taken for edit in run_edits(mesh, SHAPE)]
    name = f"edit in {MANAGEMENT} → verdict in {FAR}, {describe(SHAPE)}"
    yield aimed(f"{name}, p50", percentile(taken, 50), MEDIAN_AIM_MS, text=milliseconds)
    yield aimed(f"  p99 of {len(taken)}", percentile(taken, 99), AIM_MS, text=milliseconds)


def _measure_fleet(mesh: Mesh) -> Iterator[Row]:
    """Simulated proxies, in a process of their own, beside those of cluster2 that there are anyway."""
    far = replace(mesh, edited_in=FAR)
    names = [f"fleet-{number}" for number in range(FLEET)]
    with far.api() as api:
        for number, name in enumerate(names):
            pod = _pod(name, number)
            api.store(pod)
            api.put_status(pod)
    socket = next(one.socket for one in mesh.record.processes if (one.cluster, one.role) == (FAR, Role.AGENT))
    ads = socket.with_name(socket.name.replace("control-", "ads-"))
    nodes = [f"sidecar~{FAR}~{NAMESPACE}~{name}" for name in names]
    taken = asyncio.run(_time_fleet(far, ads, nodes))
    yield aimed(
        f"{FLEET} simulated proxies on one agent acknowledge an edit of a policy, median of {len(taken)}",
        median(taken),
        FLEET_AIM_SECONDS,
        text=seconds,
    )


async def _time_fleet(mesh: Mesh, ads: Path, nodes: list[str]) -> list[float]:
    policies = [issuer_policy(issuer) for issuer in ISSUERS]
    taken = []
    async with running_fleet(ads, nodes):
        await asyncio.to_thread(mesh.wait)
        for number in range(FLEET_EDITS):
            started = time.monotonic()
            with replace(mesh, edited_in=MANAGEMENT).api() as api:
                api.update(policies[number % 2])
            await asyncio.to_thread(mesh.wait)
            taken.append(time.monotonic() - started)
            note(f"{FLEET} proxies acknowledged after {taken[-1]:.2f} s")
    return taken


def _pod(name: str, number: int) -> Raw:
    rest = {
        "spec": {"serviceAccountName": "client", "containers": [{"name": "app", "image": "none.invalid/none"}]},
        "status": {"phase": "Running", "podIP": f"10.1.{number // 250}.{number % 250 + 1}"},
    }
    pod = make_object("v1", "Pod", name, rest)
    pod["metadata"]["annotations"] = {"meshpass.dev/proxy": "sidecar"}
    return pod
