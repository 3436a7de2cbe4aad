"""Objects that change while no control plane is there: what a request is answered while the Envoy is told."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.test_transition_replanned import KINDS, changed, judge, ordered, snapshot
from tests.support.churn import ASKS, EDITS, World, mean
from tests.support.model_envoy import ModelEnvoy
from tests.support.model_stream import NODE, ModelStream

from meshpass.envoy.snapshot import Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.memo import Memo
from meshpass.xds.cache import SnapshotCache
from meshpass.xds.memory import Plan
from meshpass.xds.stream import AdsStream

seeds = st.integers(min_value=0, max_value=2**32)


def planner(memo: Memo) -> Plan:
    return lambda current, target: plan_transition(current, target, memo)


def edited(world: World, chosen: random.Random) -> World:
    for _ in range(chosen.choice((1, 1, 2, 3))):
        world = EDITS[chosen.choice(KINDS)](world, chosen)
    return world


def let_in(model: ModelEnvoy, worlds: Sequence[World]) -> list[str]:
    """Who is let in although no world means it."""
    return [
        f"{ask}: {outcome}"
        for ask in dict.fromkeys(ASKS)
        if (outcome := model.ask(ask)).passed and not any(mean(world, ask).passed for world in worlds)
    ]


def neither_let_in_nor_refused(model: ModelEnvoy, worlds: Sequence[World]) -> list[str]:
    return list(judge(model, worlds))


def go_some_way(model: ModelEnvoy, current: Snapshot, target: Snapshot, chosen: random.Random) -> None:
    """Some steps of the way, and perhaps a part of the next."""
    for step in plan_transition(current, target, Memo())[: chosen.randrange(8)]:
        resources = ordered(changed(model, step), chosen)
        until = len(resources) if chosen.random() < 0.8 else chosen.randrange(len(resources) + 1)
        for resource in resources[:until]:
            model.take(resource)
        if until < len(resources):
            return


def tell(
    model: ModelEnvoy,
    cache: SnapshotCache,
    worlds: list[World],
    chosen: random.Random,
    wrong: Callable[[ModelEnvoy, Sequence[World]], list[str]],
) -> None:
    """A new control plane tells the Envoy; once more, something changes meanwhile. In the end, all is as it has to be."""
    memo = Memo()

    def took(name: str) -> None:
        assert wrong(model, worlds) == [], f"after {name}"

    client = ModelStream(AdsStream(planner(memo), cache.recall), model, took)
    target = snapshot(worlds[-1], memo)
    cache.set(target)
    if chosen.random() < 0.5:
        client.retarget(target)
        client.resume()
    else:
        client.resume()
        client.retarget(target)
    if not client.answer(chosen.randrange(12)):
        worlds.append(edited(worlds[-1], chosen))
        target = snapshot(worlds[-1], memo)
        client.retarget(target)
    client.answer()
    assert client.stream.in_sync
    assert judge_all(model, worlds[-1]) == []


def judge_all(model: ModelEnvoy, world: World) -> list[str]:
    return list(judge(model, [world]))


@given(seeds)
def test_from_what_is_remembered_nobody_is_let_in_or_refused(seed: int) -> None:
    """The new control plane knows what was there before the outage, and finds other objects: each request is answered as
    one of the two means it, after each single resource. So it is when the Envoy had gone a part of the way.
    """
    chosen, memo = random.Random(seed), Memo()
    worlds = [edited(World(), chosen)]
    before = snapshot(worlds[0], memo)
    model, cache = ModelEnvoy(before), SnapshotCache()
    cache.set(before)
    if chosen.random() < 0.5:
        worlds.append(edited(worlds[-1], chosen))
        after = snapshot(worlds[-1], memo)
        cache.set(after)
        go_some_way(model, before, after, chosen)
    worlds.append(edited(worlds[-1], chosen))
    tell(model, cache, worlds, chosen, neither_let_in_nor_refused)


@given(seeds)
def test_from_what_nobody_knows_nobody_is_let_in(seed: int) -> None:
    """The new control plane knows nothing of the Envoy, which may be on its way between two others: what all of them
    refuse is refused after each single resource.
    """
    chosen, memo = random.Random(seed), Memo()
    worlds = [edited(World(), chosen)]
    model = ModelEnvoy(snapshot(worlds[0], memo))
    for _ in range(chosen.randrange(3)):
        worlds.append(edited(worlds[-1], chosen))
        go_some_way(model, snapshot(worlds[-2], memo), snapshot(worlds[-1], memo), chosen)
    worlds.append(edited(worlds[-1], chosen))
    tell(model, SnapshotCache(), worlds, chosen, let_in)


@settings(max_examples=30)
@given(seeds)
def test_what_is_as_it_was_is_not_sent(seed: int) -> None:
    """After an outage in which nothing changed, nothing is sent."""
    chosen, memo = random.Random(seed), Memo()
    world = edited(World(), chosen)
    model, cache = ModelEnvoy(snapshot(world, memo)), SnapshotCache()
    target = snapshot(world, Memo())
    cache.set(target)
    client = ModelStream(AdsStream(planner(memo), cache.recall), model, lambda _: None)
    client.resume()
    client.retarget(target)
    assert client.sent == []
    assert client.stream.in_sync
    assert cache.recall(NODE).given
