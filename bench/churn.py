"""1,000 policy edits under load: nobody may notice one."""

from __future__ import annotations

from collections.abc import Iterator

from bench.load import Counted, Kind, run_load
from bench.mesh import Mesh, note
from bench.objects import HOST, OPEN_PATH, RouteShape, equivalent_policies, token
from bench.result import Row, aimed, count
from bench.wire import monotonic_ms, render_request

EDITS = 1000
CONNECTIONS_PER_KIND = 3
SHAPE = RouteShape(routes=10)


def measure_churn(mesh: Mesh) -> Iterator[Row]:
    """Every edit leaves every verdict as it is, so that any other verdict is wrong."""
    policies = equivalent_policies()
    mesh.store([policies[0]])
    mesh.set_routes(SHAPE)
    note(f"{EDITS} policy edits under load")
    before = mesh.revision()
    with run_load(mesh.client_address) as load, mesh.api() as api:
        load.begin(_kinds() * CONNECTIONS_PER_KIND)
        started = monotonic_ms()
        for number in range(EDITS):
            api.update(policies[(number + 1) % len(policies)])
        taken = (monotonic_ms() - started) / 1000
        mesh.wait()
        counted = load.end()
    published = mesh.revision() - before
    yield Row(measure=f"{EDITS:,} policy edits under load: edits / requests per second", value=_rates(taken, counted))
    yield Row(measure="  sets of objects that the control plane made of them", value=f"{published:,}")
    yield aimed("  failed requests", counted.failed, 0, text=count)
    yield aimed(f"  wrong verdicts {counted.statuses or ''}".rstrip(), counted.wrong, 0, text=count)
    yield aimed("  closed connections", counted.closed, 0, text=count)


def _kinds() -> list[Kind]:
    passes, guarded = token(), SHAPE.last_path
    return [
        Kind(request=render_request(HOST, guarded, token=passes), status=200),
        Kind(request=render_request(HOST, guarded), status=401),
        Kind(request=render_request(HOST, OPEN_PATH), status=200),
    ]


def _rates(seconds: float, counted: Counted) -> str:
    return f"{EDITS / seconds:,.0f} / {counted.requests / counted.seconds:,.0f}"
