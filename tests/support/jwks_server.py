"""A key server that tests control: it says, byte by byte, whatever a test wants, and counts what it was asked."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request."""

    target: str
    headers: Mapping[str, str]
    """Names in lower case."""


Behaviour = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]
"""Writes the answer; the connection is closed afterwards."""


@dataclass(kw_only=True)
class JwksServer:
    """Listens on 127.0.0.1, always on the same port, between `start` and `stop`."""

    behaviour: Behaviour
    tls: ssl.SSLContext | None = None
    requests: list[Received] = field(default_factory=list)
    open_at_once: int = 0
    """The most requests that were ever answered at the same time."""
    port: int = 0
    _open: int = 0
    _server: asyncio.Server | None = None
    _connections: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        """The address of the key set."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/keys"

    @property
    def count(self) -> int:
        """Requests so far."""
        return len(self.requests)

    async def start(self) -> None:
        """Connections are accepted."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Connections are refused, and those that there were are broken."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._connections):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        self._open += 1
        self.open_at_once = max(self.open_at_once, self._open)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *lines = head.rstrip().split("\r\n")
                pairs = (one.partition(":") for one in lines)
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                received = Received(target=line.split(" ")[1], headers=headers)
                self.requests.append(received)
                await self.behaviour(received, writer)
                await writer.drain()
        finally:
            self._open -= 1
            self._connections.discard(writer)
            writer.close()


@asynccontextmanager
async def running_server(behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[JwksServer]:
    """Inside, the server runs."""
    server = JwksServer(behaviour=behaviour, tls=tls)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def reply(body: bytes, status: int = 200, **headers: str) -> Behaviour:
    """A whole answer; ``_`` in names of headers is ``-``."""

    async def behave(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer_bytes(body, status, headers))

    return behave


def serve(*keys: Mapping[str, Any], **headers: str) -> Behaviour:
    """A key set, with an ETag that is honoured where one is given."""
    body = key_set(*keys)

    async def behave(received: Received, writer: asyncio.StreamWriter) -> None:
        unchanged = "etag" in headers and received.headers.get("if-none-match") == headers["etag"]
        writer.write(answer_bytes(b"", 304, headers) if unchanged else answer_bytes(body, 200, headers))

    return behave


def redirect(location: str, status: int = 302) -> Behaviour:
    """A redirect, always the same."""
    return reply(b"", status, location=location)


def moved(target: str, behaviour: Behaviour) -> Behaviour:
    """A redirect to ``target``, where the behaviour is found."""

    async def behave(received: Received, writer: asyncio.StreamWriter) -> None:
        await (behaviour if received.target == target else redirect(target))(received, writer)

    return behave


async def hang(_: Received, writer: asyncio.StreamWriter) -> None:
    """Nothing, until the client goes."""
    await writer.wait_closed()


async def reset(_: Received, writer: asyncio.StreamWriter) -> None:
    """RST in the middle of the answer."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n{")
    await writer.drain()
    opened: socket.socket = writer.get_extra_info("socket")
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def endless(_: Received, writer: asyncio.StreamWriter) -> None:
    """A body without an end, as fast as it is read."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" " * 65536)
        await writer.drain()


async def drip(_: Received, writer: asyncio.StreamWriter) -> None:
    """A body that always goes on, and never gets anywhere."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


def oversize() -> Behaviour:
    """A good key set, and blanks, together one byte too long."""
    body = key_set(EC_KEY)
    return reply(body + b" " * (MEBIBYTE + 1 - len(body)))


def bomb() -> Behaviour:
    """200 MiB of blanks in 200 kB."""
    return reply(gzip.compress(b" " * (200 * MEBIBYTE), 9), content_encoding="gzip")


def answer_bytes(body: bytes, status: int, headers: Mapping[str, str]) -> bytes:
    """An answer as it is sent."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close", **given}
    return b"\r\n".join(
        [f"HTTP/1.1 {status} Word".encode(), *(f"{n}: {v}".encode("latin-1") for n, v in lines.items()), b"", body]
    )


def key_set(*keys: Mapping[str, Any]) -> bytes:
    """A JWKS."""
    return json.dumps({"keys": keys}).encode()


def _public(key: ECKey | OKPKey | RSAKey, **labels: str) -> dict[str, Any]:
    return {**key.as_dict(private=False), **labels}


_PRIVATE = ECKey.generate_key("P-256", private=True)
EC_KEY = _public(_PRIVATE, kid="one", alg="ES256")
OTHER_KEY = _public(ECKey.generate_key("P-256", private=True), kid="two", alg="ES256")
EDDSA_KEY = _public(OKPKey.generate_key("Ed25519", private=True), kid="ed", alg="EdDSA")
with warnings.catch_warnings(action="ignore"):
    WEAK_KEY = _public(RSAKey.generate_key(1024, private=True), kid="weak", alg="RS256")
PRIVATE_KEY = {**_PRIVATE.as_dict(private=True), "kid": "leaked"}
SHARED_KEY = {**OctKey.generate_key(256).as_dict(private=True), "kid": "shared", "alg": "HS256"}
ENCRYPTION_KEY = {**OTHER_KEY, "kid": "enc", "use": "enc", "alg": "ECDH-ES"}
UNKNOWN_KEY = {"kty": "AKP", "kid": "later", "alg": "ML-DSA-44", "pub": "AA"}
