"""Glob → Envoy's StringMatcher."""

from __future__ import annotations

from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from meshpass.envoy.claim_rule import quote_re2
from meshpass.ir import Glob


def build_glob(glob: Glob) -> StringMatcher:
    """Matches a whole text."""
    match glob.parts:
        case (exact,):
            return StringMatcher(exact=exact)
        case (prefix, "") if prefix:
            return StringMatcher(prefix=prefix)
        case ("", suffix) if suffix:
            return StringMatcher(suffix=suffix)
        case _:
            return _regex(_expression(glob))


def build_glob_among(glob: Glob) -> StringMatcher:
    """Matches a list whose elements are divided by commas, and that has such an element, or is such a text as a whole.

    That is how one header in several lines is the same as in one (RFC 9110 §5.3).
    """
    return _regex(f"(?:.*,)?[ \\t]*{_expression(glob)}[ \\t]*(?:,.*)?")


def build_host_glob(glob: Glob) -> StringMatcher:
    """Matches a host in all of its forms: in any case, with the dot of the root, with any port or none, and in a list.

    For what is refused: who could write the same host in another form would pass (RFC 3986 §3.2.2, §6.2.3). Envoy makes
    one list of several lines ``Host``, which RFC 9112 §3.2 forbids.
    """
    return _regex(f"(?i)(?:.*,)?[ \\t]*{_expression(glob)}[.]?(?::[0-9]*)?[ \\t]*(?:,.*)?")


def _expression(glob: Glob) -> str:
    return ".*".join(map(quote_re2, glob.parts))


def _regex(expression: str) -> StringMatcher:
    return StringMatcher(safe_regex=RegexMatcher(regex=f"(?s){expression}"))
