"""GrpcEcho: a gRPC server that says what it was asked, and GrpcClient, which asks it; real grpcio on both sides.

async with run_grpc_echo("speaker") as server:
    async with GrpcClient(place, "www.example.com") as client:
        said = await client.describe("/tests.Open/Describe")

Every service has the same methods: Describe, Count, Chat, Fail and Wait.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import grpc
import grpc.aio

DETAILS = "grpc-status-details-bin"
"""The trailer with what a status says in detail; its value is bytes."""
Headers = Mapping[str, str]
Place = tuple[str, int]
ANSWER_SECONDS = 10.0

_UNBOUNDED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


class GrpcEcho(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The methods. Use through ``run_grpc_echo``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.calls: list[str] = []
        """The methods that were called, in order."""
        self.failures = 0
        """So many of the next calls of Describe fail with UNAVAILABLE."""
        self.waiting = asyncio.Event()
        """Set while somebody is in Wait."""
        self.cancelled = asyncio.Event()
        """Set when somebody in Wait has given up."""
        self.seconds_left: float | None = None
        """How long the last one in Wait had still time."""

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a method; None for those that are not there."""
        method: str = handler_call_details.method
        match method.rpartition("/")[2]:
            case "Describe":
                handler = grpc.unary_unary_rpc_method_handler(self._describe)
            case "Count":
                handler = grpc.unary_stream_rpc_method_handler(self._count)
            case "Chat":
                handler = grpc.stream_stream_rpc_method_handler(self._chat)
            case "Fail":
                handler = grpc.unary_unary_rpc_method_handler(self._fail)
            case "Wait":
                handler = grpc.unary_unary_rpc_method_handler(self._wait)
            case _:
                return None
        self.calls.append(method)
        return handler

    async def _describe(self, request: bytes, context: Any) -> bytes:
        """Who answers, the metadata, and the request."""
        if self.failures:
            self.failures -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        metadata = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        context.set_trailing_metadata((("x-trailer", "after all"),))
        return json.dumps({"server": self.name, "metadata": metadata, "request": request.decode()}).encode()

    async def _count(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """``5 1024`` is answered with five messages of 1024 bytes."""
        number, size = map(int, request.split())
        for position in range(number):
            yield bytes([position % 256]) * size

    async def _chat(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """Each message comes back as soon as it is there."""
        async for request in requests:
            yield request

    async def _fail(self, request: bytes, context: Any) -> bytes:
        """OUT_OF_RANGE, with everything that a status can have."""
        await context.abort(grpc.StatusCode.OUT_OF_RANGE, "täglich 100 %", ((DETAILS, b"\x00\xff"), ("x-own", "1")))
        raise AssertionError

    async def _wait(self, request: bytes, context: Any) -> bytes:
        """Until the caller gives up."""
        self.seconds_left = context.time_remaining()
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError


@asynccontextmanager
async def run_grpc_echo(name: str) -> AsyncIterator[GrpcEcho]:
    """Inside, it listens on a port of 127.0.0.1, in plain text."""
    echo = GrpcEcho(name)
    server = grpc.aio.server(options=_UNBOUNDED)
    server.add_generic_rpc_handlers((echo,))
    echo.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield echo
    finally:
        await server.stop(None)


class GrpcClient:
    """One channel. Everything raises grpc.aio.AioRpcError where the call fails."""

    def __init__(self, place: Place, authority: str, *, certificates: str = "", proxy: str = "") -> None:
        """With ``certificates`` (PEM) over TLS; with ``proxy`` as grpcio does it where http_proxy says so."""
        options: list[tuple[str, str | int]] = [*_UNBOUNDED, ("grpc.default_authority", authority)]
        options.append(("grpc.http_proxy", proxy) if proxy else ("grpc.enable_http_proxy", 0))
        target = f"{place[0]}:{place[1]}"
        self._channel = (
            grpc.aio.secure_channel(
                target,
                grpc.ssl_channel_credentials(certificates.encode()),
                options=[*options, ("grpc.ssl_target_name_override", authority)],
            )
            if certificates
            else grpc.aio.insecure_channel(target, options=options)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    def call(
        self, method: str, request: bytes = b"", metadata: Headers | None = None, *, seconds: float = ANSWER_SECONDS
    ) -> Any:
        """A unary call: to be awaited, and asked for its code, details and metadata."""
        return self._channel.unary_unary(method)(request, timeout=seconds, metadata=_metadata(metadata))

    async def describe(self, method: str, metadata: Headers | None = None, request: str = "") -> Mapping[str, Any]:
        """What a Describe says."""
        said: Mapping[str, Any] = json.loads(await self.call(method, request.encode(), metadata))
        return said

    async def count(self, method: str, number: int, size: int, metadata: Headers | None = None) -> list[int]:
        """The sizes of the messages that came."""
        request = f"{number} {size}".encode()
        call = self._channel.unary_stream(method)(request, metadata=_metadata(metadata), timeout=3 * ANSWER_SECONDS)
        return [len(message) async for message in call]

    def chat(self, method: str, metadata: Headers | None = None) -> Any:
        """A call with ``write``, ``read``, ``done_writing`` and ``code``."""
        return self._channel.stream_stream(method)(metadata=_metadata(metadata))


def _metadata(headers: Headers | None) -> tuple[tuple[str, str], ...]:
    return tuple((name.lower(), value) for name, value in (headers or {}).items())
