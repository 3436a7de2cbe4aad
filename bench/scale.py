"""A mesh with 10,000 routes in 1,000 tables: memory, a restart, and edits of tables."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from bench.edit import PAUSE_SECONDS, Edit, run_edit
from bench.large import ROUTES, TABLES, Layout, host, large_objects, large_table, open_path
from bench.mesh import STORING_CONNECTIONS, Mesh, note
from bench.result import Row, aimed, mebibytes, megabytes, milliseconds, percentile, seconds
from bench.throughput import cpu_seconds
from bench.wire import Connection, monotonic_ms, render_request

EDITS = 50
WARM_UP = 5
PAUSE_MS = 2.0
"""Between two requests of the client: an edit here takes so long that asking without pause would slow it down."""
AIM_BYTES = 200e6
_EDITED = TABLES - 1


def measure_scale(mesh: Mesh) -> Iterator[Row]:
    """To be measured on a mesh that nothing was done with before."""
    note(f"{TABLES:,} tables by {STORING_CONNECTIONS} connections")
    started = monotonic_ms()
    mesh.send(large_objects(Layout.FLAT))
    stored = monotonic_ms()
    mesh.wait()
    settled = monotonic_ms()
    yield Row(
        measure=f"{ROUTES:,} routes in {TABLES:,} tables stored / then every proxy and status up to date",
        value=f"{seconds((stored - started) / 1000)} / {seconds((settled - stored) / 1000)}",
    )
    yield Row(measure="  RSS of the supervisor afterwards", value=megabytes(mesh.supervisor.memory_info().rss))
    yield from _edit_rows(mesh)
    note("the mesh stops and starts again")
    again = monotonic_ms()
    restarted = mesh.restarted()
    restarted.wait()
    yield Row(measure="  stopped and started again with them", value=seconds((monotonic_ms() - again) / 1000))
    resident = restarted.supervisor.memory_info().rss
    yield aimed("  RSS of the supervisor (3 API servers, control plane) then", resident, AIM_BYTES, text=megabytes)
    yield Row(measure="  RSS of the client's sidecar then", value=mebibytes(restarted.sidecar.memory_info().rss))


def _edit_rows(mesh: Mesh) -> Iterator[Row]:
    note(f"{EDITS} edits of one table")
    pids = (mesh.supervisor.pid, mesh.sidecar.pid)
    before = [cpu_seconds(pid) for pid in pids]
    taken = [edit.taken for edit in _run_edits(mesh)]
    used = [(cpu_seconds(pid) - was) * 1000 / (WARM_UP + EDITS) for pid, was in zip(pids, before, strict=True)]
    p50, p99 = (milliseconds(percentile(taken, percent)) for percent in (50, 99))
    yield Row(measure="  table edit → new answer at the sidecar, p50", value=p50)
    yield Row(measure=f"  p99 of {len(taken)}", value=p99)
    yield Row(measure="  CPU per edit: supervisor / client's sidecar", value=" / ".join(map(milliseconds, used)))


def _run_edits(mesh: Mesh) -> list[Edit]:
    """The last route of one table goes back and forth between two paths, the first of which is asked for."""
    tables = [large_table(_EDITED, moved=moved) for moved in range(2)]
    request = render_request(host(_EDITED), open_path(_EDITED))
    done = []
    random.seed(TABLES)
    with mesh.api() as api, Connection(mesh.client_address) as client:
        for number in range(WARM_UP + EDITS):
            turn = (number + 1) % 2
            done.append(run_edit(api, tables[turn], client, request, expected=404 if turn else 200, pause_ms=PAUSE_MS))
            time.sleep(random.uniform(*PAUSE_SECONDS))
    return done[WARM_UP:]
