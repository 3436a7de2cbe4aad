"""Serving: one sample program, on the port that the mesh gave it."""

from __future__ import annotations

import os

import uvicorn
from starlette.types import ASGIApp


def serve(application: ASGIApp) -> None:
    """Serves on 127.0.0.1:$PORT until SIGTERM."""
    uvicorn.run(
        application,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
