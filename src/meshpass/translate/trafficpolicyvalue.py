"""Values that several kinds of policies have: times and names of headers."""

from __future__ import annotations

import re
from datetime import timedelta

from meshpass.api.duration import parse_duration
from meshpass.errors import ManifestError

MAX_NAME = 256
MAX_VALUE = 4096
LONGEST = timedelta(days=365)
"""Envoy's timers count no further."""

_MILLISECOND = timedelta(milliseconds=1)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_NO_VALUE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_OWN_PREFIX = "x-meshpass-"


def duration_problem(text: str) -> str | None:
    """Why a time limit cannot be counted in whole milliseconds; None if it can."""
    try:
        length = parse_duration(text)
    except ManifestError:
        length = timedelta.max
    if length < _MILLISECOND:
        return "is under 1ms"
    if length > LONGEST:
        return "is over 8760h"
    return "is finer than a millisecond" if length % _MILLISECOND else None


def milliseconds(text: str) -> int:
    """The length of a time without ``duration_problem``."""
    return parse_duration(text) // _MILLISECOND


def token_problem(name: str) -> str | None:
    """Why a name of a header or method is none; None if it is one."""
    if not 1 <= len(name) <= MAX_NAME:
        return f"has not 1 to {MAX_NAME} characters"
    return None if _TOKEN.fullmatch(name) else "is no name: it has characters other than letters, digits and -"


def header_problem(name: str) -> str | None:
    """Why a policy may not touch a header; None if it may."""
    problem = token_problem(name)
    if problem is not None:
        return "is a pseudo-header of HTTP/2, which no policy may change" if name.startswith(":") else problem
    lower = name.lower()
    if lower == "host" or lower.startswith(_OWN_PREFIX):
        return "is a header that no policy may change"
    return None


def header_value_problem(value: str) -> str | None:
    """Why a text cannot be the value of a header; None if it can."""
    if len(value) > MAX_VALUE:
        return f"is longer than {MAX_VALUE} characters"
    if _NO_VALUE.search(value):
        return "has a control character"
    # RFC 9113 §8.2.1: a receiver takes the whole request for malformed.
    return "begins or ends with a space" if value != value.strip(" ") else None
