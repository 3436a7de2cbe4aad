"""Keys: what verifies is what the text holds, and nothing else. A text that is not understood whole verifies nothing."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.support import public_keys as pem
from tests.support.objects import (
    BASE,
    CLIENT,
    build_snapshots,
    forward,
    jwt_policy,
    object_set,
    route_table,
    translate_objects,
)
from tests.support.reading import DENIED, Reading

from meshpass.translate.keys import KeyTextError, read_key_set

GOOD = tuple(json.loads(read_key_set(text))["keys"][0] for text in (pem.P_256, pem.P_384, pem.P_521))
PEMS = (pem.P_256, pem.P_384, pem.P_521)
TABLE = route_table(hosts=["www.example.com"], http=[forward(route="httpbin")])

jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
spoiled_jwks = st.builds(
    lambda key, name, value: {**key, name: value},
    st.sampled_from(GOOD),
    st.sampled_from(["kty", "crv", "x", "y", "n", "e", "k", "d", "alg", "use", "kid"]),
    jsons,
)
key_sets = st.builds(
    lambda keys: json.dumps({"keys": keys}), st.lists(st.sampled_from(GOOD) | spoiled_jwks | jsons, max_size=4)
)
pem_texts = st.builds("\n".join, st.lists(st.sampled_from(PEMS) | st.text(max_size=40), max_size=4))
texts = key_sets | pem_texts | st.text(max_size=200)


def members(key: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(key.get(name) for name in ("kty", "crv", "x", "y"))


@given(text=texts)
def test_only_keys_that_were_given_verify(text: str) -> None:
    """No key is made up, and no private or shared part of one is passed on."""
    try:
        found = json.loads(read_key_set(text))["keys"]
    except KeyTextError:
        return
    assert found
    for key in found:
        assert members(key) in {members(good) for good in GOOD}
        assert not {"d", "k"} & key.keys()


@given(text=texts)
def test_a_policy_without_keys_denies(text: str) -> None:
    """Its routes end under its provider if there is a key, and in a denial if there is none."""
    policy = jwt_policy(config={"providers": {"dev": {"local": {"inline": text}}}})
    reading = Reading(build_snapshots(translate_objects(object_set(BASE, TABLE, policy)))[CLIENT])
    hosts = reading.route_configurations["outbound"].virtual_hosts
    (verdict,) = (reading.verdict(one.routes[0]) for one in hosts if "www.example.com" in one.domains)
    try:
        read_key_set(text)
    except KeyTextError:
        assert verdict == DENIED
    else:
        assert isinstance(verdict, frozenset)
        assert verdict
