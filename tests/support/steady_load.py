"""SteadyLoad: clients that send at a steady pace from a thread of their own, and keep what was not answered as expected.

with SteadyLoad([Call("open", address, request, expected=frozenset({200})), …]) as load:
    ...  # break things
assert load.unexpected == []
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httptools

PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that is sent again and again over one keep-alive connection."""

    name: str
    address: tuple[str, int]
    request: bytes
    expected: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unexpected:
    """What came instead of what was expected."""

    name: str
    at: float
    """Seconds after the load began."""
    status: int
    """0 where no answer came."""
    words: str


class SteadyLoad:
    """Inside the context, every call is sent about every 20 ms; a connection that is lost is opened again."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = tuple(calls)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._started = 0.0
        self.answers: Counter[tuple[str, int]] = Counter()
        """(call, status) → how often it was answered so."""
        self.unexpected: list[Unexpected] = []

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    @property
    def total(self) -> int:
        """How many answers came."""
        return sum(self.answers.values())

    def wait_answers(self, more: int) -> None:
        """Returns after so many further answers."""
        wanted, deadline = self.total + more, time.monotonic() + 30
        while self.total < wanted:
            assert time.monotonic() < deadline, "the load has come to a halt"
            time.sleep(0.01)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for call in self._calls:
                tasks.create_task(self._send(call))

    async def _send(self, call: Call) -> None:
        connection: _Connection | None = None
        while not self._stop.is_set():
            try:
                async with asyncio.timeout(10):
                    connection = connection or await _Connection.open(call.address)
                    status, body, keep = await connection.ask(call.request)
            except (OSError, TimeoutError, EOFError, httptools.HttpParserError) as error:
                self._note(call, 0, repr(error))
                connection = None
            else:
                self.answers[call.name, status] += 1
                if status not in call.expected:
                    self._note(call, status, body[:200].decode(errors="replace"))
                if not keep:
                    connection = None
            await asyncio.sleep(PAUSE_SECONDS)

    def _note(self, call: Call, status: int, words: str) -> None:
        at = round(time.monotonic() - self._started, 3)
        self.unexpected.append(Unexpected(name=call.name, at=at, status=status, words=words))


class _Connection:
    """One connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: tuple[str, int]) -> Self:
        return cls(*await asyncio.open_connection(*address))

    async def ask(self, request: bytes) -> tuple[int, bytes, bool]:
        answer = _Answer()
        parser = httptools.HttpResponseParser(answer)
        self._writer.write(request)
        while not answer.complete:
            data = await self._reader.read(64 * 1024)
            if not data:
                raise EOFError("the connection was closed")
            parser.feed_data(data)
        return parser.get_status_code(), b"".join(answer.body), parser.should_keep_alive()


class _Answer:
    def __init__(self) -> None:
        self.body: list[bytes] = []
        self.complete = False

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        self.complete = True
