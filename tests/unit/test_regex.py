"""Patterns: what RE2 matches is matched, what it does not have is refused, and nothing takes long."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.regex import Regex, RegexError, compile_regex

ATOMS = st.sampled_from(
    ["a", "b", ".", "[ab]", "[^a]", "[b-d]", r"\w", r"\d", r"\S", r"\W", "^", r"\b", r"\B", "(?:)", r"\n", "(?i:A)"]
)
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{1,}", "*?", "+?", "??"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
)


@given(expression=EXPRESSIONS, text=st.text("abcA1 \n-", min_size=1, max_size=6))
def test_it_matches_what_pythons_engine_matches(expression: str, text: str):
    """They agree on every text, but for the empty one, in which Python found no ``\\B`` before 3.14."""
    expected = re.search(expression, text, re.ASCII) is not None

    assert Regex(expression).is_in(text) is expected


@pytest.mark.parametrize(
    ("expression", "good", "bad"),
    [
        ("a$", "ba", "a\n"),
        (r"a\$", "a$b", "a"),
        ("a[$]", "a$b", "a"),
        (r"a\z", "a", "ab"),
        (r"\\z", r"\z", "z"),
        ("(?m)^b$", "a\nb\nc", "abc"),
        ("(?s)a.b", "a\nb", "ab"),
        ("a.b", "axb", "a\nb"),
        ("(?i)straße", "STRAßE", "strasse"),
        ("(?P<name>a)b", "ab", "b"),
        ("(?<name>a)b", "ab", "b"),
        ("^[[:alpha:]_][[:alnum:]_]*$", "a_1", "1a"),
        (r"^[^[:space:]]+$", "ab", "a b"),
        (r"^\d+$", "12", "١٢"),
        (r"^\w+$", "ab_1", "ä"),
        ("^é+$", "éé", "e"),
        ("^.{3}$", "😀😀😀", "😀😀"),
        (r"^[^\d]$", "a", "1"),
        (r"^[\D]$", "ä", "1"),
        ("^(a|ab)(c|bcd)$", "abcd", "abc d"),
        ("^(a{0,2}){3}$", "aaaaaa", "aaaaaaa"),
        ("", "", None),
        (r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", "a-b.c", "a-.c"),
    ],
)
def test_expressions(expression: str, good: str, bad: str | None):
    """The dialect of RE2: the end is the end, classes are ASCII, characters are code points."""
    assert compile_regex(expression).is_in(good)
    assert bad is None or not compile_regex(expression).is_in(bad)


@pytest.mark.parametrize(
    "expression",
    [
        r"(a)\1",
        "(?P<n>a)(?P=n)",
        "(?=a)",
        "(?!a)",
        "(?<=a)b",
        "(?<!a)b",
        "(?>a)",
        "a*+",
        "(",
        "[",
        "*",
        r"\p",
        "a{1001}{1001}",
        "(" * 5000,
        "a" * 20_000,
    ],
)
def test_what_re2_does_not_have_is_refused(expression: str):
    """Back-references, look-around, atomic groups; errors of syntax; what grows too large."""
    with pytest.raises(RegexError):
        Regex(expression)


@pytest.mark.parametrize(
    "expression", ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "^(.*a){12}$", "a*a*a*a*a*a*b", "(a?){30}a{30}$"]
)
@pytest.mark.timeout(20)
def test_no_expression_takes_long(expression: str):
    """On these texts Python's own engine would not come to an end."""
    assert isinstance(Regex(expression).is_in("a" * 3000 + "!"), bool)
