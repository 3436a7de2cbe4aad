"""Freshness: how long a server says that its answer may be used (RFC 9111)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def read_lifetime(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds from ``now`` (since 1970) that the answer stays fresh, at least 0; None where the server does not say.

    ``headers`` looks names up in any case. Of two statements Cache-Control wins over Expires (RFC 9111 §5.3).
    """
    directives = _directives(headers.get("cache-control", ""))
    if "no-store" in directives or "no-cache" in directives:
        return 0.0
    if "max-age" in directives:
        # §4.2.1: a lifetime that makes no sense is one that is over.
        lifetime = _seconds(directives["max-age"]) or 0.0
        return max(lifetime - (_seconds(headers.get("age", "")) or 0.0), 0.0)
    if "expires" not in headers:
        return None
    expires = _moment(headers["expires"])
    if expires is None:
        return 0.0
    sent = _moment(headers.get("date", ""))
    return max(expires - (now if sent is None else sent), 0.0)


def _directives(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(","))
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _seconds(text: str) -> float | None:
    # §1.2.2: numbers may be as long as they like; none means more than 2^31.
    return float(min(int(text[:20]), 2**31)) if text.isascii() and text.isdigit() else None


def _moment(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def show_time(seconds: float) -> str:
    """Seconds since 1970 as RFC 3339 text."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
