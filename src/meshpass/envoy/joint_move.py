"""Ports of which several things change at once: the tokens that they require, who may call them, and their listener.

Those are several resources, which Envoy switches one after the other: between two of them, what both sides refuse could
pass, or what both let pass could be refused. So on the way what both sides require is required, then what both sides allow
is allowed; only then the listener is switched; and then the old side's are dropped the other way round. A request that both
sides let pass has what both require, so the rules of either side find the tokens that they look for.

Other names for such classes would be no way: a connection keeps the class that it began with.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from meshpass.envoy.access_move import allow_by_both, allow_by_new, who_may_call
from meshpass.envoy.class_move import known_classes
from meshpass.envoy.kept_token import Requirements
from meshpass.ir import PhasePolicies, PolicySet

Steps = tuple[PolicySet, ...]


def joint_classes(old: PolicySet, new: PolicySet, *, listeners: bool) -> frozenset[str]:
    """The classes of which more than one thing changes; ``listeners``: one of the things is their listener."""
    found = set()
    for name in known_classes(old) & (new.pre.requirements.keys() | new.post.requirements.keys()):
        required = _required(old, name) != _required(new, name)
        allowed = who_may_call(old.access.get(name)) != who_may_call(new.access.get(name))
        if required + allowed + listeners > 1:
            found.add(name)
    return frozenset(found)


def move_jointly(
    old: PolicySet, new: PolicySet, ways: Steps, joint: frozenset[str], moving: frozenset[str]
) -> tuple[Steps, Steps]:
    """The steps before the listeners are switched, and those after; then comes the target.

    ``ways`` are the steps to what the new side requires: one, or, with classes that are ``moving`` to the other phase,
    those of ``phase_move``, in whose third both phases require what they do on both sides.
    """
    direct = joint - moving
    steps = tuple(_require_both(step, old, new, direct) for step in ways)
    first, second = (steps[:3], steps[3:-1]) if moving else (steps, ())
    both = allow_by_both(first[-1].access, new.access, joint)
    settled = allow_by_new(both, new.access, joint)
    before = (*first, replace(first[-1], access=both))
    after = (replace(first[-1], access=settled), *(replace(step, access=settled) for step in second))
    return before, after


def _required(policies: PolicySet, name: str) -> tuple[object, ...]:
    return (policies.pre.requirements.get(name), policies.post.requirements.get(name), name in policies.denied)


def _require_both(step: PolicySet, old: PolicySet, new: PolicySet, names: frozenset[str]) -> PolicySet:
    return replace(
        step,
        pre=_require_both_in_phase(step.pre, old.pre, new.pre, names),
        post=_require_both_in_phase(step.post, old.post, new.post, names),
    )


def _require_both_in_phase(
    step: PhasePolicies, old: PhasePolicies, new: PhasePolicies, names: frozenset[str]
) -> PhasePolicies:
    both = {name: _both(old.requirements.get(name, ()), new.requirements.get(name, ())) for name in names}
    if all(step.requirements.get(name, ()) == requirements for name, requirements in both.items()):
        return step
    requirements = {**step.requirements, **both}
    known = {provider.name: provider for provider in (*old.providers, *new.providers, *step.providers)}
    needed = sorted({name for all_of in requirements.values() for one in all_of for name in one.providers})
    return replace(step, requirements=MappingProxyType(requirements), providers=tuple(known[name] for name in needed))


def _both(old: Requirements, new: Requirements) -> Requirements:
    return (*(one for one in old if one not in new), *new)
