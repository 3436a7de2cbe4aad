"""Words of the page of ``check``: numbers, names, and texts cut to a line."""

from __future__ import annotations

from collections.abc import Mapping

_LONGEST = 200


def shorten(text: str, longest: int = _LONGEST) -> str:
    """The text on one line, cut to so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def object_name(one: Mapping[str, str]) -> str:
    """``JWTPolicy mgmt/httpbin/jwt-policy``."""
    return f"{one['kind']} {one['cluster']}/{one['namespace']}/{one['name']}"


def count(number: int, noun: str) -> str:
    """``1 problem``, ``2 problems``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def show_milliseconds(seconds: float) -> str:
    """``12 ms``."""
    return f"{max(round(seconds * 1000), 1)} ms"
