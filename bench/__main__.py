"""`python -m bench [MEASURE…] [--profile]`: runs the measures and prints one table."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.table import Table

from bench.churn import measure_churn
from bench.clusters import measure_clusters
from bench.core import measure_core
from bench.edit import measure_edits
from bench.machine import OtherPrograms, describe_machine
from bench.memory import measure_memory
from bench.mesh import BenchError, Mesh, run_mesh
from bench.profile import print_profile
from bench.result import Row, Verdict
from bench.scale import measure_scale
from bench.start import measure_start
from bench.throughput import measure_throughput

ON_A_MESH: dict[str, Callable[[Mesh], Iterator[Row]]] = {
    "memory": measure_memory,
    "edit": measure_edits,
    "throughput": measure_throughput,
    "churn": measure_churn,
    "scale": measure_scale,
}
"""Each gets a mesh of its own: none finds what another left."""
WITHOUT_A_MESH: dict[str, Callable[[], Iterator[Row]]] = {
    "core": measure_core,
    "start": measure_start,
    "clusters": measure_clusters,
}
MEASURES = (*WITHOUT_A_MESH, *ON_A_MESH)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(MEASURES)}; all unless said")
    parser.add_argument(
        "--profile", action="store_true", help="instead: where the time of a policy edit goes, and the top functions"
    )
    arguments = parser.parse_args()
    chosen = arguments.measures or os.environ.get("ONLY", "").split() or MEASURES
    if unknown := [name for name in chosen if name not in MEASURES]:
        parser.error(f"no measure is called {unknown[0]}; there are {', '.join(MEASURES)}")
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(describe_machine())
    if arguments.profile:
        print_profile(console)
        return 0
    started = time.monotonic()
    rows: list[Row] = []
    failed = False
    for name in chosen:
        try:
            for row in _measure(name):
                rows.append(row)  # noqa: PERF402 - what was measured before a failure is kept
        except BenchError as error:
            failed = True
            rows.append(Row(measure=f"{name}: could not be measured to its end", value=str(error)))
    console.print(_render(rows))
    console.print(f"load average now {os.getloadavg()[0]:.1f}; all of it took {time.monotonic() - started:.0f} s")
    missed = sum(row.verdict is Verdict.MISSED for row in rows)
    console.print(f"{missed} of {sum(row.verdict is not Verdict.NO_AIM for row in rows)} aims missed")
    return int(failed)


def _measure(name: str) -> Iterator[Row]:
    if name in WITHOUT_A_MESH:
        yield from WITHOUT_A_MESH[name]()
        return
    with run_mesh() as mesh:
        others = OtherPrograms()
        yield from ON_A_MESH[name](mesh)
        yield others.row()


def _render(rows: list[Row]) -> Table:
    table = Table("measure", "value", "aim", "", title="Meshpass on this machine, now")
    for row in rows:
        style = {Verdict.MISSED: "bold red", Verdict.MET: "green", Verdict.NO_AIM: ""}[row.verdict]
        table.add_row(row.measure, row.value, row.aim, row.verdict.value, style=style)
    return table


if __name__ == "__main__":
    sys.exit(main())
