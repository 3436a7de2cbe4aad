"""StatusError: a failure as Kubernetes' ``Status`` object, and the failures that Kubernetes' API conventions name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshpass.apiserver.cause import Cause, aggregate_message
from meshpass.apiserver.resource import Resource
from meshpass.errors import ApiError


class StatusError(ApiError):
    """Ends a request with a ``Status`` of this code, reason and details."""

    def __init__(
        self,
        message: str,
        *,
        code: int,
        reason: str,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, code=code, reason=reason)
        self.details = dict(details or {})
        self.headers = dict(headers or {})

    def status(self) -> dict[str, Any]:
        """The ``v1.Status`` that the client reads."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            status["details"] = self.details
        return status


def success(resource: Resource, name: str, uid: str) -> dict[str, Any]:
    """The ``Status`` that a finished deletion is answered with."""
    details = {"name": name, "kind": resource.plural, "uid": uid}
    if resource.group:
        details["group"] = resource.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def qualified(plural: str, group: str) -> str:
    """``plural.group``, or the plural alone in the core group: how Kubernetes names a resource to people."""
    return f"{plural}.{group}" if group else plural


def _details(resource: Resource, name: str, **more: Any) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name, **({"group": resource.group} if resource.group else {})}
    return {**details, "kind": resource.plural, **more}


def bad_request(message: str) -> StatusError:
    """400: what was sent cannot be understood."""
    return StatusError(message, code=400, reason="BadRequest")


def unauthorized() -> StatusError:
    """401, with the challenge that names the scheme."""
    return StatusError(
        "Unauthorized", code=401, reason="Unauthorized", headers={"WWW-Authenticate": 'Bearer realm="kubernetes"'}
    )


def forbidden(resource: Resource, name: str, why: str, *, causes: Iterable[Mapping[str, str]] = ()) -> StatusError:
    """403: understood, and not done for anybody."""
    listed = [dict(cause) for cause in causes]
    return StatusError(
        f'{qualified(resource.plural, resource.group)} "{name}" is forbidden: {why}',
        code=403,
        reason="Forbidden",
        details=_details(resource, name, **({"causes": listed} if listed else {})),
    )


def not_found(resource: Resource, name: str) -> StatusError:
    """404 for one object."""
    return StatusError(
        f'{qualified(resource.plural, resource.group)} "{name}" not found',
        code=404,
        reason="NotFound",
        details=_details(resource, name),
    )


def unknown_path() -> StatusError:
    """404 for a path behind which nothing is served."""
    return StatusError("the server could not find the requested resource", code=404, reason="NotFound")


def method_not_allowed(allowed: Iterable[str]) -> StatusError:
    """405, with the methods that there are."""
    return StatusError(
        "the server does not allow this method on the requested resource",
        code=405,
        reason="MethodNotAllowed",
        headers={"Allow": ", ".join(allowed)},
    )


def not_acceptable(offered: Iterable[str]) -> StatusError:
    """406: none of the forms that the client reads is offered."""
    return StatusError(
        f"only the following media types are accepted: {', '.join(offered)}", code=406, reason="NotAcceptable"
    )


def unsupported_media_type(offered: Iterable[str], *, why: str = "") -> StatusError:
    """415, with the forms that are read, or ``why``."""
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(offered)
    return StatusError(why or message, code=415, reason="UnsupportedMediaType")


def already_exists(resource: Resource, name: str) -> StatusError:
    """409 for a name that is taken."""
    return StatusError(
        f'{qualified(resource.plural, resource.group)} "{name}" already exists',
        code=409,
        reason="AlreadyExists",
        details=_details(resource, name),
    )


def conflict(
    resource: Resource,
    name: str,
    why: str = "the object has been modified; please apply your changes to the latest version and try again",
) -> StatusError:
    """409 for a write that was made from another state than the stored one."""
    return StatusError(
        f'Operation cannot be fulfilled on {qualified(resource.plural, resource.group)} "{name}": {why}',
        code=409,
        reason="Conflict",
        details=_details(resource, name),
    )


def apply_conflict(message: str, causes: Iterable[Mapping[str, str]]) -> StatusError:
    """409 for an apply that would change fields of others."""
    return StatusError(message, code=409, reason="Conflict", details={"causes": [dict(cause) for cause in causes]})


def expired(message: str) -> StatusError:
    """410: that state is no longer known; list again."""
    return StatusError(message, code=410, reason="Expired")


def too_large(limit: int) -> StatusError:
    """413: more than ``limit`` bytes."""
    return StatusError(f"limit is {limit}", code=413, reason="RequestEntityTooLarge")


def invalid(group: str, kind: str, name: str, causes: Iterable[Cause]) -> StatusError:
    """422 with every cause, as ``NewInvalid`` of apimachinery words and orders it."""
    listed = list(causes)
    details: dict[str, Any] = {"name": name, **({"group": group} if group else {}), "kind": kind}
    details["causes"] = [cause.as_json() for cause in listed]
    return StatusError(
        f'{qualified(kind, group)} "{name}" is invalid: {aggregate_message(listed)}',
        code=422,
        reason="Invalid",
        details=details,
    )


def internal() -> StatusError:
    """500 without a word of what went wrong inside: that is for the log."""
    return StatusError("Internal error occurred", code=500, reason="InternalError")
