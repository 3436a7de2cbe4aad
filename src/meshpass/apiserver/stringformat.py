"""The ``format`` of strings that Kubernetes checks in custom resources; any other format is documentation."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Final
from urllib.parse import urlsplit

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_GO_DURATION = re.compile(r"[-+]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)")
_EMAIL = re.compile(r"[^@\s<>]+@[^@\s<>]+")
_HOST_LABEL = re.compile(r"[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?")
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}")


def matches_format(format_name: str, text: str) -> bool:
    """True where ``text`` is of that format, and for formats that Kubernetes does not check."""
    check = _CHECKS.get(format_name.lower())
    return check is None or check(text)


def is_date_time(text: str) -> bool:
    """True for an RFC 3339 instant."""
    if not _RFC_3339.fullmatch(text):
        return False
    try:
        # Leap seconds and more than six digits of fraction are valid here but not for datetime.
        datetime.fromisoformat(re.sub(r"\.\d+", "", text.upper()))
    except ValueError:
        return False
    return True


def is_base64(text: str) -> bool:
    """True for standard base64 with its padding (RFC 4648 section 4); line breaks are allowed, as Go allows them."""
    try:
        base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except (ValueError, binascii.Error):
        return False
    return True


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == len("2006-01-02")


def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(text) and " " not in text and (bool(parts.scheme) or text.startswith("/"))


def _is_hostname(text: str) -> bool:
    labels = text.removesuffix(".").split(".")
    return len(text) <= 255 and all(_HOST_LABEL.fullmatch(label) for label in labels)


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _is_address(version: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == version
        except ValueError:
            return False

    return check


def _matches(pattern: str | re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: re.fullmatch(pattern, text) is not None


_CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {
    "byte": is_base64,
    "cidr": _is_network,
    "date": _is_date,
    "date-time": is_date_time,
    "datetime": is_date_time,
    "duration": _matches(_GO_DURATION),
    "email": _matches(_EMAIL),
    "hostname": _is_hostname,
    "ipv4": _is_address(4),
    "ipv6": _is_address(6),
    "mac": _matches(_MAC),
    "uri": _is_uri,
    "uuid": _matches(r"(?i)[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}"),
}
