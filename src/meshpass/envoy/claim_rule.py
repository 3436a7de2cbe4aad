"""ClaimRule → RBAC principals over the verified payload."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import assert_never

from envoy.config.rbac.v3.rbac_pb2 import Principal
from envoy.type.matcher.v3.number_pb2 import DoubleMatcher
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.matcher.v3.value_pb2 import ListMatcher, ValueMatcher

from meshpass.envoy.rbac import all_of, any_of, in_payload
from meshpass.ir import ClaimPattern, ClaimRule, PatternKind

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")  # RFC 8259 §6


def build_payload_principal(payload_key: str, rules: Iterable[ClaimRule]) -> Principal:
    """True for a request that has a payload under the key which breaks one of the rules."""
    present = in_payload(payload_key, (), ValueMatcher(present_match=True))
    kept = all_of([_holds(payload_key, rule) for rule in rules])
    return all_of([present, Principal(not_id=kept)])


def _holds(payload_key: str, rule: ClaimRule) -> Principal:
    conditions = []
    if rule.values:
        conditions.append(any_of(_matches(payload_key, rule, pattern) for pattern in rule.values))
    conditions.extend(Principal(not_id=_matches(payload_key, rule, pattern)) for pattern in rule.not_values)
    return all_of(conditions)


def _matches(payload_key: str, rule: ClaimRule, pattern: ClaimPattern) -> Principal:
    """The claim, or an element of it, is like the pattern. Numbers and booleans are compared as what they are."""
    if pattern.kind is PatternKind.ANY:
        return in_payload(payload_key, rule.path, ValueMatcher(present_match=True))
    element = _build_string(pattern)
    values = [
        ValueMatcher(string_match=_build_words(pattern) if rule.words else element),
        ValueMatcher(list_match=ListMatcher(one_of=ValueMatcher(string_match=element))),
    ]
    for exact in _other_types(pattern):
        values += [exact, ValueMatcher(list_match=ListMatcher(one_of=exact))]
    return any_of(in_payload(payload_key, rule.path, value) for value in values)


def _other_types(pattern: ClaimPattern) -> Iterable[ValueMatcher]:
    if pattern.kind is not PatternKind.EXACT:
        return
    if pattern.value in {"true", "false"}:
        yield ValueMatcher(bool_match=pattern.value == "true")
    if _NUMBER.fullmatch(pattern.value):
        yield ValueMatcher(double_match=DoubleMatcher(exact=float(pattern.value)))


def _build_string(pattern: ClaimPattern) -> StringMatcher:
    match pattern.kind:
        case PatternKind.EXACT:
            return StringMatcher(exact=pattern.value)
        case PatternKind.PREFIX:
            return StringMatcher(prefix=pattern.value)
        case PatternKind.SUFFIX:
            return StringMatcher(suffix=pattern.value)
        case PatternKind.ANY:
            raise AssertionError("presence is no comparison of text")
        case _:  # pragma: no cover
            assert_never(pattern.kind)


def _build_words(pattern: ClaimPattern) -> StringMatcher:
    """Any word of a text whose words are divided by spaces."""
    before = "[^ ]*" if pattern.kind is PatternKind.SUFFIX else ""
    after = "[^ ]*" if pattern.kind is PatternKind.PREFIX else ""
    word = f"{before}{quote_re2(pattern.value)}{after}"
    return StringMatcher(safe_regex=RegexMatcher(regex=f"(?s)(?:.* )?{word}(?: .*)?"))


def quote_re2(text: str) -> str:
    """``text`` as an RE2 expression that matches just it."""
    return "".join(
        character if character.isascii() and character.isalnum() else f"\\x{{{ord(character):x}}}" for character in text
    )
