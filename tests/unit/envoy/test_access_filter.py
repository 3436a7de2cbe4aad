"""AccessRules as Envoy's RBAC has them, and the way of a port of which several things change."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.access_model import Call, holds, like

from meshpass.envoy.access_move import allow_by_both, allow_by_new, expand_access, who_may_call
from meshpass.envoy.access_rule import build_rule
from meshpass.envoy.access_token import build_token_principal
from meshpass.envoy.glob import build_glob, build_glob_among
from meshpass.ir import EVERYBODY, AccessRule, AccessRules, Caller, Glob, TokenCaller

TEXT = st.text("ab/é.*\\", max_size=6)
PARTS = st.text("ab/é.\\", max_size=3)
KEY = "payload-1"


@given(st.lists(st.tuples(PARTS, PARTS), min_size=1, max_size=4))
def test_a_glob_matches_what_is_put_into_its_gaps(pairs: list[tuple[str, str]]) -> None:
    """Whatever characters there are in it; as a part of a list too."""
    parts = [part for part, _ in pairs]
    text = "".join(part + between for part, between in pairs[:-1]) + parts[-1]
    assert like(build_glob(Glob(tuple(parts))), text)
    assert all(
        like(build_glob_among(Glob(tuple(parts))), one) for one in (text, f"x, {text}\t,y", f"{text},", f",{text}")
    )


@given(st.lists(PARTS, min_size=1, max_size=4), TEXT)
def test_a_glob_matches_nothing_else(parts: list[str], text: str) -> None:
    """As a search for its parts, one after another, finds them."""
    assert like(build_glob(Glob(tuple(parts))), text) == _matches(parts, text)


def _matches(parts: list[str], text: str) -> bool:
    if len(parts) == 1:
        return text == parts[0]
    first, *middle, last = parts
    if not text.startswith(first):
        return False
    place = len(first)
    for part in middle:
        found = text.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return text.endswith(last) and len(text) - len(last) >= place


NAME = st.text("a/:", min_size=1, max_size=4)


@given(NAME, NAME, st.sampled_from(["exact", "prefix", "suffix"]), st.text("a/:", min_size=1, max_size=6))
def test_an_identity_is_compared_as_one_text(issuer: str, subject: str, kind: str, text: str) -> None:
    """Though issuer and subject are two claims, and any of them may have slashes."""
    glob = {"exact": Glob((text,)), "prefix": Glob((text, "")), "suffix": Glob(("", text))}[kind]
    whole = f"{issuer}/{subject}"
    # A prefix that is the whole text means a subject that begins with nothing; every token that counts has one.
    meant = {"exact": whole == text, "prefix": whole.startswith(text), "suffix": whole.endswith(text)}[kind]
    principal = build_token_principal(TokenCaller(principals=(glob,)), (KEY,))
    assert holds(principal, Call(), {KEY: (issuer, subject)}) is meant


@pytest.mark.parametrize("keys", [(), ("another",)])
def test_a_token_that_nobody_verified_is_nobodys(keys: tuple[str, ...]) -> None:
    """Without payload keys a condition against tokens holds for nobody either."""
    anyone, but = TokenCaller(principals=(Glob(("", "")),)), TokenCaller(not_principals=(Glob(("a/b",)),))
    assert not holds(build_token_principal(anyone, keys), Call(), {KEY: ("a", "b")})
    assert holds(build_token_principal(but, keys), Call(), {}) is bool(keys)


@pytest.mark.parametrize(
    ("call", "grpc", "passes"),
    [
        (Call(method="GET"), False, True),
        (Call(method="POST"), True, False),
        (Call(method="POST", headers=(("content-type", "application/grpc"),)), True, True),
        (Call(method="POST", headers=(("content-type", "application/grpc+proto"),)), True, True),
        (Call(method="POST", headers=(("content-type", "application/grpc-web"),)), True, False),
        (Call(method="POST", headers=(("content-type", "application/grpc"),)), False, False),
        (Call(method="PUT", headers=(("content-type", "application/grpc"),)), True, False),
    ],
)
def test_methods_are_not_asked_of_grpc_where_it_is_spoken(call: Call, grpc: bool, passes: bool) -> None:
    """And of everything else they are."""
    rule = AccessRule(callers=(EVERYBODY,), methods=("GET",))
    assert holds(build_rule(rule, AccessRules(rules=(rule,), grpc=grpc)), call, {}) is passes


ONE = AccessRules(rules=(AccessRule(callers=(Caller(identities=("spiffe://x/a",)),)),))
OTHER = AccessRules(rules=(), payload_keys=("new",))
KEYED = AccessRules(rules=ONE.rules, payload_keys=("old",))


def test_what_only_the_new_side_knows_is_there_first() -> None:
    """Its listener comes later. A class that the old side knows without rules gets them later, when tokens are verified."""
    assert expand_access({}, {"new": ONE}, known=()) == {"new": ONE}
    assert expand_access({}, {"new": ONE}, known=("new",)) == {}


def test_rules_that_stay_find_tokens_of_both_sides() -> None:
    """Others look where they did."""
    moved = AccessRules(rules=ONE.rules, payload_keys=("new",))
    assert expand_access({"c": KEYED}, {"c": moved}, known=("c",))["c"].payload_keys == ("new", "old")
    assert expand_access({"c": KEYED}, {"c": OTHER}, known=("c",))["c"] is KEYED
    assert who_may_call(KEYED) == who_may_call(moved) != who_may_call(ONE)


def test_both_sides_have_to_allow_in_between() -> None:
    """And where one says nothing, the other; again on the way from there to a third."""
    both = allow_by_both({"c": ONE}, {"c": OTHER}, ["c"])
    assert both == {"c": AccessRules(rules=ONE.rules, also=(OTHER,))}
    assert allow_by_both({}, {"c": OTHER}, ["c"]) == {"c": OTHER}
    assert allow_by_both({"c": ONE}, {}, ["c"]) == {"c": ONE}
    third = AccessRules(rules=None, also=(ONE,))
    assert [one.rules for one in allow_by_both(both, {"c": third}, ["c"])["c"].also] == [(), None, ONE.rules]
    assert allow_by_new(MappingProxyType(both), {}, ["c"]) == {}
