"""Three clusters: an edit in the management cluster until the verdict in cluster2, and what it all takes in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psutil

from bench.edit import EDITS, describe, run_edits
from bench.mesh import Mesh, note, scratch_directory
from bench.objects import RouteShape, upstream_objects
from bench.result import Row, aimed, mebibytes, milliseconds, percentile
from bench.upstream import run_upstream
from meshpass.localmesh.detach import start_detached
from meshpass.localmesh.directory import StateDirectory
from meshpass.localmesh.meshfile import default_mesh_path
from meshpass.localmesh.stop import stop_mesh

MANAGEMENT, FAR = "mgmt", "cluster2"
SHAPE = RouteShape(routes=10)
MEDIAN_AIM_MS, AIM_MS = 15.0, 40.0


def measure_clusters() -> Iterator[Row]:
    """On the default mesh, as `meshpass up` starts it."""
    with scratch_directory() as directory, run_upstream(directory) as port:
        state = StateDirectory(path=directory / "mesh")
        try:
            record = start_detached(default_mesh_path(), state, lambda _line: None, tied=True)
            mesh = Mesh(state=state, record=record, edited_in=MANAGEMENT, asked_in=FAR)
            yield from _measure_memory(mesh)
            yield from _measure_edits(mesh, port)
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
