"""What a request for ``log`` asks for: the query of its URL, as Kubernetes' ``PodLogOptions`` has it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.datastructures import QueryParams

from meshpass.apiserver import cause
from meshpass.apiserver.age import parse_time
from meshpass.apiserver.options import LARGEST_INTEGER
from meshpass.apiserver.podexecrequest import parse_flag
from meshpass.apiserver.status import bad_request, invalid
from meshpass.apiserver.validation import Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """Which part of a log, and how."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since: datetime | None = None
    """Lines before are left out."""
    tail: int | None = None
    """Only so many lines of those that are there."""
    limit_bytes: int | None = None


def parse_log_options(query: QueryParams, pod: str, now: datetime) -> LogOptions:
    """The options. Raises StatusError 400 for what is no number or time, 422 for what makes no sense."""
    tail, seconds, limit = (_integer(query, name) for name in ("tailLines", "sinceSeconds", "limitBytes"))
    since = _time(query, "sinceTime")
    causes = [
        *_at_least(tail, 0, "tailLines", "must be greater than or equal to 0"),
        *_at_least(seconds, 1, "sinceSeconds", "must be greater than 0"),
        *_at_least(limit, 1, "limitBytes", "must be greater than 0"),
    ]
    if seconds is not None and since is not None:
        causes.append(cause.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    if causes:
        raise invalid("", "PodLogOptions", pod, causes)
    return LogOptions(
        follow=parse_flag(query, "follow"),
        previous=parse_flag(query, "previous"),
        timestamps=parse_flag(query, "timestamps"),
        since=_ago(now, seconds) if seconds is not None else since,
        tail=tail,
        limit_bytes=limit,
    )


def _integer(query: QueryParams, name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        number = int(text)
    except ValueError:
        raise bad_request(f"{name}: {text[:20]!r} is no whole number") from None
    if abs(number) > LARGEST_INTEGER:
        raise bad_request(f"{name}: {text[:20]!r}… is out of range")
    return number


def _time(query: QueryParams, name: str) -> datetime | None:
    text = query.get(name)
    if text is None:
        return None
    moment = parse_time(text)
    if moment is None:
        raise bad_request(f"{name}: {text[:40]!r} is no time of RFC 3339")
    return moment


def _ago(now: datetime, seconds: int) -> datetime:
    try:
        return now - timedelta(seconds=seconds)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _at_least(value: int | None, least: int, field: str, message: str) -> tuple[Cause, ...]:
    return (cause.invalid(field, value, message),) if value is not None and value < least else ()
