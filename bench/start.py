"""Cold start: `meshpass up --detach` in an empty directory, until it returns."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from bench.mesh import BenchError, note, scratch_directory
from bench.result import Row, aimed, median, seconds
from meshpass.localmesh.directory import StateDirectory
from meshpass.localmesh.stop import stop_mesh

RUNS = 5
AIM_SECONDS = 5.0
_PROGRAM = "from meshpass.cli.main import main; main()"


def measure_start() -> Iterator[Row]:
    """`up` returns when every proxy has acknowledged its configuration, so its own run time is the figure."""
    taken = [_start_once() for _ in range(RUNS)]
    yield aimed(f"cold up to every proxy ready, median of {RUNS}", median(taken), AIM_SECONDS, text=seconds)
    yield Row(measure="  slowest", value=seconds(max(taken)))


def _start_once() -> float:
    with scratch_directory() as directory:
        state = StateDirectory(path=directory / "mesh")
        command = [sys.executable, "-c", _PROGRAM, "up", "--detach", "--dir", str(state.path)]
        started = time.monotonic()
        try:
            finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
            taken = time.monotonic() - started
            if finished.returncode:
                raise BenchError(f"`meshpass up` failed: {finished.stderr[-1000:]}")
        finally:
            stop_mesh(state)
    note(f"up took {taken:.2f} s")
    return taken
