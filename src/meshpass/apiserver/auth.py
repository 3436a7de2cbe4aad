"""Authentication: one bearer token opens everything, and nothing but health checks is open without it."""

from __future__ import annotations

import hashlib
import hmac

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from meshpass.apiserver.status import unauthorized

ANONYMOUS_PATHS = frozenset({"/readyz", "/livez", "/healthz"})
"""Kubernetes' ``system:public-info-viewer`` without ``/version``."""


class BearerToken:
    """ASGI middleware that answers 401 to every request without the token."""

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app = app
        self._digest = _digest(token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The request reaches the application, or is answered 401."""
        if scope["type"] not in {"http", "websocket"}:
            return
        if scope["path"] in ANONYMOUS_PATHS or self._admits(Headers(scope=scope).getlist("authorization")):
            await self._app(scope, receive, send)
            return
        failure = unauthorized()
        # Closed, or a stranger could go on sending a body for ever.
        answer = JSONResponse(failure.status(), failure.code, {**failure.headers, "Connection": "close"})
        await answer(scope, receive, send)

    def _admits(self, headers: list[str]) -> bool:
        """Digests are compared, so that neither the content nor the length of the token shows in the time it takes."""
        if len(headers) != 1:
            return False
        scheme, _, sent = headers[0].partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(_digest(sent.strip()), self._digest)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
