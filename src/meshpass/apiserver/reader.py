"""Reader: get and list, with consistent pages."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import msgspec

from meshpass.apiserver.cause import Cause, CauseReason
from meshpass.apiserver.options import ListOptions, Match
from meshpass.apiserver.revision import Stored
from meshpass.apiserver.status import StatusError, bad_request, expired, not_found
from meshpass.apiserver.storage import Storage
from meshpass.apiserver.target import Target

_CONTINUE_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result."
    " You can start a new list without the continue parameter."
)


class _Token(msgspec.Struct, frozen=True):
    """Where the next page starts: behind ``after``, in the state of ``revision``."""

    revision: int
    after: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """A list or a part of it."""

    items: tuple[Stored, ...]
    metadata: dict[str, Any]


def get_object(storage: Storage, target: Target) -> Stored:
    """The object as it is now. Raises StatusError 404."""
    stored = storage.get(target.key)
    if stored is None:
        raise not_found(target.resource, target.name)
    return stored


def list_objects(storage: Storage, target: Target, options: ListOptions) -> Page:
    """The matching objects, all in the state of one revision, no more than ``limit``.

    Raises StatusError: 400 for a damaged continue token, 410 for one (or an exact resourceVersion) that the log has
    outlived, 504 for a resourceVersion that does not exist yet.
    """
    at, after = _start(storage, options)
    items: list[Stored] = []
    more: list[Stored] = []
    for stored in storage.list(target.kind, target.namespace, at=at, after=after):
        if options.selector and not options.selector.matches(stored.decode()):
            continue
        if options.limit and len(items) == options.limit:
            more.append(stored)
            if options.selector:
                break
            continue
        items.append(stored)
    metadata: dict[str, Any] = {"resourceVersion": str(at)}
    if more:
        last = items[-1].key
        metadata["continue"] = _format_token(_Token(at, (last.namespace, last.name)))
        if not options.selector:
            metadata["remainingItemCount"] = len(more)
    return Page(tuple(items), metadata)


def _start(storage: Storage, options: ListOptions) -> tuple[int, tuple[str, str]]:
    """The revision to list at, and the key to list behind."""
    if options.token:
        token = _parse_token(options.token)
        if token.revision < storage.compacted:
            raise expired(_CONTINUE_TOO_OLD)
        return token.revision, token.after
    if options.resource_version is not None:
        check_reachable(storage, options.resource_version)
        if options.match is Match.EXACT:
            at = options.resource_version
            if at < storage.compacted:
                raise too_old(storage, at)
            return at, ("", "")
    return storage.revision, ("", "")


def check_reachable(storage: Storage, revision: int) -> None:
    """Raises StatusError 504, as Kubernetes does, when no such revision has happened yet."""
    if revision > storage.revision:
        message = f"Too large resource version: {revision}, current: {storage.revision}"
        cause = Cause(field="", reason=CauseReason.INVALID, message="Too large resource version").as_json()
        raise StatusError(
            message,
            code=504,
            reason="Timeout",
            details={"causes": [{**cause, "reason": "ResourceVersionTooLarge"}], "retryAfterSeconds": 1},
        )


def too_old(storage: Storage, revision: int) -> StatusError:
    """410: what happened since that revision is not known any more."""
    return expired(f"too old resource version: {revision} ({storage.compacted})")


def _format_token(token: _Token) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def _parse_token(text: str) -> _Token:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        token = msgspec.json.decode(raw, type=_Token)
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise bad_request("continue key is not valid: it was not issued by this server") from error
    if not 0 < token.revision < 1 << 62:
        raise bad_request("continue key is not valid: incorrect encoded start resourceVersion")
    return token
