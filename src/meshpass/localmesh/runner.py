"""Runner: the process around a supervisor, in the foreground or detached."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import uvloop

from meshpass.errors import MeshpassError
from meshpass.localmesh.announcement import Announce
from meshpass.localmesh.detach import RunnerOptions, Said
from meshpass.localmesh.directory import MeshRecord, StateDirectory
from meshpass.localmesh.existing import keep_served
from meshpass.localmesh.parse import load_mesh_file
from meshpass.localmesh.selection import select


def main(arguments: list[str]) -> int:
    """The detached supervisor: mesh file, state directory, the descriptor to which it says how it gets on, options."""
    mesh_file, state, writer = Path(arguments[0]), StateDirectory(path=Path(arguments[1])), int(arguments[2])
    os.set_inheritable(writer, False)
    with os.fdopen(writer, "wb") as starter:

        def say(message: Said) -> None:
            if starter.closed:
                _log(message.announced.text if message.announced else "")
                return
            starter.write(msgspec.json.encode(message) + b"\n")
            starter.flush()

        def on_ready(record: MeshRecord) -> None:
            say(Said(ready=record))
            starter.close()

        try:
            options = msgspec.json.decode(arguments[3], type=RunnerOptions)
            run_supervisor(mesh_file, state, lambda told: say(Said(announced=told)), on_ready, options)
        except MeshpassError as error:
            if starter.closed:
                _log(f"error: {error}")
            else:
                say(Said(error=str(error), hint=error.hint))
            return 1
    return 0


def run_supervisor(
    mesh_file: Path,
    state: StateDirectory,
    announce: Announce,
    on_ready: Callable[[MeshRecord], None],
    options: RunnerOptions | None = None,
) -> None:
    """Runs the mesh of the file in this process until SIGTERM or SIGINT. Raises MeshpassError."""
    # Read when gRPC is imported, so before anything that does. Children of ours exec at once and use no gRPC; its
    # fork handlers would only complain in the log.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    from meshpass.localmesh.supervisor import SupervisorSettings, supervise
    from meshpass.logformat import log_to_stderr
    from meshpass.translate.settings import parse_feature_gates

    options = options or RunnerOptions()
    mesh = select(load_mesh_file(mesh_file), clusters=options.clusters, apps=options.apps)
    settings = SupervisorSettings(
        mesh=mesh if options.servers is None else keep_served(mesh, options.servers.contexts),
        base_directory=mesh_file.absolute().parent,
        state=state,
        gates=parse_feature_gates(options.feature_gates),
        servers=options.servers,
    )
    # Detached, standard error is the supervisor's log; in the foreground it is where people read.
    log_to_stderr(logging.WARNING if sys.stderr.isatty() else logging.INFO)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(supervise(settings, announce, on_ready))


def _log(text: str) -> None:
    with suppress(OSError):  # a full disk is no reason to end the mesh
        sys.stderr.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {text}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
