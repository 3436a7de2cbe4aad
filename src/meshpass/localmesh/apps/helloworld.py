"""helloworld: says its version and its Pod, so that one sees who has answered."""

from __future__ import annotations

import os
from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from meshpass.localmesh.apps.serve import serve


def build_application(environment: Mapping[str, str]) -> Starlette:
    """The program: ``/hello``, of the version and Pod that the environment names, and ``/health``."""
    text = f"Hello version: {environment['SERVICE_VERSION']}, instance: {environment['HOSTNAME']}\n"

    async def answer(_: Request) -> PlainTextResponse:
        return PlainTextResponse(text)

    return Starlette(routes=[Route("/hello", answer), Route("/health", _answer_health)])


async def _answer_health(_: Request) -> PlainTextResponse:
    return PlainTextResponse("Helloworld is healthy")


if __name__ == "__main__":
    serve(build_application(os.environ))
