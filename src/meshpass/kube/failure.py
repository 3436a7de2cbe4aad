"""How an API server's failures become ApiErrors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from meshpass.errors import ApiError, ExpiredError

UNREACHABLE = 0
"""`ApiError.code` when no answer came at all."""

_MESSAGE_LIMIT = 2000
_TOO_LARGE = "Too large resource version"

_HINTS: Mapping[int, str] = {
    401: "the server refused the credentials of the kubeconfig; get a fresh kubeconfig",
    403: "ask the cluster's administrator for a Role that allows this",
    409: "someone else changed or created the object; try again",
    415: "the server does not support this kind of patch",
    429: "the server is busy; try again in a moment",
}


def api_error(code: int, body: bytes) -> ApiError:
    """The error for an answer with HTTP status ``code``; the body is a metav1.Status, or any text from a proxy."""
    try:
        status = msgspec.json.decode(body)
    except msgspec.DecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = body[:_MESSAGE_LIMIT].decode(errors="replace").strip()
        status = {"message": text or f"the server answered {code}", "code": code}
    return status_error(status, code)


def status_error(status: Mapping[str, Any], code: int = 500) -> ApiError:
    """The error that a metav1.Status describes; ``code`` holds where the status names none.

    A resourceVersion that lies in the server's future (504, cause ResourceVersionTooLarge) is as useless as one that
    is too old: the server's history is another one. Both are ExpiredErrors. Servers before 1.18.6 name no cause,
    hence the look at the message (kubernetes/kubernetes#94316).
    """
    code = int(status.get("code") or code)
    reason = str(status.get("reason") or "")
    message = str(status.get("message") or f"the server answered {code}")
    if code == 410 or _TOO_LARGE in message:
        return ExpiredError(message, code=code, reason=reason or "Expired")
    return ApiError(message, code=code, reason=reason, hint=_HINTS.get(code))


def unreachable(host: str, cause: Exception) -> ApiError:
    """The error when the API server at ``host`` gave no complete answer."""
    words = str(cause) or type(cause).__name__
    return ApiError(
        f"cannot reach the API server at {host}: {words}",
        code=UNREACHABLE,
        reason="ConnectionFailed",
        hint="is the API server running, and is its address in the kubeconfig right?",
    )
