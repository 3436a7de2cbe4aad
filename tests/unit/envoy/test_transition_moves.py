"""Ways from one Snapshot to another on which routes leave their class, or verification leaves its phase."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from tests.support.churn import OPEN, PROTECTED, Ask, Policy, World
from tests.support.model_envoy import ModelEnvoy, resources_of
from tests.support.objects import BASE, CLIENT, build_snapshots, object_set, translate_objects
from tests.support.reading import DENIED, Reading
from tests.support.reading import OPEN as NOTHING_REQUIRED

from meshpass.envoy.snapshot import EXTENSION_CONFIG, ROUTES, Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.memo import Memo

MAIN = World().policies["main"]


def snapshot(world: World, memo: Memo) -> Snapshot:
    objects = [*world.tables().values(), *(policy.manifest(name) for name, policy in world.policies.items())]
    return build_snapshots(translate_objects(object_set(BASE, *objects), memo), memo)[CLIENT]


def plan(old: World, new: World) -> tuple[Snapshot, ...]:
    """What Envoy has, and the steps."""
    memo = Memo()
    current = snapshot(old, memo)
    return (current, *plan_transition(current, snapshot(new, memo), memo))


def is_open(step: Snapshot) -> dict[str, bool]:
    reading = Reading(step)
    found = {}
    for configuration in reading.route_configurations.values():
        for host in configuration.virtual_hosts:
            for name in (*PROTECTED, OPEN):
                if f"{name}.example.com" in host.domains:
                    (route,) = host.routes[:1]
                    found[name] = reading.verdict(route) == NOTHING_REQUIRED
    return found


def labelled(*zones: str) -> World:
    """The hosts with these labels, and the policy on the first two."""
    policy = replace(MAIN, zones=frozenset(zones[:2]))
    return World(zones=dict(zip((*PROTECTED, OPEN), zones, strict=True)), policies={"main": policy})


@pytest.mark.parametrize("zones", list(itertools.permutations(["north", "south", "east"])))
def test_routes_that_swap_labels_with_their_policy_stay_as_they_are(zones: tuple[str, str, str]) -> None:
    """Protected ones are never open, and the open one is never protected, whoever takes whose label."""
    for step in plan(labelled("north", "south", "east"), labelled(*zones)):
        assert is_open(step) == {"one": False, "two": False, "open": True}


def test_a_way_that_is_broken_off_and_turned_knows_no_name_for_two_things() -> None:
    """A newer target comes while classes have other names, with labels swapped once more."""
    old, new, newer = (
        labelled(*zones)
        for zones in (("north", "south", "east"), ("east", "south", "north"), ("south", "east", "north"))
    )
    memo = Memo()
    current = snapshot(old, memo)
    for between in plan_transition(current, snapshot(new, memo), memo):
        for step in plan_transition(between, snapshot(newer, memo), memo):
            assert is_open(step) == {"one": False, "two": False, "open": True}
            assert Reading(step).dangling() == []


def denying(*zones: str) -> World:
    """The hosts with these labels; the policy on the first, a broken one on the second, none on the third."""
    policies = {
        "main": replace(MAIN, zones=frozenset(zones[:1])),
        "rival": replace(MAIN, zones=frozenset(zones[1:2]), broken=True),
    }
    return World(zones=dict(zip((*PROTECTED, OPEN), zones, strict=True)), policies=policies)


def verdicts(step: Snapshot) -> dict[str, str]:
    reading = Reading(step)
    found = {}
    for configuration in reading.route_configurations.values():
        for host in configuration.virtual_hosts:
            for name in (*PROTECTED, OPEN):
                if f"{name}.example.com" in host.domains:
                    verdict = reading.verdict(host.routes[0])
                    found[name] = verdict if isinstance(verdict, str) else "a token is needed"
    return found


@pytest.mark.parametrize("newest", list(itertools.permutations(["north", "south", "east"])))
def test_a_denial_that_came_early_meets_no_route_of_a_newer_target(newest: tuple[str, str, str]) -> None:
    """Denials come before the routes that they are for. When the way is broken off then, others may take the label."""
    memo = Memo()
    current = snapshot(denying("north", "west", "east"), memo)
    for zones in itertools.permutations(["north", "south", "east"]):
        for between in plan_transition(current, snapshot(denying(*zones), memo), memo):
            for step in plan_transition(between, snapshot(denying(*newest), memo), memo):
                assert verdicts(step) == {"one": "a token is needed", "two": DENIED, "open": NOTHING_REQUIRED}
                assert Reading(step).dangling() == []


def test_names_change_only_where_routes_and_meanings_do() -> None:
    """A policy edit leaves the routes alone; new labels that no policy minds leave the classes' names alone."""
    old = World()
    edited = replace(old, policies={"main": replace(MAIN, keys=("other",))})
    moved = World(zones={**old.zones, OPEN: "west"})
    for new in (edited, moved):
        for step in plan(old, new):
            assert not any("+" in name for name in Reading(step).verdicts())
    assert len({resource.version for step in plan(old, edited) for resource in step.of(ROUTES).values()}) == 1


def edits(policy: Policy) -> list[Policy]:
    other = replace(policy, phase="postAuthz" if policy.phase == "preAuthz" else "preAuthz")
    return [other, replace(other, keys=("main", "other")), replace(other, source="header", keep=True)]


@pytest.mark.parametrize("phase", ["preAuthz", "postAuthz"])
@pytest.mark.parametrize("number", range(3))
def test_a_move_between_phases_changes_one_jwt_filter_at_a_time(phase: str, number: int) -> None:
    """So the order in which Envoy takes two filters over does not matter; and some phase always requires a token."""
    policy = replace(MAIN, phase=phase)
    steps = plan(World(policies={"main": policy}), World(policies={"main": edits(policy)[number]}))
    assert len(steps) >= 5
    for one, other in itertools.pairwise(steps):
        changed = [
            name
            for name, resource in other.of(EXTENSION_CONFIG).items()
            if name.endswith(".jwt") and resource.version != one.of(EXTENSION_CONFIG)[name].version
        ]
        assert len(changed) <= 1
    for step in steps:
        assert requires(step)


def requires(step: Snapshot) -> bool:
    """True when on every protected route some filter lets nothing through without a token."""
    reading = Reading(step)
    tables = [config.requirement_map for config in reading.jwt.values()]
    for configuration in reading.route_configurations.values():
        for host in configuration.virtual_hosts:
            if any(f"{name}.example.com" in host.domains for name in PROTECTED):
                name = reading.class_of(host.routes[0])
                if not any(table[name].WhichOneof("requires_type") == "provider_name" for table in tables):
                    return False
    return True


@pytest.mark.parametrize("phase", ["preAuthz", "postAuthz"])
@pytest.mark.parametrize("newer", ["other keys", "other claims", "back"])
def test_a_move_that_is_left_for_a_newer_target_refuses_no_good_token(phase: str, newer: str) -> None:
    """From each step of the move, and from each that was taken in part: the second phase may have to verify two things.

    Envoy takes what has to hold one by one, and the first provider must not take the token from the second.
    """
    first = World(policies={"main": replace(MAIN, phase=phase)})
    moved = World(policies={"main": edits(first.policies["main"])[0]})
    newest = {
        "other keys": replace(moved.policies["main"], keys=("main", "other")),
        "other claims": replace(moved.policies["main"], claims="internal"),
        "back": replace(first.policies["main"], claims="internal"),
    }
    memo = Memo()
    target = snapshot(World(policies={"main": newest[newer]}), memo)
    steps = (snapshot(first, memo), *plan_transition(snapshot(first, memo), snapshot(moved, memo), memo))
    for planned, next_one in itertools.pairwise(steps):
        for had in (planned, next_one):
            model = ModelEnvoy(had)
            for step in plan_transition(replace(had, proxy=planned.proxy), target, memo):
                for resource in resources_of(step):
                    model.take(resource)
                    for host in PROTECTED:
                        assert model.ask(Ask(host=host, token="dev")).passed
                        assert not model.ask(Ask(host=host)).passed
