"""RelayServer: the management server's end of the relay. Every agent is told what it may see, and tells what it has."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc
import grpc.aio

from meshpass.errors import MeshpassError
from meshpass.identity.relay import RelayCredentials
from meshpass.kube.store import ObjectStore
from meshpass.relay.bell import Bell
from meshpass.relay.connection import Connection
from meshpass.relay.facts import Facts
from meshpass.relay.follower import Delivery, DivergedError, Follower
from meshpass.relay.inbox import Inbox
from meshpass.relay.link import OPTIONS, RECEIVE, REPORT, SERVICE, SIGN, listen, tell
from meshpass.relay.nodestate import place_of_node
from meshpass.relay.peer import Peer, read_peer
from meshpass.relay.resource import Target
from meshpass.relay.settings import RelayServerSettings
from meshpass.relay.shelf import Shelf
from meshpass.relay.signing import SignPurpose, decode_sign_request
from meshpass.relay.tls import Pem
from meshpass.xds.remote import RemoteStates

logger = logging.getLogger(__name__)

STOP_SECONDS = 1.0
LOOK_SECONDS = 30.0
"""Between two looks at the credentials."""
RETRY_SECONDS = 1.0
_METHODS = frozenset({RECEIVE, REPORT})

Sign = Callable[[str, SignPurpose, str], Awaitable[str]]
"""Cluster, purpose, request as PEM → chain as PEM. Raises MeshpassError for what is not signed."""


class RelayServer:
    """Serves agents whose clusters are registered; nobody else gets a byte, and nobody speaks for another cluster.

    Nothing is told before all of the management cluster is known, nor to an agent that holds nothing yet before every
    registered cluster has been heard of once (but for those with ``skipWarming``): it would take a part for the whole.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        settings: RelayServerSettings,
        credentials: RelayCredentials,
        own: RemoteStates,
        remote: RemoteStates,
        facts: Facts,
        sign: Sign,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """``own`` are the proxies served by this process; ``remote`` is filled with those of the agents.

        ``changed`` is called whenever `view` says something else.
        """
        self._store = store
        self._settings = settings
        self._credentials = credentials
        self._remote = remote
        self._facts = facts
        self._sign = sign
        self._changed = changed
        self._clock = clock
        self._sleep = sleep
        self._shelf = Shelf(store, own, remote, facts, management_cluster=settings.management_cluster)
        self._bell = Bell(store, (own, remote), facts)
        self._connections: dict[str, Connection] = {}
        self._heard: set[str] = set()
        """The clusters whose agents have told everything since this process began."""
        self._strangers = 0
        self._listening: asyncio.Event = asyncio.Event()
        self._port = 0

    async def wait_listening(self) -> int:
        """The port, once agents can connect."""
        await self._listening.wait()
        return self._port

    @property
    def warming(self) -> tuple[str, ...]:
        """The registered clusters that have not been heard of, by anyone who wrote it down."""
        return tuple(sorted(self._shelf.unknown))

    def view(self) -> list[dict[str, object]]:
        """What ``/v1/status`` says of the agents: of registered clusters, and of any other that tried."""
        registered = self._shelf.registered
        known = {cluster: self._connection(cluster) for cluster in sorted(registered)} | self._connections
        return [known[cluster].view(registered, _METHODS) for cluster in sorted(known)]

    async def run(self) -> NoReturn:
        """Serves until cancelled. Raises MeshpassError when it cannot listen."""
        try:
            pem = Pem.read(self._credentials)
            server = self._make_server(pem)
        except (RuntimeError, OSError) as error:
            raise MeshpassError(f"cannot listen for agents on {self._settings.listen}: {error}") from error
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._bell.run())
            tasks.create_task(self._follow_registrations())
            tasks.create_task(self._listen(pem, server))
        raise AssertionError("the loops never return")

    async def _listen(self, pem: Pem, server: grpc.aio.Server) -> NoReturn:
        """Listens, and anew whenever the credentials are others: agents are back, and told what they missed, at once."""
        while True:
            await server.start()
            self._listening.set()
            try:
                await self._wait_renewed(pem)
            finally:
                for connection in self._connections.values():
                    connection.end("the server is stopping")
                await server.stop(STOP_SECONDS)
            pem, server = await self._renew()

    async def _renew(self) -> tuple[Pem, grpc.aio.Server]:
        while True:
            try:
                pem = Pem.read(self._credentials)
                return pem, self._make_server(pem)
            except (RuntimeError, OSError) as error:
                # Half of the files may be of the old credentials still.
                logger.warning("cannot listen for agents", extra={"error": str(error)})
                await self._sleep(RETRY_SECONDS)

    def _make_server(self, pem: Pem) -> grpc.aio.Server:
        server = grpc.aio.server(options=(*OPTIONS, ("grpc.so_reuseport", 0)))
        # Without (de)serialisers gRPC passes bytes: resources are serialised once for all.
        methods = {
            RECEIVE: grpc.stream_stream_rpc_method_handler(self._receive),
            REPORT: grpc.stream_stream_rpc_method_handler(self._report),
            SIGN: grpc.unary_unary_rpc_method_handler(self._answer_sign),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        host, _, port = self._settings.listen.rpartition(":")
        self._port = server.add_secure_port(f"{host}:{self._port or port}", pem.for_server())
        return server

    async def _wait_renewed(self, pem: Pem) -> None:
        """Returns once the files hold other credentials."""
        while True:
            await self._sleep(LOOK_SECONDS)
            try:
                if Pem.read(self._credentials) != pem:
                    return
            except OSError as error:
                logger.warning("credentials of the relay cannot be read", extra={"error": str(error)})

    async def _receive(self, _requests: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        async def work(peer: Peer) -> None:
            await tell(context, self._bell, lambda: self._target(peer.cluster))

        await self._serve(RECEIVE, context, work)

    async def _report(self, _requests: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        async def work(peer: Peer) -> None:
            cluster = peer.cluster
            connection = self._connection(cluster)
            inbox = Inbox(self._store, self._remote, self._facts, teller=cluster, only=cluster)
            follower = Follower(inbox.accept, self._shelf.held_of(cluster), resume=not connection.diverged)
            connection.diverged = False

            def apply(delivery: Delivery) -> None:
                inbox.apply(delivery)
                self._heard.add(cluster)

            try:
                await listen(context, follower, apply)
            except* DivergedError:
                connection.diverged = True
                raise

        await self._serve(REPORT, context, work)

    async def _answer_sign(self, body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        peer = await self._admit(context)
        try:
            request = decode_sign_request(body)
            chain = await self._sign(peer.cluster, request.purpose, request.csr)
        except MeshpassError as error:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return chain.encode()

    def _target(self, cluster: str) -> Target | None:
        self._shelf.next_generation()
        return self._shelf.for_agent(cluster, self._heard) if self._shelf.ready else None

    async def _serve(
        self, method: str, context: grpc.aio.ServicerContext[bytes, bytes], work: Callable[[Peer], Awaitable[None]]
    ) -> None:
        """One stream, until the peer ends it, breaks the protocol, or may no longer be here."""
        peer = await self._admit(context)
        connection = self._connection(peer.cluster)
        ending = connection.open(method)
        logger.info("agent connected", extra={"cluster": peer.cluster, "method": method})
        code, details, gone = grpc.StatusCode.OK, "", False
        try:
            # Tells the agent that it was let in, before there is anything to say.
            await context.send_initial_metadata(())
            async with asyncio.TaskGroup() as tasks:
                working = tasks.create_task(_run(work, peer))
                ended = tasks.create_task(self._wait_ending(ending, peer))
                await asyncio.wait((working, ended), return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    code, details = ended.result()
                working.cancel()
                ended.cancel()
        except* MeshpassError as group:
            code, details = grpc.StatusCode.INVALID_ARGUMENT, str(_first(group))
            logger.warning("stream of an agent ended", extra={"cluster": peer.cluster, "error": details})
        except* grpc.aio.BaseError:
            gone = True
        finally:
            connection.close(method, ending)
            logger.info("agent disconnected", extra={"cluster": peer.cluster, "method": method})
        if gone:
            # The client went while it was written to: there is nobody to tell a status, which gRPC would try.
            raise asyncio.CancelledError
        if code is not grpc.StatusCode.OK:
            await _abort(context, code, details)

    async def _wait_ending(self, ending: asyncio.Future[str], peer: Peer) -> tuple[grpc.StatusCode, str]:
        try:
            async with asyncio.timeout(max(peer.expires - self._clock(), 0.0)):
                reason = await ending
        except TimeoutError:
            return grpc.StatusCode.UNAUTHENTICATED, "the certificate has expired"
        if peer.cluster not in self._shelf.registered:
            return grpc.StatusCode.PERMISSION_DENIED, reason
        return grpc.StatusCode.UNAVAILABLE, reason

    async def _admit(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> Peer:
        """The agent, if it may be here; the call is aborted if not."""
        peer = read_peer(context.auth_context(), self._settings.trust_domain)
        if peer is None:
            self._strangers += 1
            if self._strangers == 1:
                logger.warning("refused a client that is no agent of this mesh", extra={"peer": context.peer()})
            await _abort(
                context, grpc.StatusCode.UNAUTHENTICATED, "the certificate is not that of an agent of this mesh"
            )
        if not self._shelf.ready:
            await _abort(context, grpc.StatusCode.UNAVAILABLE, "the management cluster has not been read yet")
        if peer.cluster not in self._shelf.registered:
            reason = f"cluster {peer.cluster} is not registered"
            if self._connection(peer.cluster).refuse(reason):
                logger.warning("agent refused", extra={"cluster": peer.cluster, "reason": reason})
            await _abort(context, grpc.StatusCode.PERMISSION_DENIED, reason)
        return peer

    def _connection(self, cluster: str) -> Connection:
        return self._connections.setdefault(cluster, Connection(cluster, self._clock, self._changed))

    async def _follow_registrations(self) -> NoReturn:
        seen = -1
        while True:
            if self._shelf.ready:
                self._end_deregistered(self._shelf.registered)
            seen = await self._bell.wait_changed(seen)

    def _end_deregistered(self, registered: frozenset[str]) -> None:
        for cluster, connection in self._connections.items():
            if cluster not in registered and connection.streams:
                logger.info("cluster deregistered", extra={"cluster": cluster})
                connection.refuse(f"cluster {cluster} is not registered")
        for cluster in self._store.clusters - registered:
            if not self._store.is_own(cluster):
                self._store.forget(cluster)
        for cluster in self._facts.received.keys() - registered:
            self._facts.forget(cluster)
        gone = tuple(node for node in self._remote.states if place_of_node(node)[0] not in registered)
        self._remote.update({}, gone)


async def _abort(context: grpc.aio.ServicerContext[bytes, bytes], code: grpc.StatusCode, details: str) -> NoReturn:
    """End the call with this status; raises what gRPC expects of a handler whose call has ended."""
    try:
        await context.abort(code, details)
    except grpc.aio.InternalError:
        # The client has gone before it could be told.
        raise asyncio.CancelledError from None
    raise AssertionError("abort raises")


async def _run(work: Callable[[Peer], Awaitable[None]], peer: Peer) -> None:
    await work(peer)


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
