"""SupervisorApi: what the supervisor is told and asked, over HTTP on a unix socket that only its user can open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from meshpass.control import listen_privately
from meshpass.errors import LocalMeshError
from meshpass.httpserver import HttpServer
from meshpass.localmesh.switchboard import Switchboard


def build_application(switchboard: Switchboard) -> Starlette:
    """``GET /v1/parts`` · ``POST /v1/stop?name=NAME`` · ``POST /v1/start?name=NAME``.

    A failure is ``{"message": …, "hint": …}`` with code 400.
    """

    async def parts(_request: Request) -> Response:
        return JSONResponse({"parts": msgspec.to_builtins(switchboard.records)})

    async def switch(request: Request) -> Response:
        act = switchboard.stop if request.url.path == "/v1/stop" else switchboard.start
        try:
            record, changed = await act(request.query_params.get("name", ""))
        except LocalMeshError as error:
            return JSONResponse({"message": str(error), "hint": error.hint or ""}, status_code=400)
        return JSONResponse({"part": msgspec.to_builtins(record), "changed": changed})

    return Starlette(
        routes=[
            Route("/v1/parts", parts, methods=["GET"]),
            Route("/v1/stop", switch, methods=["POST"]),
            Route("/v1/start", switch, methods=["POST"]),
        ]
    )


@asynccontextmanager
async def serve_switchboard(switchboard: Switchboard, path: Path) -> AsyncIterator[None]:
    """The supervisor's socket answers inside the context. Raises LocalMeshError where it cannot be made."""
    server = HttpServer(build_application(switchboard))
    async with asyncio.TaskGroup() as tasks:
        serving = await server.start(listen_privately(path), tasks)
        try:
            yield
        finally:
            await server.stop(serving)
