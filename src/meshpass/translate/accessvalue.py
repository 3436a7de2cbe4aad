"""Values of an AccessPolicy's rules: what is wrong with them, and what they mean."""

from __future__ import annotations

import ipaddress
import re

from meshpass.ir import Glob

MAX_LENGTH = 256
"""Characters of a pattern: some become regular expressions, whose size is limited."""

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]+")  # RFC 9110 §5.6.2, without the asterisk, which is no wildcard here
_STANDARD_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_NOT_IN_PATHS = re.compile(r"[?#\s\x00-\x1f\x7f\\]|//|/\.\.?(?:/|$)|%2f|%5c", re.IGNORECASE)
"""What no path has in its one form, in which a proxy matches it."""
OWN_PREFIXES = ("x-meshpass-", "x-envoy-")
"""Headers that a proxy takes away from every request."""


def make_glob(text: str) -> Glob:
    """``*`` stands for anything, wherever it is."""
    return Glob(tuple(text.split("*")))


def pattern_problem(text: str, *, inside: bool = False) -> str | None:
    """What is wrong with a pattern; ``inside``: a ``*`` may stand anywhere, else alone or at one end."""
    if not 1 <= len(text) <= MAX_LENGTH:
        return f"has not 1 to {MAX_LENGTH} characters"
    if inside:
        return "has two * in a row" if "**" in text else None
    if "*" in text.removeprefix("*").removesuffix("*") or (text != "*" and text[0] == text[-1] == "*"):
        return "a * is possible alone, at the start or at the end"
    return None


def path_problem(text: str) -> str | None:
    """What is wrong with an allowed path."""
    if problem := pattern_problem(text):
        return problem
    if not text.startswith(("/", "*")):
        return "begins with neither / nor *"
    if _NOT_IN_PATHS.search(text):
        return "is never matched: paths are compared without their query, and without //, /./, /../ and encoded slashes"
    return None


def method_problem(text: str) -> str | None:
    """What is wrong with an allowed method."""
    if not _TOKEN.fullmatch(text):
        return "is no HTTP method"
    if text not in _STANDARD_METHODS and text.upper() in _STANDARD_METHODS:
        return f"methods are compared with their case: write {text.upper()}"
    return None


def header_problem(name: str) -> str | None:
    """What is wrong with the name of a header."""
    if not _TOKEN.fullmatch(name):
        return "is no name of a header"
    if name.lower().startswith(OWN_PREFIXES):
        return "is a header that proxies take away from every request"
    return None


def identity_problem(text: str) -> str | None:
    """What is wrong with an identity of the form ``iss/sub``."""
    if problem := pattern_problem(text):
        return problem
    if "*" not in text and "/" not in text[1:-1]:
        return "is no issuer and subject with a slash between them"
    return None


def block_problem(text: str) -> str | None:
    """What is wrong with an address or a CIDR block."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return "is neither an IP address nor a CIDR block"
    return None


def make_block(text: str) -> str:
    """The block in its one form."""
    return str(ipaddress.ip_network(text, strict=False))
