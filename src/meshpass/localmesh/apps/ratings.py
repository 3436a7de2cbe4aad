"""ratings: how many stars the reviewers give a book; a POST gives others, until the program ends."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from meshpass.localmesh.apps.details import IDENTIFIER
from meshpass.localmesh.apps.serve import serve

_LARGEST_BODY = 16 * 1024
_MOST_BOOKS = 1000
_FIRST = {"Reviewer1": 5, "Reviewer2": 4}


class Ratings:
    """The ratings of all books. Of those that were changed, the last thousand are remembered."""

    def __init__(self) -> None:
        self._changed: dict[int, Any] = {}

    async def answer(self, request: Request) -> JSONResponse:
        """Says, or with POST changes, the ratings of one book."""
        if not IDENTIFIER.fullmatch(request.path_params["id"]):
            return JSONResponse({"error": "the product id has to be a number"}, 400)
        identifier = int(request.path_params["id"])
        if request.method == "POST":
            try:
                ratings = msgspec.json.decode(await _read_body(request))
            except msgspec.DecodeError:
                return JSONResponse({"error": "the ratings have to be JSON"}, 400)
            self._changed.pop(identifier, None)
            self._changed[identifier] = ratings
            if len(self._changed) > _MOST_BOOKS:
                del self._changed[next(iter(self._changed))]
        return JSONResponse({"id": identifier, "ratings": self._changed.get(identifier, _FIRST)})


def build_application() -> Starlette:
    """The program: ``/ratings/{id}`` and ``/health``."""
    ratings = Ratings()
    return Starlette(
        routes=[
            Route("/ratings/{id}", ratings.answer, methods=["GET", "POST"]),
            Route("/health", _answer_health),
        ]
    )


async def _read_body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_BODY:
            raise HTTPException(413, "ratings of more than 16 KiB")
    return body


async def _answer_health(_: Request) -> JSONResponse:
    return JSONResponse({"status": "Ratings is healthy"})


if __name__ == "__main__":
    serve(build_application())
