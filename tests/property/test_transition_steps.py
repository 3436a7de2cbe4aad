"""Properties of the way from one Snapshot to another: each step is whole, closes nothing open and opens nothing closed."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.property.core_strategies import meshes, policies
from tests.support.objects import build_snapshots, key_of, object_set, translate_objects
from tests.support.reading import DENIED, OPEN, Reading, same_bytes

from meshpass.envoy.snapshot import TYPE_URL_ORDER, Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.memo import Memo


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Two meshes: any two, or one and the same with other policies, which is what mostly happens."""
    before = draw(meshes())
    if draw(st.booleans()):
        return before, draw(meshes())
    kept = [raw for raw in before if raw["kind"] != "JWTPolicy" or draw(st.booleans())]
    new = draw(st.lists(policies(), max_size=2))
    return before, list({key_of(raw): raw for raw in (*kept, *new)}.values())


def plan(pair: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> list[tuple[Snapshot, tuple[Snapshot, ...]]]:
    """For each proxy, what it has and the steps to what it shall have."""
    memo = Memo()
    before, after = (build_snapshots(translate_objects(object_set(*mesh), memo), memo) for mesh in pair)
    return [(before[node], plan_transition(before[node], after[node], memo)) for node in before]


@given(pairs())
def test_each_step_is_whole_and_as_safe_as_both_ends(
    pair: tuple[list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    """(e) In each step every reference resolves; a route has the requirement of one of the ends, or a denial of one.

    So what both sides close is never open, what both allow is never denied, and a token that both take is never refused.
    """
    for current, steps in plan(pair):
        ends = [Reading(current).route_verdicts(), Reading(steps[-1]).route_verdicts()]
        for step in steps:
            reading = Reading(step)
            assert reading.dangling() == []
            for name, verdict in reading.route_verdicts().items():
                meant = [end[name] for end in ends if name in end]
                assert meant, "a route of neither side"
                assert verdict in meant or (verdict == DENIED and DENIED in meant)
                if OPEN not in meant:
                    assert verdict != OPEN
                if DENIED not in meant:
                    assert verdict != DENIED


@given(pairs())
def test_what_is_sent_by_type_is_whole_at_every_moment(
    pair: tuple[list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    """(e) Between two steps as well: Envoy has, type by type in sending order, the new of some types and the old of others.

    Resources are removed only after all that is new has come. A cluster waits for its endpoints and secrets, a listener for
    its routes: they come next.
    """
    for current, steps in plan(pair):
        has = current
        for step in steps:
            for upto in range(1, len(TYPE_URL_ORDER) + 1):
                mixed = {
                    type_url: {**has.of(type_url), **(step.of(type_url) if index < upto else {})}
                    for index, type_url in enumerate(TYPE_URL_ORDER)
                }
                wrong = Reading(Snapshot(proxy=step.proxy, resources=mixed)).dangling()
                assert set(wrong) <= Reading(step).awaited()
            has = step


@given(pairs())
def test_a_transition_ends_at_the_target_and_repeats_nothing(
    pair: tuple[list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    """The last step is the target itself, no step repeats the one before, and there are four at most.

    Seven where routes change together with what their classes mean.
    """
    for current, steps in plan(pair):
        renamed = any("+" in name for step in steps for name in Reading(step).verdicts())
        assert 1 <= len(steps) <= (7 if renamed else 4)
        for one, next_one in zip((current, *steps), steps[:-1], strict=False):
            assert not same_bytes(one, next_one)


@given(meshes())
def test_without_a_change_there_is_one_step(mesh: list[dict[str, Any]]) -> None:
    """From a Snapshot to itself, and to a proxy that has nothing, there is nothing to plan."""
    memo = Memo()
    for snapshot in build_snapshots(translate_objects(object_set(*mesh), memo), memo).values():
        assert plan_transition(snapshot, snapshot, memo) == (snapshot,)
        assert plan_transition(None, snapshot, memo) == (snapshot,)


@given(pairs())
def test_a_transition_broken_off_anywhere_goes_on_safely(
    pair: tuple[list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    """From any step back to where it came from: the same holds, since a newer target may come at any time."""
    for current, steps in plan(pair):
        memo = Memo()
        for broken_off in steps:
            ends = [Reading(broken_off).route_verdicts(), Reading(current).route_verdicts()]
            for step in plan_transition(broken_off, current, memo):
                reading = Reading(step)
                assert reading.dangling() == []
                for name, verdict in reading.route_verdicts().items():
                    meant = [end[name] for end in ends if name in end]
                    assert verdict in meant
