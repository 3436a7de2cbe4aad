"""Control: asks a running control plane, over its Unix socket, how it is."""

from __future__ import annotations

import http.client
import socket
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


def read_raw_status(path: Path, *, timeout: float = 5.0) -> Any:
    """The control plane's status as JSON. Raises LocalMeshError where it does not answer within ``timeout`` seconds."""
    code, body = _request(path, "GET", "/v1/status", timeout)
    if code != 200:
        raise LocalMeshError(f"the control plane answered {code} to a question about its status")
    return msgspec.json.decode(body)


def read_status(path: Path, *, timeout: float = 5.0) -> ControlStatus:
    """The control plane's status. Raises LocalMeshError where it does not answer within ``timeout`` seconds."""
    return msgspec.convert(read_raw_status(path, timeout=timeout), ControlStatus)


def read_check(path: Path, *, timeout: float = 5.0) -> Any:
    """All that the control plane knows of the health of the mesh. Raises LocalMeshError where it does not answer."""
    code, body = _request(path, "GET", "/v1/check", timeout)
    if code != 200:
        raise LocalMeshError(f"the control plane answered {code} to a question about its health")
    return msgspec.json.decode(body)


def wait_in_sync(path: Path, *, timeout: float) -> tuple[str, ...]:
    """Waits until every proxy has acknowledged what was made from all that was stored before the call.

    Returns the nodes that had not done so after ``timeout`` seconds: none, usually. Raises LocalMeshError where the
    control plane does not answer.
    """
    code, body = _request(path, "POST", f"/v1/wait?timeout={timeout:g}", timeout + _SLACK)
    if code not in {200, 504}:
        raise LocalMeshError(f"the control plane answered {code}: {body[:200].decode(errors='replace')}")
    return msgspec.json.decode(body, type=_Late).late


def _request(path: Path, method: str, target: str, timeout: float) -> tuple[int, bytes]:
    connection = _UnixConnection(path, timeout)
    try:
        connection.request(method, target)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise LocalMeshError(
            f"the control plane does not answer: {error}", hint="`meshpass status`, or the logs in its directory"
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
