"""The two directions of one connection: `tell` publishes to the peer, `listen` follows what the peer publishes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import grpc.aio

from meshpass.errors import XdsProtocolError
from meshpass.relay.bell import Bell
from meshpass.relay.follower import Delivery, Follower
from meshpass.relay.message import read_request, read_response, write_request
from meshpass.relay.publisher import Publisher
from meshpass.relay.resource import Target
from meshpass.xds.event import Send
from meshpass.xds.wire import serialise_response

SERVICE = "meshpass.relay.v1.Relay"
RECEIVE = "Receive"
"""The agent asks, the management server tells."""
REPORT = "Report"
"""The management server asks, the agent tells."""
SIGN = "Sign"

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""A first request names all that is held of a type: about 80 bytes for each."""
MAX_QUEUED_RESPONSES = 64
"""The peer's next request is read when fewer responses than these wait for it to read them."""
ANSWER_SECONDS = 60.0
"""A peer that has been told something and says nothing for so long gets another connection."""

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A cut that nobody is told of is noticed within the sum of the first two; the third would be a minute.
    ("grpc.keepalive_time_ms", 3_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
)


class Duplex(Protocol):
    """A stream of messages each way: a call of gRPC as either of its ends has it, without serialisers."""

    async def read(self) -> Any:
        """The next message; ``grpc.aio.EOF`` after the last."""

    async def write(self, message: bytes) -> None:
        """Returns once the peer's window had room for it."""


async def tell(duplex: Duplex, bell: Bell, target: Callable[[], Target | None]) -> None:
    """Publish ``target`` as it is now and after every ring of the bell; None is nothing yet. Returns when the peer ends.

    Raises XdsProtocolError for a peer that breaks the protocol, or does not answer.
    """
    teller = _Teller(duplex, bell, target)
    async with asyncio.TaskGroup() as tasks:
        others = [tasks.create_task(one) for one in (teller.follow(), teller.write(), teller.expect_answers())]
        await teller.read()
        for task in others:
            task.cancel()


async def listen(duplex: Duplex, follower: Follower, apply: Callable[[Delivery], None]) -> None:
    """Follow what the peer publishes, and apply its batches as they are whole. Returns when the peer ends.

    Raises XdsProtocolError for a peer that breaks the protocol, and DivergedError.
    """
    for request in follower.start():
        await duplex.write(write_request(request))
    while True:
        message = await duplex.read()
        if message is grpc.aio.EOF:
            return
        answer, delivery = follower.receive(read_response(message))
        if delivery is not None:
            apply(delivery)
        await duplex.write(write_request(answer))


class _Teller:
    def __init__(self, duplex: Duplex, bell: Bell, target: Callable[[], Target | None]) -> None:
        self._duplex = duplex
        self._bell = bell
        self._target = target
        self._publisher = Publisher()
        self._outbox: asyncio.Queue[Send] = asyncio.Queue()
        self._due = True
        self._heard = 0

    async def read(self) -> None:
        while True:
            if self._outbox.qsize() >= MAX_QUEUED_RESPONSES:
                await self._outbox.join()
            message = await self._duplex.read()
            if message is grpc.aio.EOF:
                return
            self._heard += 1
            self._send(self._publisher.receive(read_request(message)))
            self._retarget()

    async def write(self) -> NoReturn:
        while True:
            send = await self._outbox.get()
            await self._duplex.write(serialise_response(send))
            self._outbox.task_done()

    async def follow(self) -> NoReturn:
        seen = self._bell.revision
        while True:
            self._retarget()
            seen = await self._bell.wait_changed(seen)
            self._due = True

    async def expect_answers(self) -> NoReturn:
        while True:
            heard, busy = self._heard, self._publisher.busy
            await asyncio.sleep(ANSWER_SECONDS)
            if busy and self._heard == heard:
                raise XdsProtocolError(f"no answer for {ANSWER_SECONDS:.0f} seconds")

    def _retarget(self) -> None:
        # While something is on its way nothing is worked out: the next target is that of the moment of the answer.
        if self._due and not self._publisher.busy:
            target = self._target()
            if target is not None:
                self._due = False
                self._send(self._publisher.retarget(target))

    def _send(self, sends: tuple[Send, ...]) -> None:
        for send in sends:
            self._outbox.put_nowait(send)
