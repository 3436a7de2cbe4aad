"""Durations as people type them."""

from __future__ import annotations

import re

from meshpass.errors import MeshpassError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_duration(text: str) -> float:
    """Seconds in text such as ``10s``, ``500ms``, ``1h30m``, ``10`` (seconds). Raises MeshpassError for other text."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(f"(?:{_PART.pattern})+", text):
        raise MeshpassError(f"{text!r} is no duration", hint="for example 500ms, 10s, 2m, 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def show_duration(seconds: float) -> str:
    """The two largest units, as kubectl shows ages: ``3d4h``, ``2m5s``, ``1h``, ``0s``."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
    return "".join(parts[:2]) or "0s"
