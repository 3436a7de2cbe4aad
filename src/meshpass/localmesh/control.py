"""Control: asks one process of a running control plane, over its Unix socket, how it is."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from meshpass.errors import LocalMeshError

_SLACK = 5.0


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """Envoy's words about a resource that it refused."""

    message: str


class ProxyStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One proxy as the control plane sees it."""

    node: str
    connected: bool
    in_sync: bool
    rejections: tuple[Rejection, ...] = ()


class ControlStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the control plane says of itself."""

    synced: bool
    proxies: tuple[ProxyStatus, ...] = ()


class _Late(msgspec.Struct, frozen=True, kw_only=True):
    late: tuple[str, ...]


class _Revisions(msgspec.Struct, frozen=True, kw_only=True):
    revisions: dict[str, str]


def read_raw_status(path: Path, *, timeout: float = 5.0) -> Any:
    """The control plane's status as JSON. Raises LocalMeshError where it does not answer within ``timeout`` seconds."""
    return ask_json(path, "GET", "/v1/status", timeout=timeout)


def read_status(path: Path, *, timeout: float = 5.0) -> ControlStatus:
    """The control plane's status. Raises LocalMeshError where it does not answer within ``timeout`` seconds."""
    return msgspec.convert(read_raw_status(path, timeout=timeout), ControlStatus)


def read_check(path: Path, *, timeout: float = 5.0, who: str = "the control plane") -> Any:
    """All that the control plane knows of the health of the mesh. Raises LocalMeshError where it does not answer.

    ``who`` is what the message then says has not answered.
    """
    return ask_json(path, "GET", "/v1/check", timeout=timeout, who=who)


def observe(path: Path, *, timeout: float) -> Mapping[str, str]:
    """Cluster → label of its objects, once the process has seen all that its API servers stored before the call.

    Raises LocalMeshError where it does not answer within ``timeout`` seconds.
    """
    code, body = ask(path, "POST", f"/v1/observe?timeout={timeout:g}", timeout=timeout + _SLACK)
    if code != 200:
        raise _answered(code, body)
    return msgspec.json.decode(body, type=_Revisions).revisions


def wait_in_sync(path: Path, *, timeout: float, revisions: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Waits until every proxy has acknowledged what was made from all that was stored before the call.

    With ``revisions``, as `observe` gives them, also from the objects of other clusters that these stand for.
    Returns the nodes that had not done so after ``timeout`` seconds: none, usually. Raises LocalMeshError where the
    control plane does not answer.
    """
    body = None if revisions is None else msgspec.json.encode({"revisions": dict(revisions)})
    code, answer = ask(path, "POST", f"/v1/wait?timeout={timeout:g}", body=body, timeout=timeout + _SLACK)
    if code not in {200, 504}:
        raise _answered(code, answer)
    return msgspec.json.decode(answer, type=_Late).late


def ask_json(path: Path, method: str, target: str, *, timeout: float, who: str = "the control plane") -> Any:
    """The process's answer. Raises LocalMeshError where none comes within ``timeout`` seconds, or one of failure."""
    code, body = ask(path, method, target, timeout=timeout, who=who)
    if code != 200:
        raise _answered(code, body, who)
    return msgspec.json.decode(body)


def _answered(code: int, body: bytes, who: str = "the control plane") -> LocalMeshError:
    return LocalMeshError(f"{who} answered {code}: {body[:200].decode(errors='replace')}")


def ask(
    path: Path,
    method: str,
    target: str,
    *,
    body: bytes | None = None,
    timeout: float,
    who: str = "the control plane",
) -> tuple[int, bytes]:
    """Code and body of the answer to a request. Raises LocalMeshError where none comes within ``timeout`` seconds."""
    connection = _UnixConnection(path, timeout)
    try:
        connection.request(method, target, body)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise LocalMeshError(
            f"{who} does not answer: {error}", hint="`meshpass status`, or the logs in its directory"
        ) from error
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("meshpass", timeout=timeout)
        self._path = path
        self._timeout = timeout

    def connect(self) -> None:
        """The socket is connected."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout)
        self.sock.connect(str(self._path))
