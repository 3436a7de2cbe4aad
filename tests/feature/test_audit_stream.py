"""Access logs over real gRPC: every entry is a record, or is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage

from meshpass.audit.log import AuditLog, DropCause
from meshpass.audit.record import DecisionRecord
from meshpass.audit.server import METHOD, SERVICE, AccessLogService
from meshpass.audit.subject import SubjectHasher
from meshpass.envoy.access_log import DECISION_TAG
from meshpass.envoy.filters import JWT_METADATA, Side

NODE = "sidecar~cluster1~httpbin~client"
UNKNOWN_KEY = "Jwks doesn't have key to match kid or alg from Jwt"


def message(*paths: str, node: str | None = None, log: str = "outbound", failure: str = "") -> bytes:
    made = StreamAccessLogsMessage()
    if node is not None:
        made.identifier.node.id = node
        made.identifier.log_name = log
    for path in paths:
        common = made.tcp_logs.log_entry.add().common_properties
        common.custom_tags[DECISION_TAG] = f"class\nGET\nhost\n{path}\n200\nvia_upstream"
        if failure:
            common.metadata.filter_metadata[JWT_METADATA].update({"failed:p1": {"message": failure}})
    return made.SerializeToString()


Open = Callable[[], grpc.aio.StreamUnaryCall]
Serve = Callable[[AccessLogService], Awaitable[Open]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Serves a service; the function that it returns opens a stream to it."""
    async with AsyncExitStack() as stack:

        async def start(service: AccessLogService) -> Open:
            server = grpc.aio.server()
            server.add_generic_rpc_handlers((service.handler,))
            server.add_insecure_port(f"unix:{tmp_path}/s")
            await server.start()
            stack.push_async_callback(server.stop, None)
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"unix:{tmp_path}/s"))
            return channel.stream_unary(f"/{SERVICE}/{METHOD}")

        yield start


def make_service(log: AuditLog, **options: object) -> AccessLogService:
    return AccessLogService(log, lambda _: "policy", hash_subject=SubjectHasher(b"s" * 32), **options)


async def wait_records(log: AuditLog, number: int) -> list[DecisionRecord]:
    with log.subscribe() as subscription:
        async with asyncio.timeout(10):
            while len(log.select()) < number:
                await anext(subscription)
    return list(log.select())


async def test_the_identifier_comes_once(serve: Serve) -> None:
    """Entries of later messages are of the same proxy and side; streams do not mix."""
    log = AuditLog()
    connect = await serve(make_service(log))
    first, second = connect(), connect()
    await first.write(message("/1", node="a", log="inbound"))
    await second.write(message("/2", node="b"))
    await wait_records(log, 2)
    await first.write(message("/3", "/4"))
    records = await wait_records(log, 4)

    assert {(one.path, one.proxy, one.side) for one in records} == {
        ("/1", "a", Side.INBOUND),
        ("/2", "b", Side.OUTBOUND),
        ("/3", "a", Side.INBOUND),
        ("/4", "a", Side.INBOUND),
    }
    for stream in (first, second):
        await stream.done_writing()
        assert await stream == b""


@pytest.mark.parametrize(
    "content",
    [b"\xff", message("/1"), message("/1", node="a", log="elsewhere")],
    ids=["no protobuf", "no identifier", "another log"],
)
async def test_a_bad_first_message_ends_the_stream(serve: Serve, content: bytes) -> None:
    """With a status, and without a record."""
    log = AuditLog()
    stream = (await serve(make_service(log)))()
    await stream.write(content)

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert log.select() == ()


async def test_overload_is_counted_and_does_not_last(serve: Serve) -> None:
    """Beyond the time that reading may take, entries are dropped unread; later ones are read again."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0 if busy else 0.0
        return now

    class WatchedLog(AuditLog):
        def count_dropped(self, number: int) -> None:
            super().count_dropped(number)
            dropped.set()

    busy = True
    dropped = asyncio.Event()
    log = WatchedLog()
    stream = (await serve(make_service(log, clock=clock)))()
    await stream.write(message("/1", node="a"))
    await wait_records(log, 1)
    await stream.write(message("/2", "/3"))
    busy = False
    async with asyncio.timeout(10):
        await dropped.wait()
    now += 100.0
    await stream.write(message("/4"))

    assert [one.path for one in await wait_records(log, 2)] == ["/1", "/4"]
    assert log.dropped[DropCause.OVERLOAD] == 2


async def test_unknown_keys_are_told(serve: Serve) -> None:
    """Of a token that no key verifies, and of no other."""
    log = AuditLog()
    told: list[DecisionRecord] = []
    stream = (await serve(make_service(log, on_unknown_key=told.append)))()
    await stream.write(message("/expired", node="a", failure="Jwt is expired"))
    await stream.write(message("/unknown", failure=UNKNOWN_KEY))
    await stream.write(message("/none"))
    await wait_records(log, 3)

    assert [(one.path, one.unknown_key_providers) for one in told] == [("/unknown", ("p1",))]


async def test_close_ends_every_stream(serve: Serve) -> None:
    """Those that are open, and those that are opened afterwards."""
    log = AuditLog()
    service = make_service(log)
    connect = await serve(service)
    stream = connect()
    await stream.write(message("/1", node="a"))
    await wait_records(log, 1)
    service.close()

    async with asyncio.timeout(5):
        assert await stream == b""
        assert await connect() == b""
