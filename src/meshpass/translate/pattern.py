"""Regular expressions of users, judged before a proxy sees them."""

from __future__ import annotations

import re

MAX_LENGTH = 1024

_NOT_IN_RE2 = re.compile(r"\(\?(?:[=!>]|<[=!]|P=|\()|\\[1-9]|(?<!\\)(?:[*+?]|\{\d+(?:,\d*)?\})\+")
"""Look-around, back-references, atomic groups, conditionals and possessive repeats: what Python knows and RE2 does not."""


def regex_problem(expression: str) -> str | None:
    """Why RE2 would refuse an expression; None where nothing is known against it. Envoy has the last word."""
    if not expression:
        return "is an empty regular expression"
    if len(expression) > MAX_LENGTH:
        return f"is longer than {MAX_LENGTH} characters"
    if _NOT_IN_RE2.search(expression):
        return "uses look-around, back-references or possessive repeats, which RE2 does not have"
    try:
        re.compile(re.sub(r"\\[zC]|\\p\{\w+\}|\\pN|\[\[:\^?\w+:\]\]|\\Q.*?\\E", "x", expression))
    except (re.error, RecursionError, OverflowError) as error:
        return f"is no regular expression: {error}"
    return None
