"""A supervisor that says where its time goes: the real one, with a clock around the stages of a policy edit.

``python -m bench.probe MESH_FILE STATE_DIRECTORY OUTPUT_DIRECTORY`` runs until SIGTERM, then writes `events.json`.
SIGUSR1 starts cProfile; SIGUSR2 stops it and writes `functions.pstats`.
"""

from __future__ import annotations

import cProfile
import functools
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.wire import monotonic_ms
from meshpass import reconciler
from meshpass.app import controlplane
from meshpass.kube.store import ObjectStore
from meshpass.localmesh.directory import StateDirectory
from meshpass.localmesh.runner import run_supervisor
from meshpass.xds.cache import SnapshotCache, StreamEntry

EVENTS = "events.json"
READY = "ready"
FUNCTIONS = "functions.pstats"


class Clock:
    """Remembers when what happened: (milliseconds, name, milliseconds taken, detail)."""

    def __init__(self) -> None:
        self.events: list[tuple[float, str, float, str]] = []

    def around(self, owner: Any, name: str, *, detail: Callable[..., str] | None = None) -> None:
        """``owner.name`` leaves an event behind whenever it has run."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def timed(*arguments: Any, **named: Any) -> Any:
            started = monotonic_ms()
            result = original(*arguments, **named)
            ended = monotonic_ms()
            self.events.append((started, name, ended - started, detail(*arguments, **named) if detail else ""))
            return result

        setattr(owner, name, timed)


def main() -> None:
    mesh_file, state, output = (Path(argument) for argument in sys.argv[1:])
    clock = Clock()
    clock.around(ObjectStore, "upsert", detail=lambda _store, _cluster, kind, _raw: str(kind.kind))
    clock.around(ObjectStore, "flush")
    clock.around(reconciler.Reconciler, "reconcile")
    clock.around(reconciler.Reconciler, "write_statuses")
    clock.around(reconciler, "translate")
    clock.around(reconciler, "build_snapshot")
    clock.around(SnapshotCache, "set", detail=lambda _cache, snapshot: str(snapshot.node))
    clock.around(controlplane, "plan_transition")
    clock.around(StreamEntry, "report", detail=lambda entry, **told: f"{entry.node} {told['in_sync_with'] is not None}")
    profile = cProfile.Profile()

    def stop_profile(_number: int, _frame: object) -> None:
        profile.disable()
        profile.dump_stats(output / FUNCTIONS)

    signal.signal(signal.SIGUSR1, lambda _number, _frame: profile.enable())
    signal.signal(signal.SIGUSR2, stop_profile)
    run_supervisor(mesh_file, StateDirectory(path=state), lambda _line: None, lambda _record: (output / READY).touch())
    (output / EVENTS).write_text(json.dumps(clock.events), encoding="utf-8")


if __name__ == "__main__":
    main()
