"""Load: keep-alive clients that send continually while a test edits what holds, and remember what held meanwhile.

    timeline = Timeline()
    async with Load(("127.0.0.1", 15001), timeline, requests, clients=8, seed=1) as load:
        ...  # timeline.begin(); edit; timeline.acknowledge()
    for exchange in load.exchanges: ...

States are counted: 0 is what held at the beginning, and each edit begins the next one. An exchange knows the first and
the last state that may have answered it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import httptools


class Timeline:
    """Which states have begun, and which the proxy has acknowledged."""

    def __init__(self) -> None:
        self.begun = 0
        """The newest state that may answer."""
        self.acknowledged = 0
        """The newest state that the proxy has said to have."""

    def begin(self) -> None:
        """The next state may answer from now on."""
        self.begun += 1

    def acknowledge(self) -> None:
        """The proxy has acknowledged the newest state."""
        self.acknowledged = self.begun


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, by its place among the requests of the load, and what was answered."""

    request: int
    first: int
    last: int
    """States ``first`` to ``last`` may have answered."""
    status: int
    upstream: bool
    """True for an answer of the application."""
    body: bytes


class Load:
    """Sends as fast as answers come, from when the context is entered until it is left."""

    def __init__(
        self, place: tuple[str, int], timeline: Timeline, requests: Sequence[bytes], *, clients: int, seed: int
    ) -> None:
        self.timeline = timeline
        self.requests = tuple(requests)
        self.exchanges: list[Exchange] = []
        self.closed = 0
        """Connections that the proxy has closed, or said that it would."""
        self._place = place
        self._clients = [_Client(self, random.Random(f"{seed}/{number}")) for number in range(clients)]
        self._stopping = False

    @property
    def stopping(self) -> bool:
        """True when no client is to send another request."""
        return self._stopping

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for client in self._clients:
            await loop.create_connection(lambda client=client: client, *self._place)  # type: ignore[misc]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        async with asyncio.timeout(10):
            for client in self._clients:
                await client.ended.wait()
                client.close()

    async def settle(self) -> None:
        """Every client has the answer to a request that it sent after the call, or its connection is gone."""
        counts = [client.sent for client in self._clients]
        async with asyncio.timeout(10):
            for client, count in zip(self._clients, counts, strict=True):
                while client.answered <= count and not client.ended.is_set():
                    await client.wait_answer()


class _Client(asyncio.Protocol):
    """One connection. Its exchanges are with the one worker of the proxy that has it.

    A worker takes a change over only some time after the proxy has acknowledged it, but before it has answered a
    request that was sent after that: then the states before are out of question.
    """

    def __init__(self, load: Load, chosen: random.Random) -> None:
        self._load = load
        self._random = chosen
        self._settled = 0
        self._request = 0
        self._acknowledged = 0
        self._first = 0
        self._transport: asyncio.Transport | None = None
        self._answer = asyncio.Event()
        self.ended = asyncio.Event()
        self.sent = 0
        self.answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.ended.is_set():
            self._load.closed += 1
            self.ended.set()
        self._tell()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-upstream":
            self._upstream = True

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        timeline = self._load.timeline
        self._load.exchanges.append(
            Exchange(
                self._request,
                self._first,
                timeline.begun,
                self._parser.get_status_code(),
                self._upstream,
                b"".join(self._body),
            )
        )
        self._settled = self._acknowledged
        self.answered += 1
        self._tell()
        if not self._parser.should_keep_alive():
            self._load.closed += 1
            self.ended.set()
        elif self._load.stopping:
            self.ended.set()
        else:
            self._send()

    async def wait_answer(self) -> None:
        """Returns after the next answer, or the end of the connection."""
        await self._answer.wait()

    def close(self) -> None:
        """The connection is closed."""
        if self._transport is not None:
            self._transport.close()

    def _send(self) -> None:
        assert self._transport is not None
        self._request = self._random.randrange(len(self._load.requests))
        self._acknowledged = self._load.timeline.acknowledged
        self._first = self._settled
        self._upstream = False
        self._body: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        self.sent += 1
        self._transport.write(self._load.requests[self._request])

    def _tell(self) -> None:
        self._answer.set()
        self._answer = asyncio.Event()
