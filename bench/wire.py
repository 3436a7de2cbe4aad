"""Keep-alive HTTP/1.1 over one socket: as little client as can be, so that what is measured is the other side."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

RECEIVE_BYTES = 65536


class WireError(Exception):
    """The other side closed the connection, or answered what is no HTTP/1.1 with a length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One response."""

    status: int
    head: bytes
    body: bytes

    @property
    def closes(self) -> bool:
        """True where the other side says that it will close the connection."""
        return b"\r\nconnection: close" in self.head.lower()


class Connection:
    """One connection that is never opened again by itself: that it lives on is part of what is measured."""

    def __init__(self, address: tuple[str, int], *, tls: ssl.SSLContext | None = None) -> None:
        raw = socket.create_connection(address, timeout=20)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = raw if tls is None else tls.wrap_socket(raw, server_hostname="localhost")
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, request: bytes) -> None:
        self._socket.sendall(request)

    def receive(self) -> Answer:
        """The next response, as soon as all of it is there. Raises WireError."""
        data, self._rest = self._rest, b""
        while (size := response_size(data)) is None:
            data += self._more()
        while len(data) < size:
            data += self._more()
        answer, self._rest = data[:size], data[size:]
        head, _, body = answer.partition(b"\r\n\r\n")
        return Answer(status=int(head[9:12]), head=head, body=body)

    def ask(self, request: bytes) -> Answer:
        self.send(request)
        return self.receive()

    def has_input(self) -> bool:
        """True where a part of a response has come; costs one system call and never waits."""
        self._socket.setblocking(False)
        try:
            self._rest += self._socket.recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        finally:
            self._socket.settimeout(20)
        return True

    def _more(self) -> bytes:
        data = self._socket.recv(RECEIVE_BYTES)
        if not data:
            raise WireError("the connection was closed")
        return data


def response_size(data: bytes) -> int | None:
    """Bytes of the first response in ``data``, head and body; None while the head is not complete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[: end + 2].lower()
    start = head.find(b"\r\ncontent-length:")
    if start < 0:
        raise WireError(f"a response without a length: {data[:200]!r}")
    return end + 4 + int(head[start + 17 : head.find(b"\r\n", start + 2)])


def render_request(host: str, path: str, *, token: str | None = None) -> bytes:
    """A GET as a client of the mesh sends it; the token is in the place of RFC 6750 §2.1."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n".encode()


def monotonic_ms() -> float:
    """Milliseconds of the clock that all processes of the machine share."""
    return time.monotonic_ns() / 1e6
