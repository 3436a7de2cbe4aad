"""Texts that become part of a path."""

from __future__ import annotations

import pytest

from meshpass.translate.rewrite import MAX_TEXT, substitution_problem, text_problem


@pytest.mark.parametrize("text", ["", "/", "/a/b-c.d~e", "/%20", "/a?b=c", "x" * MAX_TEXT])
def test_texts_that_can_stand_in_a_path(text: str) -> None:
    """Printable ASCII without blanks."""
    assert text_problem(text) is None


@pytest.mark.parametrize("text", ["/a b", "/a\n", "/\x00", "/\x7f", "/é", "x" * (MAX_TEXT + 1)])
def test_texts_that_cannot(text: str) -> None:
    """Blanks, control characters, anything beyond ASCII, and texts without end."""
    assert text_problem(text) is not None


@pytest.mark.parametrize(
    ("substitution", "expression"),
    [
        (r"/\0", "/a"),
        (r"/\1", "/(a)"),
        (r"/\2\1", "(a)(b)"),
        (r"\\", "a"),
        ("", "a"),
        (r"\\1", "a"),
        (r"/\1", "(?P<n>a)"),
    ],
)
def test_substitutions_that_re2_takes(substitution: str, expression: str) -> None:
    """Groups that are there, and backslashes as two."""
    assert substitution_problem(substitution, expression) is None


@pytest.mark.parametrize(
    ("substitution", "expression"),
    [
        (r"/\1", "/a"),
        (r"/\3", "(a)(b)"),
        (r"/\x", "a"),
        ("/\\", "a"),
        (r"\\\2", "(a)"),
        ("/a b", "a"),
        (r"\1", "(?:a)"),
    ],
)
def test_substitutions_that_re2_refuses(substitution: str, expression: str) -> None:
    """Groups that are not there, and backslashes before anything else: Envoy would refuse all routes."""
    assert substitution_problem(substitution, expression) is not None
