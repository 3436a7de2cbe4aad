"""Properties of both machines of the relay together: over edits, refusals, cuts at any message and restarts, nothing is lost."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.relay_line import Follow, Held, Line, Tell

from meshpass.relay.message import read_response
from meshpass.relay.publisher import MAX_RESPONSE_BYTES
from meshpass.relay.typeurl import FACT, REVISION, TYPE_ORDER, object_type

SERVICE, POLICY = object_type("Service"), object_type("JWTPolicy")
NAMES = tuple(f"cluster{cluster}/apps/{name}" for cluster in (1, 2) for name in "abc")
PLACES = (*((type_url, name) for type_url in (SERVICE, POLICY) for name in NAMES), (FACT, "bundle"))


def make_steps(*bodies: bytes | None) -> st.SearchStrategy[list[tuple]]:
    """Edits, and what happens to the connection meanwhile."""
    edits = st.tuples(st.just("edit"), st.sampled_from(PLACES), st.sampled_from(bodies))
    step = st.one_of(
        edits,
        edits,
        st.tuples(st.just("up"), st.integers(1, 5)),
        st.tuples(st.just("down"), st.integers(1, 5)),
        st.tuples(st.just("cut"), st.booleans()),
        st.just(("settle",)),
    )
    return st.lists(step, max_size=40)


def play(steps: list[tuple]) -> tuple[Tell, Follow]:
    """Both ends after the steps, at rest."""
    tell, follow = Tell(), Follow()
    line = Line(tell, follow)
    for step in steps:
        match step:
            case ("edit", place, body):
                line.sent(tell.edit(place, body))
            case ("up", number):
                for _ in range(number):
                    line.step_up()
            case ("down", number):
                for _ in range(number):
                    line.step_down()
            case ("cut", resume):
                line.connect(resume=resume)
            case _:
                line.settle()
    line.settle()
    return tell, follow


def held_objects(held: Mapping[tuple[str, str], bytes]) -> Held:
    return {place: body for place, body in held.items() if place[0] != REVISION}


@settings(max_examples=300, deadline=None)
@given(make_steps(None, b"1", b"2", b"3", b"bad1", b"bad2"))
def test_after_any_history_the_follower_holds_what_it_was_to_hold(steps: list[tuple]) -> None:
    """At rest it holds exactly what is told, but what it refuses: of that it holds what it held last, or nothing."""
    tell, follow = play(steps)

    bad = {place for place, body in tell.wanted.items() if body.startswith(b"bad")}
    good = {place: body for place, body in tell.wanted.items() if place not in bad}
    held = held_objects(follow.held)
    assert {place: body for place, body in held.items() if place not in bad} == good
    assert held.keys() <= tell.wanted.keys()
    for cluster in ("cluster1", "cluster2"):
        refused = any(name.startswith(cluster) for _, name in bad)
        assert (follow.held.get((REVISION, cluster)) == str(tell.count).encode()) or refused


@settings(max_examples=300, deadline=None)
@given(make_steps(None, b"1", b"2", b"3"))
def test_a_label_is_never_held_without_its_objects(steps: list[tuple]) -> None:
    """Whatever is applied is one state of all that was told, never a part of one, and has the label of that state."""
    tell, follow = play(steps)

    for batch in follow.batches:
        label = batch[REVISION, "cluster1"]
        assert batch[REVISION, "cluster2"] == label
        assert held_objects(batch) == tell.states[label]


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(PLACES), st.sampled_from([b"1", b"2"])), st.data())
def test_a_reconnect_tells_what_changed_and_nothing_else(first: Held, data: st.DataObject) -> None:
    """What is sent after a cut are the resources that changed meanwhile, the labels, and the end of the batch."""
    tell, follow = Tell(), Follow()
    line = Line(tell, follow)
    for place, body in first.items():
        line.sent(tell.edit(place, body))
    line.settle()
    edits = data.draw(st.dictionaries(st.sampled_from(PLACES), st.sampled_from([None, b"1", b"2"]), max_size=3))
    before = dict(tell.wanted)
    line.connect()
    line.up.clear()  # nobody hears of the edits: the connection is cut again
    for place, body in edits.items():
        tell.edit(place, body)
    line.connect()
    for _ in range(len(TYPE_ORDER)):
        line.step_up()
    sent = [read_response(message) for message in line.down]
    changed = {place for place in {*before, *tell.wanted} if before.get(place) != tell.wanted.get(place)}

    named = {(one.type_url, resource.name) for one in sent for resource in one.resources}
    named |= {(one.type_url, name) for one in sent for name in one.removed}
    labels = {(REVISION, "cluster1"), (REVISION, "cluster2")} if edits else set()
    assert named == changed | labels | {(REVISION, "*")}


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 3000])
def test_batches_above_the_bound_are_split(size: int) -> None:
    """No response is above the bound, and the batch still counts as one."""
    tell, follow = Tell(), Follow()
    line = Line(tell, follow)
    for index in range(size):
        tell.wanted[SERVICE, f"cluster1/apps/{index}"] = b"x" * 1024
    tell.count += 1
    line.connect()
    for _ in TYPE_ORDER:
        line.step_up()
    sizes = [len(message) for message in line.down]
    line.settle()

    assert held_objects(follow.held) == tell.wanted
    assert len(follow.batches) == 1
    assert max(sizes) <= MAX_RESPONSE_BYTES
    assert len(sizes) <= 2 + sum(sizes) // (MAX_RESPONSE_BYTES - 2048)  # filled up; the end of the batch is one more
