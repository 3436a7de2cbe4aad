"""SupervisorClient: asks a running supervisor to stop and start parts of its mesh."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import msgspec

from meshpass.errors import LocalMeshError
from meshpass.localmesh.control import ask
from meshpass.localmesh.directory import MeshRecord, supervisor_socket
from meshpass.localmesh.switchboard import PartRecord

_SECONDS = 30.0


class Switched(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a part."""

    part: PartRecord
    changed: bool
    """False where it was as asked already."""


class _Parts(msgspec.Struct, frozen=True, kw_only=True):
    parts: tuple[PartRecord, ...]


class _Failure(msgspec.Struct, frozen=True, kw_only=True):
    message: str
    hint: str = ""


def read_parts(record: MeshRecord) -> tuple[PartRecord, ...]:
    """How all parts of the mesh are. Raises LocalMeshError where the supervisor does not answer."""
    return msgspec.json.decode(_ask(record, "GET", "/v1/parts"), type=_Parts).parts


def stop_part(record: MeshRecord, name: str) -> Switched:
    """The part is stopped, until it is started or the mesh is. Raises LocalMeshError."""
    return msgspec.json.decode(_ask(record, "POST", f"/v1/stop?name={quote(name)}"), type=Switched)


def start_part(record: MeshRecord, name: str) -> Switched:
    """The part runs. Raises LocalMeshError."""
    return msgspec.json.decode(_ask(record, "POST", f"/v1/start?name={quote(name)}"), type=Switched)


def _ask(record: MeshRecord, method: str, target: str) -> bytes:
    path = supervisor_socket(Path(record.run_directory))
    code, body = ask(path, method, target, timeout=_SECONDS, who="the supervisor")
    if code != 200:
        failure = msgspec.json.decode(body, type=_Failure)
        raise LocalMeshError(failure.message, hint=failure.hint or None)
    return body
