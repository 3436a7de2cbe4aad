"""Regular expressions of users, judged before a proxy sees them."""

from __future__ import annotations

from meshpass.regex import RegexError, compile_regex

MAX_LENGTH = 1024
MAX_PROGRAM_SIZE = 1000
"""What the bootstrap tells Envoy to accept (``re2.max_program_size.error_level``)."""


def regex_problem(expression: str) -> str | None:
    """Why Envoy would refuse an expression; None if it would not."""
    if not expression:
        return "is an empty regular expression"
    if len(expression) > MAX_LENGTH:
        return f"is longer than {MAX_LENGTH} characters"
    try:
        size = compile_regex(expression).program_size
    except RegexError as error:
        return f"is no regular expression of RE2: {error}"
    if size > MAX_PROGRAM_SIZE:
        return f"is too complex: its program has {size} instructions, and {MAX_PROGRAM_SIZE} are allowed"
    return None
