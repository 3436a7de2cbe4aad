"""Duration: text such as ``5m`` or ``1m30s``, as Kubernetes writes it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import msgspec

from meshpass.errors import ManifestError

_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")

DURATION_PATTERN = r"^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$"

Duration = Annotated[str, msgspec.Meta(pattern=DURATION_PATTERN, max_length=32)]
"""The text of a duration that is not negative, in Go's form."""


def parse_duration(text: str) -> timedelta:
    """The length of time that ``text`` names, to the microsecond. ManifestError if it is no duration."""
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ManifestError(f"expected a duration such as 30s or 5m, got {text!r}")
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(text))
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ManifestError(f"duration is too long: {text}") from None
