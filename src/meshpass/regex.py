"""Regular expressions as Envoy and Kubernetes understand them: RE2, whose time grows with the text and never explodes."""

from __future__ import annotations

from functools import lru_cache

import re2

MAX_LENGTH = 10_000
MAX_MEMORY_BYTES = 8 * 2**20


class RegexError(ValueError):
    """An expression that RE2 refuses; the message is RE2's own."""


class Regex:
    """One compiled expression."""

    def __init__(self, expression: str) -> None:
        """Raises RegexError."""
        if len(expression) > MAX_LENGTH:
            raise RegexError(f"longer than {MAX_LENGTH} characters")
        options = re2.Options()
        options.log_errors = False
        options.max_mem = MAX_MEMORY_BYTES
        try:
            self._compiled = re2.compile(expression, options)
        except (re2.error, UnicodeError) as error:
            raise RegexError(_words(error)) from error

    @property
    def program_size(self) -> int:
        """The number of instructions, which Envoy limits."""
        return int(self._compiled.programsize)

    @property
    def groups(self) -> int:
        """The number of groups that a substitution can refer to."""
        return int(self._compiled.groups)

    def is_in(self, text: str) -> bool:
        """True if some part of the text matches."""
        try:
            return self._compiled.search(text) is not None
        except UnicodeError:  # a surrogate without its other half is no character
            return False


@lru_cache(maxsize=1024)
def compile_regex(expression: str) -> Regex:
    """The expression, compiled once. Raises RegexError."""
    return Regex(expression)


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
