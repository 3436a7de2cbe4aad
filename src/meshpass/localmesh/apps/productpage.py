"""productpage: the page of a book for people, and an API of the same for programs."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import httpx2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from meshpass.localmesh.apps.page import PRODUCTS, STYLE, render_index, render_product
from meshpass.localmesh.apps.serve import serve
from meshpass.localmesh.apps.upstream import Reply, Upstream, make_client, propagated_headers, upstream_address

_TIMEOUT = 3.0
_USER = re.compile(r"[\w.@+-]{1,64}", re.ASCII)
_COOKIE = "bookinfo-user"
_LARGEST_LOGIN = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductPage:
    """The program, and whom it asks."""

    details: Upstream
    reviews: Upstream
    ratings: Upstream

    async def show_index(self, _: Request) -> Response:
        """A page that leads to the product page, and says who is asked for what."""
        return HTMLResponse(render_index({one.name: one.address for one in (self.details, self.reviews, self.ratings)}))

    async def show_product(self, request: Request) -> Response:
        """The page of the first book; 200 also where details or reviews are missing, which it then says."""
        headers = _headers(request)
        async with asyncio.TaskGroup() as group:
            details = group.create_task(self.details.ask("0", headers))
            reviews = group.create_task(self.reviews.ask("0", headers))
        page = render_product(
            PRODUCTS[0], details=details.result().content, reviews=reviews.result().content, user=_user(request)
        )
        return HTMLResponse(page)

    async def list_products(self, _: Request) -> Response:
        """All books."""
        return JSONResponse(list(PRODUCTS))

    async def answer_details(self, request: Request) -> Response:
        """What details says of a book."""
        return await _pass_on(self.details, request)

    async def answer_reviews(self, request: Request) -> Response:
        """What reviews says of a book."""
        return await _pass_on(self.reviews, request)

    async def answer_ratings(self, request: Request) -> Response:
        """What ratings says of a book."""
        return await _pass_on(self.ratings, request)


def build_application(environment: Mapping[str, str], client: httpx2.AsyncClient) -> Starlette:
    """The program: the page at ``/productpage``, the API at ``/api/v1/products``."""

    def upstream(name: str, attempts: int = 1) -> Upstream:
        address = upstream_address(name, environment)
        return Upstream(client=client, name=name, address=address, timeout=_TIMEOUT, attempts=attempts)

    # The second attempt is the sample's known weakness: it is what a delay in front of ratings brings to light.
    page = ProductPage(
        details=upstream("details"), reviews=upstream("reviews", attempts=2), ratings=upstream("ratings")
    )
    return Starlette(
        routes=[
            Route("/", page.show_index),
            Route("/index.html", page.show_index),
            Route("/productpage", page.show_product),
            Route("/api/v1/products", page.list_products),
            Route("/api/v1/products/{id}", page.answer_details),
            Route("/api/v1/products/{id}/reviews", page.answer_reviews),
            Route("/api/v1/products/{id}/ratings", page.answer_ratings),
            Route("/login", _log_in, methods=["POST"]),
            Route("/logout", _log_out),
            Route("/static/bookinfo.css", _answer_style),
            Route("/health", _answer_health),
        ]
    )


async def _pass_on(upstream: Upstream, request: Request) -> Response:
    reply: Reply = await upstream.ask(request.path_params["id"], _headers(request))
    if reply.content is None:
        error: dict[str, Any] = {"error": f"Product {upstream.name} are currently unavailable."}
        return JSONResponse(error, reply.status)
    return JSONResponse(reply.content)


def _headers(request: Request) -> tuple[tuple[bytes, bytes], ...]:
    """What goes on with a request; who has logged in is its ``end-user``, whatever the client says."""
    headers = propagated_headers(request)
    user = _user(request)
    if not user:
        return headers
    return (*(header for header in headers if header[0] != b"end-user"), (b"end-user", user.encode()))


def _user(request: Request) -> str:
    user = request.cookies.get(_COOKIE, "")
    return user if _USER.fullmatch(user) else ""


async def _log_in(request: Request) -> Response:
    """Anybody may be anybody here: a name is for routes that match on ``end-user``, not for security."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_LOGIN:
            raise HTTPException(413)
    user = parse_qs(body.decode("latin-1")).get("username", [""])[0]
    if not _USER.fullmatch(user):
        raise HTTPException(400, "username: letters, digits and . @ + - _, at most 64")
    response = RedirectResponse("/productpage", 303)
    response.set_cookie(_COOKIE, user, httponly=True, samesite="lax")
    return response


async def _log_out(_: Request) -> Response:
    response = RedirectResponse("/productpage", 303)
    response.delete_cookie(_COOKIE)
    return response


async def _answer_style(_: Request) -> Response:
    return Response(STYLE, media_type="text/css")


async def _answer_health(_: Request) -> Response:
    return PlainTextResponse("Product page is healthy")


if __name__ == "__main__":
    serve(build_application(os.environ, make_client()))
