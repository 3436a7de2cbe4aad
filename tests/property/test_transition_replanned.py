"""Ways that are left for a newer target, also from a step that Envoy took in part: what a request is answered meanwhile."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st
from tests.support.churn import ASKS, EDITS, World, mean
from tests.support.model_envoy import ModelEnvoy, resources_of
from tests.support.objects import BASE, CLIENT, build_snapshots, object_set, translate_objects

from meshpass.envoy.snapshot import LISTENER, ROUTES, Resource, Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.memo import Memo

KINDS = ("phase", "phase", "keys", "validation", "claims", "rival", "relabel", "delete", "everything")
"""Edits; most of those that make a long way, and some that are made meanwhile."""


def snapshot(world: World, memo: Memo) -> Snapshot:
    objects = [*world.tables().values(), *(policy.manifest(name) for name, policy in world.policies.items())]
    return build_snapshots(translate_objects(object_set(BASE, *objects), memo), memo)[CLIENT]


def changed(model: ModelEnvoy, step: Snapshot) -> list[Resource]:
    has = model.has
    return [
        one
        for one in resources_of(step)
        if (held := has.get((one.type_url, one.name))) is None or held.version != one.version
    ]


def judge(model: ModelEnvoy, worlds: Sequence[World]) -> Iterator[str]:
    """What no world around the moment means."""
    for ask in dict.fromkeys(ASKS):
        outcome, meant = model.ask(ask), [mean(world, ask) for world in worlds]
        if outcome.passed not in {one.passed for one in meant}:
            yield f"{ask}: {outcome}, which none of {len(meant)} worlds means"
        holding = [world.holding(ask.host) for world in worlds]
        # The model knows nothing of the script that removes tokens which failed and were let pass.
        certain = ask.token and all(one is None or one.verifies(ask.token) for one in holding)
        if certain and outcome.passed and not any(one.left is None or outcome.left <= one.left for one in meant):
            yield f"{ask}: the token is sent on"


def take(model: ModelEnvoy, resources: Sequence[Resource], worlds: Sequence[World]) -> None:
    for resource in resources:
        model.take(resource)
        assert list(judge(model, worlds)) == [], f"after {resource.name}"


def ordered(resources: Sequence[Resource], chosen: random.Random) -> list[Resource]:
    """What refers to the others last, as it is sent; any order within each of the two."""
    return sorted(resources, key=lambda one: (one.type_url in {LISTENER, ROUTES}, chosen.random()))


def accepted(model: ModelEnvoy, planned: Snapshot) -> Snapshot:
    """What an Envoy is known to have that took a part of the step after ``planned``."""
    resources: dict[str, dict[str, Resource]] = {}
    for (type_url, name), resource in model.has.items():
        resources.setdefault(type_url, {})[name] = resource
    return replace(planned, resources=MappingProxyType(resources))


@given(st.integers(min_value=0, max_value=2**32))
def test_a_way_that_is_left_for_a_newer_target_never_refuses_nor_opens(seed: int) -> None:
    """(e) After each single resource, each request is answered as one of the targets on the way means it.

    Each way but the last is broken off, before a step or when Envoy has refused one resource of it and taken others.
    """
    chosen, memo = random.Random(seed), Memo()
    worlds = [EDITS["phase"](World(), chosen) if chosen.random() < 0.5 else World()]
    current = snapshot(worlds[0], memo)
    model = ModelEnvoy(current)
    for last in (False, False, True):
        worlds.append(EDITS[chosen.choice(KINDS)](worlds[-1], chosen))
        steps = plan_transition(current, snapshot(worlds[-1], memo), memo)
        until = len(steps) if last else chosen.randrange(len(steps) + 1)
        for step in steps[:until]:
            take(model, ordered(changed(model, step), chosen), worlds)
            for type_url, name in [key for key in model.has if key[1] not in step.of(key[0])]:
                model.drop(type_url, name)
            assert list(judge(model, worlds)) == []
            current = step
        if until < len(steps) and chosen.random() < 0.5:
            part = ordered(changed(model, steps[until]), chosen)
            take(model, part[: chosen.randrange(len(part))] if part else (), worlds)
            current = accepted(model, current)
