"""TlsServer: an HTTPS server that says who asked it, and for whom.

async with run_tls_server("api", certificate, clients=authority) as server:
    ... server.port
answer.json == {"server": "api", "server_name": …, "client": …, "host": …, "path": …}
"""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from weakref import WeakKeyDictionary

from tests.support.certificates import Certificate
from tests.support.http_client import UPSTREAM


class TlsServer:
    """Answers every request with what it knows of it. Use through ``run_tls_server``."""

    def __init__(self, name: str, context: ssl.SSLContext, *, kept: bool) -> None:
        self.name = name
        self.kept = kept
        self.port = 0
        self.requests = 0
        """How many requests have come."""
        self.context = context
        self._names: WeakKeyDictionary[ssl.SSLObject, str | None] = WeakKeyDictionary()
        context.sni_callback = self._note_name

    def _note_name(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        self._names[connection] = name

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until the client ends it."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                self.requests += 1
                body = json.dumps(self._describe(head, writer)).encode()
                fields = f"content-type: application/json\r\n{UPSTREAM}: {self.name}\r\ncontent-length: {len(body)}"
                fields += "" if self.kept else "\r\nconnection: close"
                writer.write(f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n".encode() + body)
                await writer.drain()
                if not self.kept:
                    break
        writer.close()

    def _describe(self, head: list[str], writer: asyncio.StreamWriter) -> dict[str, str | None]:
        fields = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
        certificate = writer.get_extra_info("peercert") or {}
        client = {name: value for part in certificate.get("subject", ()) for name, value in part}.get("commonName")
        return {
            "server": self.name,
            "server_name": self._names.get(writer.get_extra_info("ssl_object")),
            "client": client,
            "host": {name.lower(): value for name, value in fields.items()}.get("host"),
            "path": head[0].split()[1],
        }


@asynccontextmanager
async def run_tls_server(
    name: str, certificate: Certificate, *, clients: str = "", host: str = "127.0.0.1", kept: bool = True
) -> AsyncIterator[TlsServer]:
    """Inside, it listens; with ``clients`` (PEM) only to those who show a certificate of these authorities.

    A connection is ``kept`` for further requests, or else is for one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="meshpass-") as directory:
        chain, key = Path(directory) / "chain.pem", Path(directory) / "key.pem"
        chain.write_text(certificate.chain)
        key.touch(mode=0o600)
        key.write_text(certificate.private_key)
        context.load_cert_chain(chain, key)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients)
    server = TlsServer(name, context, kept=kept)
    listening = await asyncio.start_server(server.serve, host, 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
