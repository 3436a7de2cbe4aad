"""Rules for claims as RBAC principals: true for a request that is to be refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
import re2
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from meshpass.envoy.claim_rule import build_payload_principal, quote_re2
from meshpass.ir import ClaimPattern, ClaimRule, PatternKind

KEY = "payload-1"
PRESENT = {"presentMatch": True}


def build(*rules: ClaimRule) -> dict[str, Any]:
    return MessageToDict(build_payload_principal(KEY, rules))


def leaf(value: dict[str, Any], *path: str) -> dict[str, Any]:
    """What the builder is expected to write for one comparison; the metadata is the verified payload's."""
    matcher = {
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": segment} for segment in (KEY, *path)],
        "value": value,
    }
    return {"sourcedMetadata": {"metadataMatcher": matcher}}


def kept(*rules: ClaimRule) -> dict[str, Any]:
    """The part that says what a payload must be like."""
    present, refused = build(*rules)["andIds"]["ids"]
    assert present == leaf(PRESENT), "a request without this payload is none of this principal's business"
    return refused["notId"]


def rule(kind: PatternKind, value: str = "", **fields: Any) -> ClaimRule:
    return ClaimRule(path=("org",), values=(ClaimPattern(kind, value),), **fields)


def test_presence_is_one_comparison() -> None:
    """Of whatever type the claim is."""
    assert kept(rule(PatternKind.ANY)) == leaf(PRESENT, "org")


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        pytest.param(PatternKind.EXACT, {"exact": "abc"}, id="exact"),
        pytest.param(PatternKind.PREFIX, {"prefix": "abc"}, id="prefix"),
        pytest.param(PatternKind.SUFFIX, {"suffix": "abc"}, id="suffix"),
    ],
)
def test_text_is_compared_alone_and_as_an_element_of_a_list(kind: PatternKind, match: dict[str, str]) -> None:
    """Either of the two is enough."""
    found = kept(rule(kind, "abc"))

    text = {"stringMatch": match}
    assert found == {"orIds": {"ids": [leaf(text, "org"), leaf({"listMatch": {"oneOf": text}}, "org")]}}


@pytest.mark.parametrize(
    ("value", "matcher"),
    [
        pytest.param("true", {"boolMatch": True}, id="true"),
        pytest.param("false", {"boolMatch": False}, id="false"),
        pytest.param("42", {"doubleMatch": {"exact": 42.0}}, id="whole"),
        pytest.param("-1.5e3", {"doubleMatch": {"exact": -1500.0}}, id="fraction"),
    ],
)
def test_a_value_that_reads_as_another_type_is_compared_as_that_too(value: str, matcher: dict[str, Any]) -> None:
    """A policy has only texts for what a token has as numbers and booleans."""
    ids = kept(rule(PatternKind.EXACT, value))["orIds"]["ids"]

    assert ids[2:] == [leaf(matcher, "org"), leaf({"listMatch": {"oneOf": matcher}}, "org")]


@pytest.mark.parametrize("value", ["True", "01", "1.", ".5", "0x10", "1_000", "NaN", "Infinity", "", "+1", " 1"])
def test_a_value_that_is_no_json_literal_is_text_alone(value: str) -> None:
    """Python would read some of these as numbers."""
    assert len(kept(rule(PatternKind.EXACT, value))["orIds"]["ids"]) == 2


def test_a_prefix_of_digits_is_no_number() -> None:
    """A pattern compares text."""
    assert len(kept(rule(PatternKind.PREFIX, "4"))["orIds"]["ids"]) == 2


def test_any_value_will_do_and_every_rule_must_hold() -> None:
    """Values are alternatives; rules are not."""
    several = ClaimRule(path=("a", "b"), values=(ClaimPattern(PatternKind.ANY), ClaimPattern(PatternKind.EXACT, "x")))
    found = kept(several, rule(PatternKind.ANY))

    first, second = found["andIds"]["ids"]
    assert first["orIds"]["ids"][0] == leaf(PRESENT, "a", "b")
    assert len(first["orIds"]["ids"]) == 2
    assert second == leaf(PRESENT, "org")


def test_what_a_claim_must_not_be_is_negated_one_by_one() -> None:
    """And is beside the values, not among them."""
    both = ClaimRule(
        path=("org",),
        values=(ClaimPattern(PatternKind.ANY),),
        not_values=(ClaimPattern(PatternKind.EXACT, "x"), ClaimPattern(PatternKind.ANY)),
    )
    ids = kept(both)["andIds"]["ids"]

    assert ids[0] == leaf(PRESENT, "org")
    assert "orIds" in ids[1]["notId"]
    assert ids[2] == {"notId": leaf(PRESENT, "org")}


def test_a_rule_that_only_forbids_has_no_values_to_match() -> None:
    """An empty set of alternatives would never hold."""
    forbidding = ClaimRule(path=("org",), not_values=(ClaimPattern(PatternKind.ANY),))

    assert kept(forbidding) == {"notId": leaf(PRESENT, "org")}


def words_regex(kind: PatternKind, value: str) -> str:
    ids = kept(rule(kind, value, words=True))["orIds"]["ids"]
    return ids[0]["sourcedMetadata"]["metadataMatcher"]["value"]["stringMatch"]["safeRegex"]["regex"]


@pytest.mark.parametrize(
    ("kind", "text", "matches"),
    [
        pytest.param(PatternKind.EXACT, "is:dev", True, id="alone"),
        pytest.param(PatternKind.EXACT, "a is:dev b", True, id="between"),
        pytest.param(PatternKind.EXACT, "a is:dev", True, id="last"),
        pytest.param(PatternKind.EXACT, "is:dev b", True, id="first"),
        pytest.param(PatternKind.EXACT, "is:developer", False, id="longer"),
        pytest.param(PatternKind.EXACT, "this:dev", False, id="part"),
        pytest.param(PatternKind.EXACT, "", False, id="empty"),
        pytest.param(PatternKind.EXACT, "a\nis:dev", False, id="line"),
        pytest.param(PatternKind.EXACT, "a\nb is:dev", True, id="line-before"),
        pytest.param(PatternKind.PREFIX, "a is:developer b", True, id="prefix"),
        pytest.param(PatternKind.PREFIX, "this:dev", False, id="prefix-inside"),
        pytest.param(PatternKind.SUFFIX, "a this:dev b", True, id="suffix"),
        pytest.param(PatternKind.SUFFIX, "is:developer", False, id="suffix-inside"),
    ],
)
def test_words_are_compared_whole(kind: PatternKind, text: str, matches: bool) -> None:
    """By the expression that Envoy gets, with the library that Envoy has."""
    assert (re2.fullmatch(words_regex(kind, "is:dev"), text) is not None) is matches


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_a_quoted_text_matches_itself_and_nothing_else_of_its_length(text: str) -> None:
    """Whatever would be an operator in it is a character."""
    quoted = quote_re2(text)

    assert re2.fullmatch(quoted, text)
    assert not re2.fullmatch(quoted, "\x00" * len(text))
    assert re.fullmatch(r"(?:[A-Za-z0-9]|\\x\{[0-9a-f]+\})+", quoted)


def test_presence_has_no_text() -> None:
    """A pattern for any value never gets to the comparison of words."""
    assert kept(rule(PatternKind.ANY, words=True)) == leaf(PRESENT, "org")
