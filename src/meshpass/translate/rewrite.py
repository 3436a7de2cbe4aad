"""Texts that become part of a path, judged before a proxy sees them."""

from __future__ import annotations

import re

from meshpass.regex import compile_regex

MAX_TEXT = 1024

_UNFIT = re.compile(r"[^\x21-\x7e]")
_REFERENCE = re.compile(r"\\(.?)", re.DOTALL)


def text_problem(text: str) -> str | None:
    """Why a text cannot stand in a path; None if it can."""
    if len(text) > MAX_TEXT:
        return f"is longer than {MAX_TEXT} characters"
    if _UNFIT.search(text):
        return "has a character that cannot stand in a path as it is; write it as %XX"
    return None


def substitution_problem(substitution: str, expression: str) -> str | None:
    """Why RE2 would refuse to put this in place of what matches the (valid) expression; None if it would not."""
    problem = text_problem(substitution)
    if problem is not None:
        return problem
    groups = compile_regex(expression).groups
    for reference in _REFERENCE.findall(substitution):
        if reference == "\\":
            continue
        if not (reference.isascii() and reference.isdecimal()):
            return "has a backslash that is followed by neither a digit nor another backslash"
        if int(reference) > groups:
            return f"refers to group {reference}, and the expression has {groups}"
    return None
