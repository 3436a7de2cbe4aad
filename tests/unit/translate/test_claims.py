"""Claims and scopes of a policy: the rules they become, and the mistakes that are found in them."""

from __future__ import annotations

import pytest

from meshpass.api.security import ClaimMatcher, JWTPolicyConfig
from meshpass.ir import ClaimPattern, ClaimRule, PatternKind
from meshpass.translate.claims import MAX_LENGTH, rule_problems, translate_rules


def problems(*claims: ClaimMatcher, scopes: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    return list(rule_problems(JWTPolicyConfig(claims=claims, required_scopes=scopes)))


@pytest.mark.parametrize(
    ("value", "pattern"),
    [
        pytest.param("*", ClaimPattern(PatternKind.ANY), id="any"),
        pytest.param("dev*", ClaimPattern(PatternKind.PREFIX, "dev"), id="prefix"),
        pytest.param("*@solo.io", ClaimPattern(PatternKind.SUFFIX, "@solo.io"), id="suffix"),
        pytest.param("internal", ClaimPattern(PatternKind.EXACT, "internal"), id="exact"),
    ],
)
def test_a_star_is_a_wildcard_alone_at_the_start_or_at_the_end(value: str, pattern: ClaimPattern) -> None:
    """The same in values and in notValues, and no problem in either."""
    matcher = ClaimMatcher(key="org", values=(value,), not_values=(value,))

    assert problems(matcher) == []
    (rule,) = translate_rules(JWTPolicyConfig(claims=(matcher,)))
    assert rule == ClaimRule(path=("org",), values=(pattern,), not_values=(pattern,))


def test_a_delimiter_splits_the_key_and_without_one_it_is_one_name() -> None:
    """A dot in a key means nothing unless the policy says so."""
    nested = ClaimMatcher(key="a.b.c", values=("x",), nested_claim_delimiter=".")
    plain = ClaimMatcher(key="a.b", values=("x",))

    paths = [rule.path for rule in translate_rules(JWTPolicyConfig(claims=(nested, plain)))]

    assert paths == [("a", "b", "c"), ("a.b",)]


def test_scope_is_compared_by_words_and_other_claims_are_not() -> None:
    """requiredScopes and a claim matcher on scope mean the same claim; a nested scope is another one."""
    rules = translate_rules(
        JWTPolicyConfig(
            claims=(
                ClaimMatcher(key="scope", values=("read",)),
                ClaimMatcher(key="a/scope", values=("read",), nested_claim_delimiter="/"),
            ),
            required_scopes=("write",),
        )
    )

    assert [(rule.path, rule.words) for rule in rules] == [
        (("scope",), True),
        (("a", "scope"), False),
        (("scope",), True),
    ]
    assert rules[2].values == (ClaimPattern(PatternKind.EXACT, "write"),)


def test_every_required_scope_is_a_rule_of_its_own() -> None:
    """All must be there, so they are not alternatives of one rule."""
    assert len(translate_rules(JWTPolicyConfig(required_scopes=("a", "b")))) == 2


def test_a_star_in_a_scope_is_a_plain_character() -> None:
    """Scopes have no wildcards: a token with any other scope must not pass."""
    (rule,) = translate_rules(JWTPolicyConfig(required_scopes=("*",)))

    assert rule.values == (ClaimPattern(PatternKind.EXACT, "*"),)


@pytest.mark.parametrize(
    ("matcher", "path", "words"),
    [
        pytest.param(ClaimMatcher(values=("x",)), ".key", "has not 1 to 256", id="no-key"),
        pytest.param(ClaimMatcher(key="k" * 257, values=("x",)), ".key", "has not 1 to 256", id="long-key"),
        pytest.param(
            ClaimMatcher(key="a..b", values=("x",), nested_claim_delimiter="."), ".key", "empty part", id="empty-part"
        ),
        pytest.param(ClaimMatcher(key="a"), "", "neither values nor notValues", id="no-values"),
        pytest.param(ClaimMatcher(key="a", values=("",)), ".values[0]", "has not 1 to 256", id="empty-value"),
        pytest.param(
            ClaimMatcher(key="a", not_values=("ok", "v" * 257)), ".notValues[1]", "has not 1 to 256", id="long-value"
        ),
        pytest.param(ClaimMatcher(key="a", values=("x*y",)), ".values[0]", "a * is possible", id="star-inside"),
        pytest.param(ClaimMatcher(key="a", values=("*x*",)), ".values[0]", "a * is possible", id="stars-around"),
        pytest.param(ClaimMatcher(key="a", values=("**",)), ".values[0]", "a * is possible", id="two-stars"),
    ],
)
def test_a_mistake_in_a_claim_is_found_at_its_field(matcher: ClaimMatcher, path: str, words: str) -> None:
    """One problem, with the field's path."""
    ((where, message),) = problems(matcher)

    assert where == f"spec.config.claims[0]{path}"
    assert words in message


def test_the_longest_key_and_value_are_allowed() -> None:
    """The limits themselves are within the limits."""
    assert problems(ClaimMatcher(key="k" * MAX_LENGTH, values=("v" * MAX_LENGTH,))) == []
    assert problems(scopes=("s" * MAX_LENGTH,)) == []


def test_a_claim_that_is_there_twice_is_told_once() -> None:
    """The second one is named: a reader would take two entries for alternatives."""
    once = ClaimMatcher(key="org", values=("a",))

    assert [path for path, _ in problems(once, once)] == ["spec.config.claims[1].key"]


@pytest.mark.parametrize(
    ("scopes", "index", "words"),
    [
        pytest.param(("",), 0, "is no scope", id="empty"),
        pytest.param(("a", "b c"), 1, "is no scope", id="space"),
        pytest.param(("s" * 257,), 0, "is no scope", id="long"),
        pytest.param(("a", "b", "a"), 2, "a is there twice", id="twice"),
    ],
)
def test_a_mistake_in_a_scope_is_found_at_its_index(scopes: tuple[str, ...], index: int, words: str) -> None:
    """One problem, with the index."""
    ((where, message),) = problems(scopes=scopes)

    assert where == f"spec.config.requiredScopes[{index}]"
    assert words in message
