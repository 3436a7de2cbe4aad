"""Hosts of route tables: which names are valid."""

from __future__ import annotations

import re

_SEGMENT = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?")
_WILDCARD = re.compile(r"\*(?:-?[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?)?")
MAX_HOST = 255
MAX_SEGMENT = 63


def normalize_host(host: str) -> str:
    """The one form of a host name: lower case, without a trailing dot."""
    return host.lower().removesuffix(".")


def host_problem(host: str) -> str | None:
    """Why a host cannot be served to workloads of the mesh; None if it can (behaviour §5.3)."""
    if host == "*":
        return "the host * is possible on gateways only"
    if not 1 <= len(host) <= MAX_HOST:
        return f"a host has 1 to {MAX_HOST} characters"
    first, *rest = host.removesuffix(".").split(".")
    if "*" in first and not _WILDCARD.fullmatch(first):
        return "a wildcard stands at the start of the first part, such as *.example.com or *-api.example.com"
    names = rest if "*" in first else [first, *rest]
    for segment in names:
        if not _SEGMENT.fullmatch(segment) or len(segment) > MAX_SEGMENT:
            return f"{segment!r} is no part of a DNS name"
    if not rest and "*" in first:
        return "a wildcard needs a domain after it"
    if (rest or [first])[-1].isdigit():
        return "the last part of a host is not a number"
    return None
