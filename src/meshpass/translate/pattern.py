"""Regular expressions of users, judged by RE2 itself before a proxy sees them."""

from __future__ import annotations

import re2

MAX_LENGTH = 1024
MAX_PROGRAM_SIZE = 1000
"""What the bootstrap tells Envoy to accept (``re2.max_program_size.error_level``)."""


def regex_problem(expression: str) -> str | None:
    """Why Envoy would refuse an expression; None if it would not."""
    if not expression:
        return "is an empty regular expression"
    if len(expression) > MAX_LENGTH:
        return f"is longer than {MAX_LENGTH} characters"
    options = re2.Options()
    options.log_errors = False
    try:
        program_size: int = re2.compile(expression, options).programsize
    except (re2.error, UnicodeError) as error:
        return f"is no regular expression of RE2: {_words(error)}"
    if program_size > MAX_PROGRAM_SIZE:
        return f"is too complex: its program has {program_size} instructions, and {MAX_PROGRAM_SIZE} are allowed"
    return None


def _words(error: Exception) -> str:
    """What RE2 says, which is bytes."""
    said = error.args[0] if error.args else ""
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
