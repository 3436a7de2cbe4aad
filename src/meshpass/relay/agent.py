"""RelayAgent: the agent's end of the relay. One connection that it opens, and opens again whenever it is lost."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc
import grpc.aio

from meshpass.errors import MeshpassError
from meshpass.identity.relay import RelayCredentials
from meshpass.kube.store import ObjectStore
from meshpass.relay.backoff import FullJitter
from meshpass.relay.bell import Bell
from meshpass.relay.facts import Facts
from meshpass.relay.follower import Delivery, DivergedError, Follower
from meshpass.relay.inbox import Inbox
from meshpass.relay.link import OPTIONS, RECEIVE, REPORT, SERVICE, SIGN, listen, tell
from meshpass.relay.resource import Target
from meshpass.relay.settings import RelayAgentSettings
from meshpass.relay.shelf import Shelf
from meshpass.relay.signing import SignPurpose, SignRequest, encode_sign_request
from meshpass.relay.tls import Pem
from meshpass.xds.remote import RemoteStates

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
SIGN_SECONDS = 10.0
_LOST = "the connection was lost"
_REFUSALS = frozenset({grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED})


class RelayError(MeshpassError):
    """The management server cannot be asked, or has refused."""


class RelayAgent:
    """Keeps the store equal to what the management server tells, and tells it what the own cluster has.

    While there is no connection everything stays as it was. The next try comes after a random part of a delay that
    doubles from 0.1 s to 30 s, and goes on from what is held: what is told then is what changed meanwhile.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        settings: RelayAgentSettings,
        credentials: RelayCredentials,
        own: RemoteStates,
        remote: RemoteStates,
        facts: Facts,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``own`` are the proxies served by this process; ``remote`` is filled with those of the others."""
        self._store = store
        self._settings = settings
        self._credentials = credentials
        self._facts = facts
        self._clock = clock
        self._sleep = sleep
        self._backoff = FullJitter(jitter)
        self._shelf = Shelf(store, own, remote, facts, management_cluster=settings.management_cluster)
        self._bell = Bell(store, (own,), facts)
        teller, cluster = settings.management_cluster, settings.cluster
        self._inbox = Inbox(store, remote, facts, teller=teller, but=cluster)
        self._channel: grpc.aio.Channel | None = None
        self._diverged = False
        self._connected = False
        self._since: float | None = None
        self._error = ""

    @property
    def connected(self) -> bool:
        """True while the management server has let both streams in."""
        return self._connected

    def view(self) -> dict[str, object]:
        """What ``/v1/status`` says of the management server."""
        since = None if self._since is None else round(max(self._clock() - self._since, 0.0), 3)
        return {
            "address": self._settings.server,
            "connected": self._connected,
            "sinceSeconds": since,
            "error": self._error or None,
        }

    async def run(self) -> NoReturn:
        """Connected whenever that is possible, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._bell.run())
            tasks.create_task(self._keep_connected())
        raise AssertionError("the loops never return")

    async def sign(self, purpose: SignPurpose, csr: str) -> str:
        """The chain, as PEM, that the management server signed for a request as PEM. Raises RelayError."""
        if self._channel is None or not self._connected:
            raise RelayError("the management server is not connected")
        call = self._channel.unary_unary(f"/{SERVICE}/{SIGN}")
        try:
            answer = await call(encode_sign_request(SignRequest(purpose=purpose, csr=csr)), timeout=SIGN_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise RelayError(f"the management server does not sign: {error.details()}") from error
        return bytes(answer).decode("ascii")

    async def _keep_connected(self) -> NoReturn:
        while True:
            refused = await self._connect()
            await self._sleep(self._backoff.next_delay(refused=refused))

    async def _connect(self) -> bool:
        """One connection, from beginning to end; True if it was refused."""
        try:
            credentials = Pem.read(self._credentials).for_client()
        except OSError as error:
            self._note(connected=False, error=f"credentials cannot be read: {error}")
            return False
        # A channel of its own for every try, so that gRPC neither waits on its own account nor keeps old credentials.
        options = (*OPTIONS, ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
        refused, ended = False, "the management server ended the connection"
        async with grpc.aio.secure_channel(self._settings.server, credentials, options=options) as channel:
            self._channel = channel
            try:
                await self._talk(channel)
            except* grpc.aio.AioRpcError as group:
                failed = _first(group)
                refused = failed.code() in _REFUSALS
                ended = failed.details() or failed.code().name
                if failed.code() is grpc.StatusCode.INTERNAL:
                    # Of gRPC's own making: what was written crossed the server's last word on its way.
                    ended = _LOST
            except* DivergedError as group:
                self._diverged = True
                ended = str(_first(group))
            except* (MeshpassError, TimeoutError) as group:
                ended = str(_first(group)) or "no answer in time"
            except* asyncio.InvalidStateError:
                # gRPC's word for writing to a call that has just ended.
                ended = _LOST
            except* Exception as group:
                logger.exception("connection of the relay failed")
                ended = str(_first(group))
            finally:
                self._channel = None
                self._note(connected=False, error=ended)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # A TaskGroup of which a task fails while it is cancelled raises the failure alone (Python 3.11).
            raise asyncio.CancelledError
        return refused

    async def _talk(self, channel: grpc.aio.Channel) -> None:
        """Both streams, until one of them ends."""
        receive = channel.stream_stream(f"/{SERVICE}/{RECEIVE}")()
        report = channel.stream_stream(f"/{SERVICE}/{REPORT}")()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                for call in (receive, report):
                    await call.initial_metadata()
                    if call.done():
                        await _raise_status(call)
            self._note(connected=True, error="")
            follower = Follower(
                self._inbox.accept, self._shelf.held_but(self._settings.cluster), resume=not self._diverged
            )
            self._diverged = False
            async with asyncio.TaskGroup() as tasks:
                streams = (
                    tasks.create_task(_until_end(receive, listen(receive, follower, self._apply))),
                    tasks.create_task(_until_end(report, tell(report, self._bell, self._target))),
                )
                await asyncio.wait(streams, return_when=asyncio.FIRST_COMPLETED)
                for stream in streams:
                    stream.cancel()
        finally:
            receive.cancel()
            report.cancel()

    def _apply(self, delivery: Delivery) -> None:
        self._inbox.apply(delivery)
        # The server is well: it has told all that there is.
        self._backoff.reset()

    def _target(self) -> Target | None:
        self._shelf.next_generation()
        return self._shelf.for_management(self._settings.cluster) if self._shelf.ready else None

    def _note(self, *, connected: bool, error: str) -> None:
        if connected != self._connected or self._since is None:
            self._connected, self._since = connected, self._clock()
            if connected:
                logger.info("management server connected", extra={"address": self._settings.server})
        if error and error != self._error:  # once per reason, not once per try
            logger.warning("no management server", extra={"address": self._settings.server, "error": error})
        self._error = error


async def _until_end(call: Any, work: Awaitable[None]) -> None:
    """The work, and when the server ends the call in order, what it said: raised as AioRpcError unless it was OK."""
    await work
    await _raise_status(call)


async def _raise_status(call: Any) -> None:
    """Raises AioRpcError with what the server said at the end of the call, unless that was OK."""
    code = await call.code()
    if code is not grpc.StatusCode.OK:
        initial, trailing = await call.initial_metadata(), await call.trailing_metadata()
        raise grpc.aio.AioRpcError(code, initial, trailing, await call.details())


def _first(group: BaseExceptionGroup[Any]) -> Any:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
