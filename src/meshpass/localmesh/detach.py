"""Detached supervisor: started in a session of its own; the starter waits until it is ready or says why not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import uvloop

from meshpass.errors import LocalMeshError, MeshpassError
from meshpass.localmesh import guard
from meshpass.localmesh.directory import MeshRecord, StateDirectory
from meshpass.localmesh.logfile import last_lines
from meshpass.localmesh.parse import load_mesh_file
from meshpass.localmesh.supervisor import SupervisorSettings, supervise


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line from the supervisor to its starter: progress, the ready mesh, or an error."""

    announced: str | None = None
    ready: MeshRecord | None = None
    error: str | None = None
    hint: str | None = None


def start_detached(
    mesh_file: Path, state: StateDirectory, announce: Callable[[str], None], *, tied: bool = False
) -> MeshRecord:
    """The mesh is ready, run by a process that goes on when this one ends; ``tied``, on Linux, ends with it.

    Raises LocalMeshError with what the supervisor said when it did not get that far.
    """
    state.prepare()
    bound = tied and sys.platform == "linux"
    guarded = (sys.executable, "-I", "-S", guard.__file__, "exec", str(os.getpid())) if bound else ()
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as said:
        descriptor = os.open(state.supervisor_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            subprocess.Popen(  # noqa: S603 - our own program
                [
                    *guarded,
                    sys.executable,
                    "-m",
                    "meshpass.localmesh.detach",
                    str(mesh_file),
                    str(state.path),
                    str(writer),
                ],
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                pass_fds=(writer,),
            )
        finally:
            os.close(descriptor)
            os.close(writer)
        for line in said:
            message = msgspec.json.decode(line, type=Said)
            if message.announced is not None:
                announce(message.announced)
            if message.ready is not None:
                return message.ready
            if message.error is not None:
                raise LocalMeshError(message.error, hint=message.hint)
    raise LocalMeshError(
        "the supervisor ended before the mesh was ready\n" + last_lines(state.supervisor_log, 10),
        hint=f"its log is {state.supervisor_log}",
    )


def main(arguments: list[str]) -> int:
    """The detached supervisor: mesh file, state directory, and the descriptor to which it says how it gets on."""
    mesh_file, state, writer = Path(arguments[0]), StateDirectory(path=Path(arguments[1])), int(arguments[2])
    os.set_inheritable(writer, False)
    with os.fdopen(writer, "wb") as starter:

        def say(message: Said) -> None:
            if starter.closed:
                _log(message.announced or "")
                return
            starter.write(msgspec.json.encode(message) + b"\n")
            starter.flush()

        def on_ready(record: MeshRecord) -> None:
            say(Said(ready=record))
            starter.close()

        try:
            run_supervisor(mesh_file, state, lambda text: say(Said(announced=text)), on_ready)
        except MeshpassError as error:
            if starter.closed:
                _log(f"error: {error}")
            else:
                say(Said(error=str(error), hint=error.hint))
            return 1
    return 0


def run_supervisor(
    mesh_file: Path, state: StateDirectory, announce: Callable[[str], None], on_ready: Callable[[MeshRecord], None]
) -> None:
    """Runs the mesh of the file in this process until SIGTERM or SIGINT. Raises MeshpassError."""
    settings = SupervisorSettings(
        mesh=load_mesh_file(mesh_file), base_directory=mesh_file.absolute().parent, state=state
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(supervise(settings, announce, on_ready))


def _log(text: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
