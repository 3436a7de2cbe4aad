"""Verified against unverified requests through one sidecar, in turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load import Kind, LoadProcess, run_load
from bench.mesh import BenchError, Mesh, note
from bench.objects import HOST, ISSUERS, OPEN_PATH, RouteShape, issuer_policy, token
from bench.result import Row, aimed, median, ratio
from bench.wire import monotonic_ms, render_request

CONNECTIONS = 32
ROUNDS = 10
ROUND_SECONDS = 1.0
AIM_ADDED_US = 5.0
AIM_RATIO = 0.85
SATURATED = 0.9
"""Share of one CPU from which on the sidecar's one worker is what limits throughput."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One second of one kind of request."""

    rate: float
    cpu_us: float
    """CPU time of the sidecar per request."""
    busy: float
    """Share of one CPU that the sidecar used."""


def measure_throughput(mesh: Mesh) -> Iterator[Row]:
    shape = RouteShape(routes=10)
    mesh.store([issuer_policy(ISSUERS[0])])
    mesh.set_routes(shape)
    note(f"throughput: {ROUNDS} rounds of {ROUND_SECONDS:g} s without and with verification, in turns")
    open_kind = Kind(request=render_request(HOST, OPEN_PATH, token=token()), status=200)
    verified_kind = Kind(request=render_request(HOST, shape.last_path, token=token()), status=200)
    with run_load(mesh.client_address) as load:
        for kind in (open_kind, verified_kind):
            _run(mesh, load, kind)
        pairs = []
        for number in range(ROUNDS):
            # Who goes first changes, so that a machine that slows down over a pair favours neither.
            if number % 2:
                verified, unverified = _run(mesh, load, verified_kind), _run(mesh, load, open_kind)
            else:
                unverified, verified = _run(mesh, load, open_kind), _run(mesh, load, verified_kind)
            pairs.append((unverified, verified))
    yield from _rows([one for one, _ in pairs], [one for _, one in pairs])


def _run(mesh: Mesh, load: LoadProcess, kind: Kind) -> Round:
    before, started = cpu_seconds(mesh.sidecar.pid), monotonic_ms()
    counted = load.run([kind] * CONNECTIONS, ROUND_SECONDS)
    used, elapsed = cpu_seconds(mesh.sidecar.pid) - before, (monotonic_ms() - started) / 1000
    if counted.failed or counted.wrong or counted.closed:
        raise BenchError(f"requests went wrong under plain load: {counted}")
    return Round(rate=counted.requests / counted.seconds, cpu_us=used * 1e6 / counted.requests, busy=used / elapsed)


def _rows(unverified: Sequence[Round], verified: Sequence[Round]) -> Iterator[Row]:
    rates = [median([one.rate for one in rounds]) for rounds in (unverified, verified)]
    costs = [median([one.cpu_us for one in rounds]) for rounds in (unverified, verified)]
    busy = min(median([one.busy for one in rounds]) for rounds in (unverified, verified))
    ratios = [with_token.rate / without.rate for without, with_token in zip(unverified, verified, strict=True)]
    limited = "the sidecar was the limit" if busy >= SATURATED else "the sidecar was NOT the limit"
    yield Row(measure="requests per second without / with RS256 (repeated token)", value=_both(rates, "{:,.0f}"))
    yield aimed(
        f"  ratio with : without, median of {len(ratios)} pairs", median(ratios), AIM_RATIO, most=False, text=ratio
    )
    yield Row(measure="  sidecar's share of one CPU", value=f"{busy:.0%}: {limited}")
    yield Row(measure="CPU of the sidecar per request without / with", value=_both(costs, "{:.1f}") + " µs")
    yield aimed("  added by a repeated RS256 token", costs[1] - costs[0], AIM_ADDED_US, text="{:.1f} µs".format)


def _both(values: Sequence[float], form: str) -> str:
    return " / ".join(form.format(value) for value in values)


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process, to the nanosecond where the kernel counts so (schedstat)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return total / 1e9
