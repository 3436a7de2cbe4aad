"""The audit log over HTTP, as routes of the control socket: records as lines of JSON, and metrics."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from meshpass.audit.log import AuditLog
from meshpass.audit.metrics import CONTENT_TYPE, ProxyCount, render_metrics
from meshpass.audit.query import RecordFilter
from meshpass.audit.record import DecisionRecord
from meshpass.errors import MeshpassError

MEDIA_TYPE = "application/x-ndjson"
_PARAMETERS = frozenset({"follow", "denied", "policy", "route", "workload", "namespace", "since"})
_CHUNK_RECORDS = 500
_encoder = msgspec.json.Encoder()


def audit_routes(log: AuditLog, count_proxies: Callable[[], ProxyCount]) -> list[Route]:
    """``GET /v1/logs?follow&denied&policy&route&workload&namespace&since`` (seconds ago), and ``GET /metrics``.

    A line is a record, or ``{"dropped": N}`` where a follower has read too slowly for N records.
    """

    async def logs(request: Request) -> Response:
        try:
            follow, wanted = _parse_query(request.query_params, time.time())
        except MeshpassError as error:
            return JSONResponse({"message": str(error)}, status_code=400)
        return StreamingResponse(_follow(log, wanted) if follow else _replay(log, wanted), media_type=MEDIA_TYPE)

    async def metrics(_request: Request) -> Response:
        return Response(render_metrics(log, count_proxies()), media_type=CONTENT_TYPE)

    return [Route("/v1/logs", logs, methods=["GET"]), Route("/metrics", metrics, methods=["GET"])]


def _parse_query(query: QueryParams, now: float) -> tuple[bool, RecordFilter]:
    if unknown := sorted(set(query) - _PARAMETERS):
        raise MeshpassError(f"unknown parameter {unknown[0]}: there are {', '.join(sorted(_PARAMETERS))}")
    try:
        since = now - float(query["since"]) if "since" in query else None
    except ValueError:
        raise MeshpassError("since is no number of seconds") from None
    return _flag(query, "follow"), RecordFilter(
        denied=_flag(query, "denied"),
        policy=query.get("policy"),
        route=query.get("route"),
        workload=query.get("workload"),
        namespace=query.get("namespace"),
        since=since,
    )


def _flag(query: QueryParams, name: str) -> bool:
    value = query.get(name, "false")
    if value not in {"true", "false"}:
        raise MeshpassError(f"{name} is neither true nor false")
    return value == "true"


async def _replay(log: AuditLog, wanted: RecordFilter) -> AsyncIterator[bytes]:
    records = log.select(wanted)
    for start in range(0, len(records), _CHUNK_RECORDS):
        yield _encoder.encode_lines(records[start : start + _CHUNK_RECORDS])


async def _follow(log: AuditLog, wanted: RecordFilter) -> AsyncIterator[bytes]:
    told = 0
    with log.subscribe(wanted) as subscription:
        async for chunk in _replay(log, wanted):
            yield chunk
        async for records in subscription:
            yield _lines(records)
            if subscription.dropped > told:
                yield _encoder.encode({"dropped": subscription.dropped - told}) + b"\n"
                told = subscription.dropped


def _lines(records: Iterable[DecisionRecord]) -> bytes:
    return _encoder.encode_lines(list(records))
