"""AdsServer: delta ADS over gRPC. A thin loop around AdsStream: one reader, one writer per stream."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
import grpc.aio
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from meshpass.envoy.snapshot import Snapshot
from meshpass.errors import MeshpassError, XdsProtocolError
from meshpass.xds.cache import SnapshotCache, StreamEntry
from meshpass.xds.event import Event, Send
from meshpass.xds.memory import Plan
from meshpass.xds.request import DeltaRequest, parse_request
from meshpass.xds.stream import AdsStream
from meshpass.xds.wire import serialise_response

logger = logging.getLogger(__name__)

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD = "DeltaAggregatedResources"
MAX_REQUEST_BYTES = 16 * 1024 * 1024
"""A resume names every resource that the client has: about 1 MiB for 10,000 routes in resources of their own."""
MAX_QUEUED_RESPONSES = 64
"""A stream's next request is read when fewer responses than these wait for the client to read them."""
MAX_UNIX_PATH_BYTES = 107
STOP_SECONDS = 1.0
SETTLE_SECONDS = 1.0
"""How long a client that resumes has to name all types that it has something of. Envoy does so within milliseconds."""

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.so_reuseport", 0),
)


class AdsServer:
    """Serves what is in the cache for as long as the context is entered.

    ``listen`` is the path of a unix socket, made with mode 0600 in a directory of mode 0700, or ``host:port`` of a
    loopback address (port 0: any free one). Whoever reaches the socket is told everything, keys included.
    """

    def __init__(
        self,
        cache: SnapshotCache,
        plan: Plan,
        *,
        listen: Path | str,
        services: tuple[grpc.GenericRpcHandler, ...] = (),
    ) -> None:
        """``services`` are served beside ADS, to the same clients."""
        self._cache = cache
        self._plan = plan
        self._listen = listen
        self._services = services
        self._server: grpc.aio.Server | None = None
        self._stopping = asyncio.Event()
        self.port = 0
        """The TCP port, while listening on one."""

    async def __aenter__(self) -> Self:
        server = grpc.aio.server(options=_OPTIONS)
        # Without (de)serialisers gRPC passes bytes: responses are made once, and bad requests get a status of ours.
        handler = grpc.stream_stream_rpc_method_handler(self._serve)
        ads = grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})
        server.add_generic_rpc_handlers((ads, *self._services))
        if isinstance(self._listen, Path):
            _bind_unix(server, self._listen)
        else:
            self.port = _bind_loopback(server, self._listen)
        await server.start()
        if isinstance(self._listen, Path):
            self._listen.chmod(stat.S_IRUSR | stat.S_IWUSR)
        self._server = server
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        if self._server is not None:
            await self._server.stop(STOP_SECONDS)
        if isinstance(self._listen, Path):
            self._listen.unlink(missing_ok=True)

    async def _serve(self, _requests: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        connection = _Connection(self._cache, AdsStream(self._plan, self._cache.recall), context)
        code, details = grpc.StatusCode.UNAVAILABLE, "the server is stopping"
        try:
            async with asyncio.TaskGroup() as tasks:
                stop = tasks.create_task(self._end_on_stop())
                write = tasks.create_task(connection.write())
                read = tasks.create_task(connection.read())
                settle = tasks.create_task(connection.settle())
                await asyncio.wait((stop, write, read), return_when=asyncio.FIRST_COMPLETED)
                if read.done():
                    code, details = read.result()
                for task in (stop, write, read, settle):
                    task.cancel()
        finally:
            connection.close()
        if code is not grpc.StatusCode.OK:
            await context.abort(code, details)

    async def _end_on_stop(self) -> None:
        await self._stopping.wait()


class _Connection:
    """One stream's reader and writer."""

    def __init__(
        self, cache: SnapshotCache, stream: AdsStream, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> None:
        self._cache = cache
        self._stream = stream
        self._context = context
        self._outbox: asyncio.Queue[Send] = asyncio.Queue()
        self._entry: StreamEntry | None = None

    async def read(self) -> tuple[grpc.StatusCode, str]:
        """Take requests in until the client ends the stream or breaks the protocol; the status to end it with."""
        while True:
            if self._outbox.qsize() >= MAX_QUEUED_RESPONSES:
                await self._outbox.join()
            message = await self._context.read()
            if message is grpc.aio.EOF:
                return grpc.StatusCode.OK, ""
            try:
                request = parse_request(discovery_pb2.DeltaDiscoveryRequest.FromString(message))
                self._receive(request)
            except DecodeError:
                return grpc.StatusCode.INVALID_ARGUMENT, "the message is no DeltaDiscoveryRequest"
            except XdsProtocolError as error:
                logger.warning("stream closed", extra={"node": self._stream.node, "error": str(error)})
                return grpc.StatusCode.INVALID_ARGUMENT, str(error)

    async def write(self) -> None:
        """Write what is queued, one response after the other, as fast as the client reads."""
        while True:
            send = await self._outbox.get()
            await self._context.write(serialise_response(send))
            self._outbox.task_done()

    async def settle(self) -> None:
        """Have the stream begin, also if the client does not name all types."""
        await asyncio.sleep(SETTLE_SECONDS)
        self._react(self._stream.settle())

    def close(self) -> None:
        """Forget the stream."""
        if self._entry is not None:
            self._entry.close(self._stream.left)

    def _receive(self, request: DeltaRequest) -> None:
        self._react(self._stream.receive(request))
        if self._entry is None:
            self._entry = self._cache.connect(self._stream.node, self._retarget)
            self._report()

    def _retarget(self, snapshot: Snapshot) -> None:
        self._react(self._stream.retarget(snapshot))

    def _react(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, Send):
                self._outbox.put_nowait(event)
        self._report()

    def _report(self) -> None:
        if self._entry is not None:
            in_sync_with = self._stream.target if self._stream.in_sync else None
            self._entry.report(in_sync_with=in_sync_with, rejections=self._stream.rejections)


def _bind_unix(server: grpc.aio.Server, path: Path) -> None:
    """Listen on the path, in a directory that nobody else can enter: the socket has its own mode only afterwards."""
    if len(os.fsencode(path)) > MAX_UNIX_PATH_BYTES:
        raise MeshpassError(
            f"{path} is too long for a unix socket", hint=f"the limit is {MAX_UNIX_PATH_BYTES} bytes; use a shorter DIR"
        )
    path.parent.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
    if stat.S_IMODE(path.parent.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise MeshpassError(f"others may enter {path.parent}", hint=f"chmod 0700 {path.parent}")
    try:
        server.add_insecure_port(f"unix:{path}")
    except RuntimeError as error:
        raise MeshpassError(f"cannot listen on {path}: {error}") from error


def _bind_loopback(server: grpc.aio.Server, address: str) -> int:
    host, _, _ = address.rpartition(":")
    if not ipaddress.ip_address(host.strip("[]")).is_loopback:
        raise MeshpassError(f"{address} is not on loopback", hint="the stream carries keys and has no TLS of its own")
    try:
        return int(server.add_insecure_port(address))
    except RuntimeError as error:
        raise MeshpassError(f"cannot listen on {address}: {error}") from error
