"""Detached supervisor: started in a session of its own; the starter waits until it is ready or says why not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from meshpass.errors import LocalMeshError
from meshpass.localmesh import guard
from meshpass.localmesh.announcement import Announce, Announcement
from meshpass.localmesh.directory import MeshRecord, StateDirectory
from meshpass.localmesh.existing import ExistingServers
from meshpass.localmesh.logfile import last_lines


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line from the supervisor to its starter: progress, the ready mesh, or an error."""

    announced: Announcement | None = None
    ready: MeshRecord | None = None
    error: str | None = None
    hint: str | None = None


class RunnerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a mesh is told beside its file and its directory."""

    feature_gates: str = ""
    apps: tuple[str, ...] | None = None
    """Only these sample apps of the mesh file; None for all of them."""
    servers: ExistingServers | None = None
    """The API servers to run on; None: those that come with the mesh."""
    clusters: int | None = None
    """Only the management cluster and so many workload clusters of the mesh file; None for all of them."""


def start_detached(
    mesh_file: Path,
    state: StateDirectory,
    announce: Announce,
    options: RunnerOptions | None = None,
    *,
    tied: bool = False,
) -> MeshRecord:
    """The mesh is ready, run by a process that goes on when this one ends; ``tied``, on Linux, ends with it.

    Raises LocalMeshError with what the supervisor said when it did not get that far.
    """
    state.prepare()
    if state.is_held():
        # The supervisor would say the same, a second later: importing all of it takes that long.
        raise state.already_running()
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as said:
        process = _start(mesh_file, state, writer, options or RunnerOptions(), tied=tied)
        try:
            return _wait_ready(said, state, announce)
        except BaseException:
            # Whoever stops waiting, at Ctrl-C say, wants no mesh; and one that failed is ending by itself.
            process.terminate()
            process.wait()
            raise


def _start(
    mesh_file: Path, state: StateDirectory, writer: int, options: RunnerOptions, *, tied: bool
) -> subprocess.Popen[bytes]:
    bound = tied and sys.platform == "linux"
    guarded = (sys.executable, "-I", "-S", guard.__file__, "exec", str(os.getpid())) if bound else ()
    arguments = (str(mesh_file), str(state.path), str(writer), msgspec.json.encode(options).decode())
    runner = (sys.executable, "-m", "meshpass.localmesh.runner", *arguments)
    log = os.open(state.supervisor_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603 - our own program
            (*guarded, *runner),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(writer,),
        )
    finally:
        os.close(log)
        os.close(writer)


def _wait_ready(said: BinaryIO, state: StateDirectory, announce: Announce) -> MeshRecord:
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
