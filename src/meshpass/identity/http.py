"""Identities over HTTP, as routes of the control socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from meshpass.errors import MeshpassError
from meshpass.identity.intermediate import IntermediateStore
from meshpass.identity.roots import RootStore


def identity_routes(
    view: Callable[[], Mapping[str, object]], roots: RootStore | None, intermediates: Mapping[str, IntermediateStore]
) -> list[Route]:
    """``GET /v1/identity``, ``POST /v1/identity/rotate-root``, ``POST /v1/identity/rotate-intermediate?cluster=NAME``.

    ``view`` is what `view_identity` makes; the others answer with it too. ``roots`` is None in an agent; ``intermediates``
    is what signs in this process, by cluster. What cannot be done is answered 409, or 404 for a cluster that another
    process signs for, with ``message`` and ``hint``.
    """

    async def show(_request: Request) -> Response:
        return JSONResponse(dict(view()))

    async def rotate_root(_request: Request) -> Response:
        if roots is None:
            return _refuse(409, "this process has no root", "the management server rotates it")
        try:
            roots.rotate()
        except MeshpassError as error:
            return _refuse(409, str(error), error.hint)
        return JSONResponse(dict(view()))

    async def rotate_intermediate(request: Request) -> Response:
        cluster = request.query_params.get("cluster", "")
        if cluster not in intermediates:
            return _refuse(404, f"no workloads of {cluster!r} get certificates here", None)
        intermediates[cluster].rotate()
        return JSONResponse(dict(view()))

    return [
        Route("/v1/identity", show, methods=["GET"]),
        Route("/v1/identity/rotate-root", rotate_root, methods=["POST"]),
        Route("/v1/identity/rotate-intermediate", rotate_intermediate, methods=["POST"]),
    ]


def _refuse(code: int, message: str, hint: str | None) -> Response:
    return JSONResponse({"message": message, "hint": hint}, status_code=code)
