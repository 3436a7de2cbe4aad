"""The HTTP application: which part of the server answers which path, and every failure as a Kubernetes Status."""

from __future__ import annotations

import logging

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from meshpass.apiserver.auth import ANONYMOUS_PATHS
from meshpass.apiserver.documents import Documents
from meshpass.apiserver.pods import POD_SUBRESOURCES, PodConnections
from meshpass.apiserver.rest import RestApi
from meshpass.apiserver.status import StatusError, internal, method_not_allowed, unknown_path
from meshpass.apiserver.target import segments

_log = logging.getLogger(__name__)


def make_application(documents: Documents, rest: RestApi, pods: PodConnections) -> ASGIApp:
    """The ASGI application, still without authentication."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["type"] == "websocket":
                await pods.connect(scope, receive, send, _segments(scope))
                return
            request = Request(scope, receive)
            response = await _answer(documents, rest, pods, request)
        except StatusError as failure:
            response = JSONResponse(failure.status(), failure.code, failure.headers)
        except Exception:  # noqa: BLE001 - one request's bug must not be another's outage
            # The path is safe to log (quoted: it may hold line breaks), the query and headers may not be.
            _log.exception("request failed: %s %r", scope.get("method", "WebSocket"), scope["path"])
            response = JSONResponse(internal().status(), 500)
        await response(scope, receive, send)

    return application


def _segments(scope: Scope) -> tuple[str, ...]:
    return segments(scope.get("raw_path") or scope["path"].encode())


async def _answer(documents: Documents, rest: RestApi, pods: PodConnections, request: Request) -> Response:
    parts = _segments(request.scope)
    match parts:
        case ("api", "v1", "namespaces", namespace, "pods", pod, subresource) if subresource in POD_SUBRESOURCES:
            return await pods.answer(request, namespace, pod, subresource)
        case ("api" | "apis", "", *_):
            raise unknown_path()
        case ("api", version, _, *_):
            return await rest.answer(request, "", version, parts[2:])
        case ("apis", group, version, _, *_):
            return await rest.answer(request, group, version, parts[3:])
    if request.method not in {"GET", "HEAD"}:
        raise method_not_allowed(("GET",))
    return _document(documents, request, parts)


def _document(documents: Documents, request: Request, parts: tuple[str, ...]) -> Response:
    match parts:
        case ("",):
            return documents.root(request)
        case ("version",):
            return documents.version(request)
        case ("api" | "apis",):
            return documents.groups(request, core=parts == ("api",))
        case ("api", version):
            return documents.resources(request, "", version)
        case ("apis", group):
            return documents.group(request, group)
        case ("apis", group, version):
            return documents.resources(request, group, version)
        case ("openapi", "v2"):
            return documents.openapi_v2(request)
        case ("openapi", "v3", *rest_of_path):
            return documents.openapi_v3(request, tuple(rest_of_path))
        case (name,) if f"/{name}" in ANONYMOUS_PATHS:
            return PlainTextResponse("ok")
    raise unknown_path()
