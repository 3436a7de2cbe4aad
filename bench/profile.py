"""Where the time of a policy edit goes: stage by stage, then function by function."""

from __future__ import annotations

import io
import json
import pstats
import signal
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench import probe
from bench.edit import Edit, describe, run_edits
from bench.mesh import MESH_FILE, BenchError, Mesh, note, run_mesh, scratch_directory
from bench.objects import RouteShape
from bench.result import milliseconds, percentile
from meshpass.localmesh.directory import MeshRecord, StateDirectory

TIMED_EDITS = 100
PROFILED_EDITS = 60
TOP = 35
SHAPES = (RouteShape(routes=10), RouteShape(routes=1000), RouteShape(routes=1000, own_labels=True))
_START_SECONDS = 90.0


class Event(NamedTuple):
    """Something that ran in the supervisor."""

    started: float
    name: str
    taken: float
    detail: str

    @property
    def ended(self) -> float:
        return self.started + self.taken


class ProbedMesh:
    """Starts the supervisor of `bench.probe`, and reads what it wrote."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, state: StateDirectory) -> MeshRecord:
        state.prepare()
        command = [
            *(sys.executable, "-m", "bench.probe"),
            *(str(MESH_FILE), str(state.path), str(self.output)),
        ]
        self._process = subprocess.Popen(command)
        deadline = time.monotonic() + _START_SECONDS
        while not (self.output / probe.READY).exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BenchError("the supervisor with the probe did not start")
            time.sleep(0.05)
        return state.running()

    def events(self) -> list[Event]:
        """In the order of their beginning. To be asked for after the mesh has stopped."""
        assert self._process is not None
        self._process.wait(20)
        return sorted(Event(*one) for one in json.loads((self.output / probe.EVENTS).read_text(encoding="utf-8")))


def print_profile(console: Console) -> None:
    """Stages of an edit without a profiler; then, in other edits, functions with cProfile (which slows all down)."""
    for shape in SHAPES:
        with scratch_directory() as output:
            probed = ProbedMesh(output)
            with run_mesh(probed.start) as mesh:
                mesh.set_routes(shape)
                note(f"edits with {describe(shape)}, timed")
                edits = run_edits(mesh, shape, edits=TIMED_EDITS)
                node = mesh.client_node
                functions = _profile_functions(mesh, shape, output)
            console.print(_stage_table(shape, edits, probed.events(), node))
            console.print(functions, markup=False, soft_wrap=True)


def _profile_functions(mesh: Mesh, shape: RouteShape, output: Path) -> str:
    note("the same with cProfile")
    mesh.supervisor.send_signal(signal.SIGUSR1)
    run_edits(mesh, shape, edits=PROFILED_EDITS)
    mesh.supervisor.send_signal(signal.SIGUSR2)
    deadline = time.monotonic() + 10
    while not (output / probe.FUNCTIONS).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    text = io.StringIO()
    statistics = pstats.Stats(str(output / probe.FUNCTIONS), stream=text)
    for order in ("cumulative", "tottime"):
        statistics.sort_stats(order).print_stats(
            r"meshpass|msgspec|json|protobuf|SerializeToString|sqlite|select|{", TOP
        )
    return text.getvalue().replace(str(Path.cwd()), ".")


def _stage_table(shape: RouteShape, edits: Sequence[Edit], events: Sequence[Event], node: str) -> Table:
    stages: dict[str, list[float]] = {}
    starts = [event.started for event in events]
    for edit in edits:
        within = [e for e in events[bisect_left(starts, edit.sent) :][:400] if e.started <= edit.seen]
        for name, taken in _stages(edit, within, node).items():
            stages.setdefault(name, []).append(taken)
    table = Table("stage", "p50", "p99", "edits", title=f"A policy edit with {describe(shape)}, without profiler")
    for name, values in stages.items():
        middle, late = percentile(values, 50), percentile(values, 99)
        table.add_row(name, milliseconds(middle), milliseconds(late), str(len(values)))
    return table


def _stages(edit: Edit, within: Sequence[Event], node: str) -> dict[str, float]:
    """Consecutive stages add up to the whole; what is indented is a part of the stage above it, or beside it all."""
    found = {}
    upsert = _first(within, "upsert", "JWTPolicy")
    if upsert is None:
        return {"(events missing)": edit.taken}
    after = [event for event in within if event.started >= upsert.started]
    reconcile, set_target = _first(after, "reconcile"), _first(after, "set", node)
    synced = _first(after, "report", f"{node} True")
    found["sent → stored, watched, at the informer"] = upsert.started - edit.sent
    found["  beside: API server's answer at the client"] = edit.stored - edit.sent
    if reconcile is None or set_target is None:
        return found
    found["informer → reconcile begins"] = reconcile.started - upsert.started
    found["  of it: parse (upsert)"] = upsert.taken
    translated = _first(after, "translate")
    if translated is not None:
        found["  of reconcile: translate"] = translated.taken
    for name in ("build_snapshot", "plan_transition", "set"):
        taken = [event.taken for event in after if event.name == name and event.started <= reconcile.ended]
        found[f"  of reconcile: {name}, all proxies"] = sum(taken)
    found["  reconcile as a whole"] = reconcile.taken
    found["reconcile begins → client's sidecar told"] = set_target.ended - reconcile.started
    if synced is not None:
        found["  told → acknowledged"] = synced.started - set_target.ended
    found["told → new verdict seen"] = edit.seen - set_target.ended
    found["the whole"] = edit.taken
    return found


def _first(events: Sequence[Event], name: str, detail: str = "") -> Event | None:
    return next((event for event in events if event.name == name and detail in event.detail), None)
