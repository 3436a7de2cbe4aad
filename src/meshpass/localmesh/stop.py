"""Stopping a mesh from outside."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from meshpass.errors import LocalMeshError
from meshpass.localmesh.directory import StateDirectory

_GRACE = 10.0
_EXIT_GRACE = 2.0
"""From the lock's release, when everything is stopped, to the end of the process."""
_LOOK_AGAIN = 0.02


def stop_mesh(state: StateDirectory) -> bool:
    """No mesh runs on this directory any more; True where one did.

    The supervisor gets SIGTERM, after 10 s SIGKILL; its children end with it either way. Its pid is believed only
    while the lock is held, so no other process that got the same number is hurt.
    """
    if not state.is_held():
        return False
    record = state.read_record()
    if record is None:
        raise LocalMeshError(f"a mesh is just starting on {state.path}", hint="try again in a second")
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(record.pid, number)
        deadline = time.monotonic() + _GRACE
        while time.monotonic() < deadline:
            if not state.is_held():
                _wait_gone(record.pid)
                return True
            time.sleep(_LOOK_AGAIN)
    raise LocalMeshError(f"the supervisor of {state.path} (pid {record.pid}) does not end")


def _wait_gone(pid: int) -> None:
    deadline = time.monotonic() + _EXIT_GRACE
    while time.monotonic() < deadline:
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return
        except ChildProcessError:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
        time.sleep(_LOOK_AGAIN)
