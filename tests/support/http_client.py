"""HttpClient: sends requests byte by byte as a test wants them, on connections that are kept; and what was answered.

client = HttpClient()
answer = await client.send(("127.0.0.1", 15001), Request(url="http://www.example.com/get"))
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import unquote_plus, urlsplit

import httptools

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
Place = tuple[str, int]

UPSTREAM = "x-upstream"
"""The response header by which an application of a test is told from a proxy's own answer."""
SHORTEST_LEAK = 20
ANSWER_SECONDS = 10.0

_TOKEN = re.compile(rf"[A-Za-z0-9_.-]{{{SHORTEST_LEAK},}}")
_PLACES_WITHOUT_TOKENS = frozenset({"host", "origin"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request to a URL; ``proxied`` requests name the whole URL in their first line (RFC 9112 §3.2.2)."""

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    proxied: bool = True

    def encode(self) -> bytes:
        """The request as it goes on the wire."""
        parts = urlsplit(self.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"{self.method} {self.url if self.proxied else path} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def tokens(self) -> frozenset[str]:
        """Everything in it that could be a token: long words in headers and in the query."""
        texts = [unquote_plus(urlsplit(self.url).query)]
        texts += [value for name, value in self.headers if name.lower() not in _PLACES_WITHOUT_TOKENS]
        return frozenset(word for text in texts for word in _TOKEN.findall(text))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode("utf-8", errors="replace")

    @cached_property
    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The header's one value; None where it is not there."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def upstream(self) -> str | None:
        """Which application answered; None for an answer of a proxy."""
        return self.header(UPSTREAM)

    def seen(self, name: str) -> list[str]:
        """The values of a request header, line by line, as the application saw them."""
        canonical = "-".join(part.capitalize() for part in name.split("-"))
        return list(self.json["headers"].get(canonical, []))

    @property
    def args(self) -> dict[str, list[str]]:
        """The query parameters that the application saw."""
        found: dict[str, list[str]] = self.json["args"]
        return found


def leaked(tokens: Iterable[str], text: str) -> str | None:
    """A piece of a token that stands in the text; None if there is none."""
    pieces = {text[start : start + SHORTEST_LEAK] for start in range(len(text) - SHORTEST_LEAK + 1)}
    for token in tokens:
        for start in range(len(token) - SHORTEST_LEAK + 1):
            if (piece := token[start : start + SHORTEST_LEAK]) in pieces:
                return piece
    return None


class HttpClient:
    """Keeps its connections. No answer that it returns repeats any part of a token that was sent, but an application's."""

    def __init__(self) -> None:
        self._idle: dict[Place, list[_Connection]] = {}
        self.tokens: set[str] = set()
        """Everything that was sent and could be a token."""
        self.connections = 0
        """How many were opened."""

    async def send(self, place: Place, request: Request) -> Answer:
        """The answer to one request. OSError where nobody listens, TimeoutError where nobody answers."""
        tokens = request.tokens()
        self.tokens |= tokens
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await self._exchange(place, request)
        told = "\n".join(f"{name}: {value}" for name, value in answer.headers)
        if answer.upstream is None:
            told += f"\n{answer.text}"
        found = leaked(tokens, told)
        assert found is None, f"{request.method} {urlsplit(request.url).path}: the answer repeats a token: {told}"
        return answer

    async def _exchange(self, place: Place, request: Request) -> Answer:
        idle = self._idle.setdefault(place, [])
        data = request.encode()
        while True:
            fresh = not idle
            connection = await self._open(place) if fresh else idle.pop()
            try:
                answer = await connection.exchange(data)
            except ConnectionError:
                connection.close()
                if fresh:
                    raise
                continue  # the server closed it while it was idle
            except BaseException:
                connection.close()
                raise
            if connection.is_reusable:
                idle.append(connection)
            else:
                connection.close()
            return answer

    async def _open(self, place: Place) -> _Connection:
        self.connections += 1
        return _Connection(*await asyncio.open_connection(*place))

    def close(self) -> None:
        """Close all connections."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()


class _Connection:
    """One connection, and the parser's callbacks for the answer that is being read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._parser = httptools.HttpResponseParser(self)
        self.is_reusable = False
        self._start()

    def _start(self) -> None:
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._complete = False
        self.is_reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        self._complete = True
        self.is_reusable = self._parser.should_keep_alive()  # said of the message that is being read

    async def exchange(self, data: bytes) -> Answer:
        self._start()
        parser = self._parser = httptools.HttpResponseParser(self)
        self._writer.write(data)
        await self._writer.drain()
        while not self._complete:
            received = await self._reader.read(65536)
            if not received:
                raise ConnectionResetError("closed before the answer was complete")
            parser.feed_data(received)
        return Answer(status=parser.get_status_code(), headers=tuple(self._headers), body=b"".join(self._body))

    def close(self) -> None:
        with suppress(OSError, RuntimeError):
            self._writer.close()
