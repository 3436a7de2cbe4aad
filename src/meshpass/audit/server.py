"""AccessLogService: takes the proxies' access logs over gRPC, as a service beside ADS on the same server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import grpc
import grpc.aio
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from google.protobuf.message import DecodeError

from meshpass.audit.budget import TimeBudget
from meshpass.audit.entry import MAX_NAME, PolicyOf, parse_entry
from meshpass.audit.log import AuditLog
from meshpass.audit.record import DecisionRecord
from meshpass.audit.redaction import redact
from meshpass.envoy.filters import Side

logger = logging.getLogger(__name__)

SERVICE = "envoy.service.accesslog.v3.AccessLogService"
METHOD = "StreamAccessLogs"


class AccessLogService:
    """Every entry of every stream is a record in the log, or counted there as dropped.

    ``handler`` is to be added to a gRPC server, ``close`` to be called before that stops: the streams have no end of
    their own. ``on_unknown_key`` is called with each record of a token that no known key verifies; it must not wait or
    raise. Reading never waits for anybody, so a proxy's stream never backs up for longer than the event loop is busy.
    """

    def __init__(
        self,
        log: AuditLog,
        policy_of: PolicyOf,
        *,
        hash_subject: Callable[[str, str], str],
        on_unknown_key: Callable[[DecisionRecord], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._log = log
        self._policy_of = policy_of
        self._hash_subject = hash_subject
        self._on_unknown_key = on_unknown_key
        self._budget = TimeBudget(clock)
        self._closing = asyncio.Event()
        stream = grpc.stream_unary_rpc_method_handler(self._serve)
        self.handler: grpc.GenericRpcHandler = grpc.method_handlers_generic_handler(SERVICE, {METHOD: stream})

    def close(self) -> None:
        """Every stream ends, and so does every later one; what was sent and not read is lost."""
        self._closing.set()

    async def _serve(self, _requests: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        async with asyncio.TaskGroup() as tasks:
            stop = tasks.create_task(self._end_on_close())
            read = tasks.create_task(self._read(context))
            await asyncio.wait((stop, read), return_when=asyncio.FIRST_COMPLETED)
            refusal = read.result() if read.done() else ""
            stop.cancel()
            read.cancel()
        if refusal:
            logger.warning("access log stream refused", extra={"error": refusal})
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, refusal)
        return b""  # an empty StreamAccessLogsResponse

    async def _end_on_close(self) -> None:
        await self._closing.wait()

    async def _read(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> str:
        """Take messages in until the proxy ends the stream; what was wrong with it, if anything was."""
        stream: tuple[str, Side] | None = None
        while True:
            message = await context.read()
            if message is grpc.aio.EOF:
                return ""
            try:
                parsed = StreamAccessLogsMessage.FromString(message)
            except DecodeError:
                return "the message is no StreamAccessLogsMessage"
            if parsed.HasField("identifier"):
                stream = _identify(parsed.identifier)
            if stream is None:
                return "the first message has no identifier, or one with an unknown log name"
            self._take(*stream, parsed)

    def _take(self, node: str, side: Side, message: StreamAccessLogsMessage) -> None:
        entries = message.tcp_logs.log_entry
        if self._budget.is_spent:
            self._log.count_dropped(len(entries))
            return
        with self._budget.spend():
            for entry in entries:
                record = parse_entry(node, side, entry, policy_of=self._policy_of, hash_subject=self._hash_subject)
                self._log.append(record)
                if record.failures and record.unknown_key_providers:
                    self._on_unknown_key(record)


def _identify(identifier: StreamAccessLogsMessage.Identifier) -> tuple[str, Side] | None:
    try:
        return redact(identifier.node.id[:MAX_NAME]), Side(identifier.log_name)
    except ValueError:
        return None
