"""How many steps a proxy takes to a policy that was edited."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from tests.property.core_strategies import KEY
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

from meshpass.envoy.snapshot import EXTENSION_CONFIG, TYPE_URL_ORDER, Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.memo import Memo

TABLE = route_table(hosts=["www.example.com"], workloadSelectors=[{}], http=[forward(guard="token")])
JWT, FINISH = "meshpass.outbound.pre.jwt", "meshpass.outbound.pre.finish"
PROVIDER: dict[str, Any] = {"issuer": "https://a.example", "local": {"inline": KEY}}


def changes(*providers: dict[str, Any]) -> list[list[str]]:
    """Which filters change, step by step, on the client's way from the first provider to the second."""
    memo = Memo()
    before, after = (
        build_snapshots(translate_objects(object_set(BASE, TABLE, policy(one)), memo), memo)[CLIENT]
        for one in providers
    )
    steps = (before, *plan_transition(before, after, memo))
    assert all(same_but_filters(*pair) for pair in pairwise(steps))
    return [found for pair in pairwise(steps) if (found := changed_filters(*pair))]


def same_but_filters(old: Snapshot, new: Snapshot) -> bool:
    return all(old.of(type_url) == new.of(type_url) for type_url in TYPE_URL_ORDER if type_url != EXTENSION_CONFIG)


def changed_filters(old: Snapshot, new: Snapshot) -> list[str]:
    before = old.of(EXTENSION_CONFIG)
    return [name for name, one in new.of(EXTENSION_CONFIG).items() if one.version != before[name].version]


def policy(provider: dict[str, Any]) -> dict[str, Any]:
    return jwt_policy(
        applyToRoutes=[{"route": {"labels": {"guard": "token"}}}], config={"providers": {"dev": provider}}
    )


@pytest.mark.parametrize("source", [{}, {"tokenSource": {"queryParams": ["t"]}}, {"keepToken": True}])
@pytest.mark.parametrize("edit", [{"issuer": "https://b.example"}, {"audiences": ["b"]}, {"clockSkewSeconds": 5}])
def test_an_edit_of_what_is_verified_is_one_step_of_one_resource(source: dict[str, Any], edit: dict[str, Any]) -> None:
    """Wherever the token is: what is done after verification is the same before and after."""
    assert changes(PROVIDER | source, PROVIDER | source | edit) == [[JWT]]


def test_a_place_that_is_taken_out_of_the_query_is_known_before_it_is_looked_at() -> None:
    """Or the first requests would have their token sent on."""
    assert changes(PROVIDER, PROVIDER | {"tokenSource": {"queryParams": ["t"]}}) == [[FINISH], [JWT], [FINISH]]


def test_the_steps_of_such_an_edit_are_built_once() -> None:
    """Each step's filters are those of one of the ends, the very same."""
    memo = Memo()
    before, after = (
        build_snapshots(translate_objects(object_set(BASE, TABLE, policy(PROVIDER | {"issuer": one})), memo), memo)[
            CLIENT
        ]
        for one in ("https://a.example", "https://b.example")
    )
    ends = [id(one.of(EXTENSION_CONFIG)) for one in (before, after)]
    assert {id(step.of(EXTENSION_CONFIG)) for step in plan_transition(before, after, memo)} <= {*ends}
