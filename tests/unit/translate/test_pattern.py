"""Regular expressions of users: what RE2 would refuse is refused before a proxy sees it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.translate.pattern import MAX_LENGTH, regex_problem


@pytest.mark.parametrize(
    "expression",
    [
        "a",
        "/a/[0-9]+",
        "(?i)abc",
        "(?P<name>a)",
        "a|b",
        r"\d{2,3}",
        r"\Qa(\E",
        r"\z",
        "[[:alpha:]]",
        r"\pN",
        r"\p{Greek}",
    ],
)
def test_plain_expressions_pass(expression: str) -> None:
    """What RE2 knows is not refused, also where Python does not know it."""
    assert regex_problem(expression) is None


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "empty"),
        ("a" * (MAX_LENGTH + 1), "longer than"),
        ("(", "no regular expression"),
        ("[z-a]", "no regular expression"),
        ("a**", "no regular expression"),
        ("a{2,1}", "no regular expression"),
        ("\\", "no regular expression"),
        ("(?=a)b", "no regular expression of RE2"),
        ("(?!a)b", "no regular expression of RE2"),
        ("(?<=a)b", "no regular expression of RE2"),
        ("(?<!a)b", "no regular expression of RE2"),
        ("(?>a)b", "no regular expression of RE2"),
        (r"(a)\1", "no regular expression of RE2"),
        ("(?P<n>a)(?P=n)", "no regular expression of RE2"),
        ("(a)(?(1)b|c)", "no regular expression of RE2"),
        ("a++", "no regular expression of RE2"),
        ("a{2}+", "no regular expression of RE2"),
        ("(" * 500 + ")" * 500, ""),
    ],
)
def test_others_are_refused_with_words(expression: str, words: str) -> None:
    """Each has its reason; the last may be too deep for whoever reads it, which is no crash."""
    problem = regex_problem(expression)

    assert words in (problem or "")
    assert problem is not None or not words


@given(st.text(max_size=30) | st.text(alphabet="()[]{}?*+|\\^$.,019azPQE<>=!:-", max_size=20))
def test_no_expression_is_worse_than_a_problem(expression: str) -> None:
    """Nothing that a user writes raises."""
    problem = regex_problem(expression)

    assert problem is None or problem
