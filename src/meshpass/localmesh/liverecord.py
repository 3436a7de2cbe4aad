"""LiveRecord: ``mesh.json`` of a running mesh, as it is at any time."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from meshpass.localmesh.controlprocess import ControlProcess
from meshpass.localmesh.directory import MeshRecord, StateDirectory
from meshpass.localmesh.process import ChildProcess

logger = logging.getLogger(__name__)


class LiveRecord:
    """Writes the record whenever a process of the control plane starts or ends."""

    def __init__(
        self,
        state: StateDirectory,
        record: MeshRecord,
        processes: tuple[ControlProcess, ...],
        children: Mapping[Path, ChildProcess],
    ) -> None:
        """``children`` are the processes by their control sockets; what is none of them is this process."""
        self._state = state
        self._processes = processes
        self._children = children
        self.record = record
        for child in children.values():
            child.add_listener(self._note_change)
        self._write()

    def set_ready(self) -> None:
        """The mesh is ready."""
        self.record = msgspec.structs.replace(self.record, ready=True)
        self._write()

    def _note_change(self) -> None:
        """The record is written anew. A disk that does not take it must not end the mesh: it is then as it was."""
        try:
            self._write()
        except OSError as error:
            logger.warning("mesh.json is not up to date", extra={"error": error.strerror})

    def _write(self) -> None:
        processes = tuple(one.record(self._pid(one)) for one in self._processes)
        self.record = msgspec.structs.replace(self.record, processes=processes)
        self._state.write_record(self.record)

    def _pid(self, one: ControlProcess) -> int | None:
        child = self._children.get(one.control_socket)
        return os.getpid() if child is None else child.pid
