"""details: what is known of a book."""

from __future__ import annotations

import re

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from meshpass.localmesh.apps.serve import serve

IDENTIFIER = re.compile(r"[0-9]{1,18}")
"""Books are numbered."""


def build_application() -> Starlette:
    """The program: ``/details/{id}`` and ``/health``."""
    return Starlette(routes=[Route("/details/{id}", _answer), Route("/health", _answer_health)])


async def _answer(request: Request) -> JSONResponse:
    identifier = request.path_params["id"]
    if not IDENTIFIER.fullmatch(identifier):
        return JSONResponse({"error": "the product id has to be a number"}, 400)
    return JSONResponse(
        {
            "id": int(identifier),
            "author": "William Shakespeare",
            "year": 1595,
            "type": "paperback",
            "pages": 200,
            "publisher": "PublisherA",
            "language": "English",
            "ISBN-10": "1234567890",
            "ISBN-13": "123-1234567890",
        }
    )


async def _answer_health(_: Request) -> JSONResponse:
    return JSONResponse({"status": "Details is healthy"})


if __name__ == "__main__":
    serve(build_application())
