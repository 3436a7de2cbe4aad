"""How long ago: timestamps as ``kubectl get`` shows them (k8s.io/apimachinery ``duration.HumanDuration``)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from meshpass.apiserver.stringformat import is_date_time

UNKNOWN: Final = "<unknown>"
INVALID: Final = "<invalid>"


def render_age(timestamp: Any, now: datetime) -> str:
    """The time from ``timestamp`` (RFC 3339) to ``now`` (aware): ``45s``, ``3d4h``; ``<unknown>`` where there is none."""
    if timestamp is None or timestamp == "":
        return UNKNOWN
    moment = parse_time(timestamp)
    return INVALID if moment is None else render_duration(now - moment)


def parse_time(timestamp: Any) -> datetime | None:
    """An RFC 3339 text as an aware datetime, None for anything else; fractions beyond microseconds are cut."""
    if not isinstance(timestamp, str) or not is_date_time(timestamp):
        return None
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", timestamp.upper())).astimezone(UTC)


def render_duration(duration: timedelta) -> str:
    """At most two units, the smaller only while it matters: ``119s``, ``9m59s``, ``179m``, ``7h59m``, ``7d23h``, ``2y1d``."""
    seconds = int(duration.total_seconds())
    if seconds < -1:
        return INVALID
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    for limit, unit, rest in (
        (120, f"{max(seconds, 0)}s", ""),
        (10 * 60, f"{minutes}m", f"{seconds % 60}s"),
        (3 * 3600, f"{minutes}m", ""),
        (8 * 3600, f"{hours}h", f"{minutes % 60}m"),
        (48 * 3600, f"{hours}h", ""),
        (8 * 86400, f"{days}d", f"{hours % 24}h"),
        (2 * 365 * 86400, f"{days}d", ""),
        (8 * 365 * 86400, f"{days // 365}y", f"{days % 365}d"),
    ):
        if seconds < limit:
            return unit if rest.startswith("0") else unit + rest
    return f"{days // 365}y"
