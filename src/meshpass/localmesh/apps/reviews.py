"""reviews: what two reviewers say of a book. v1 shows no stars, v2 black ones, v3 red ones, which it asks ratings for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from meshpass.localmesh.apps.details import IDENTIFIER
from meshpass.localmesh.apps.serve import serve
from meshpass.localmesh.apps.upstream import Upstream, make_client, propagated_headers, upstream_address

_TEXTS = {
    "Reviewer1": "Two pairs of twins, one day, and nobody who gets it right. I laughed until the last page.",
    "Reviewer2": "Light, fast and loud. Who looks for depth may look elsewhere; who looks for fun need not.",
}
_PATIENCE = {"black": 10.0, "red": 2.5}
"""Seconds for ratings, by the colour of the stars: as in the sample, so that a delay can hit one version alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviews:
    """One version of the program."""

    pod: str
    cluster: str
    colour: str | None
    """Of the stars; None for no stars."""
    ratings: Upstream | None

    async def answer(self, request: Request) -> JSONResponse:
        """The reviews of one book; 200 also where ratings does not answer."""
        identifier = request.path_params["id"]
        if not IDENTIFIER.fullmatch(identifier):
            raise HTTPException(404)
        stars: Mapping[str, Any] = {}
        if self.ratings is not None:
            reply = await self.ratings.ask(identifier, propagated_headers(request))
            found = (reply.content or {}).get("ratings")
            stars = found if isinstance(found, dict) else {}
        reviews = [{"reviewer": who, "text": text, **self._rating(stars.get(who))} for who, text in _TEXTS.items()]
        return JSONResponse(
            {"id": identifier, "podname": self.pod, "clustername": self.cluster, "reviews": reviews},
        )

    def _rating(self, stars: Any) -> dict[str, Any]:
        if self.colour is None:
            return {}
        if not isinstance(stars, int) or isinstance(stars, bool):
            return {"rating": {"error": "Ratings service is currently unavailable"}}
        return {"rating": {"stars": stars, "color": self.colour}}


def build_application(environment: Mapping[str, str], client: httpx2.AsyncClient) -> Starlette:
    """The program in the version that ``SERVICE_VERSION`` says: ``/reviews/{id}`` and ``/health``."""
    colour = {"v2": "black", "v3": "red"}.get(environment.get("SERVICE_VERSION", "v1"))
    ratings = None
    if colour is not None:
        address = upstream_address("ratings", environment)
        ratings = Upstream(client=client, name="ratings", address=address, timeout=_PATIENCE[colour])
    reviews = Reviews(
        pod=environment.get("HOSTNAME", "null"),
        cluster=environment.get("CLUSTER_NAME", "null"),
        colour=colour,
        ratings=ratings,
    )
    return Starlette(routes=[Route("/reviews/{id}", reviews.answer), Route("/health", _answer_health)])


async def _answer_health(_: Request) -> JSONResponse:
    return JSONResponse({"status": "Reviews is healthy"})


if __name__ == "__main__":
    serve(build_application(os.environ, make_client()))
