"""Cold start: `meshpass up --detach` in an empty directory, until it returns."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from bench.mesh import MESH_FILE, BenchError, note, scratch_directory
from bench.result import Row, aimed, median, seconds
from meshpass.localmesh.directory import StateDirectory
from meshpass.localmesh.stop import stop_mesh

MESHES: tuple[tuple[str, tuple[str, ...], int, float], ...] = (
    ("the guide's mesh", ("--file", str(MESH_FILE)), 5, 5.0),
    ("one cluster with Bookinfo and gateways", ("--clusters", "1"), 3, 5.0),
    ("three clusters, management server and agents", (), 3, 8.0),
)
"""What is started, the options that say so, how often, and the aim in seconds."""
_PROGRAM = "from meshpass.cli.main import main; main()"


def measure_start() -> Iterator[Row]:
    """`up` returns when every proxy has acknowledged its configuration, so its own run time is the figure."""
    for name, options, runs, aim in MESHES:
        taken = [_start_once(options) for _ in range(runs)]
        yield aimed(f"cold up to every proxy ready, {name}, median of {runs}", median(taken), aim, text=seconds)
        yield Row(measure="  slowest", value=seconds(max(taken)))


def _start_once(options: tuple[str, ...]) -> float:
    with scratch_directory() as directory:
        state = StateDirectory(path=directory / "mesh")
        command = [sys.executable, "-c", _PROGRAM, "up", "--detach", "--dir", str(state.path), *options]
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
