"""How a running Envoy is switched from one Snapshot to another: make before break, so that no request sees a gap.

A policy edit changes up to three filters, and routes name what the filters must know. Each step below is sent after
the one before is acknowledged; steps that change nothing are left out, so most edits are one step.

1. *expand*: backends, secrets, denials, and what is done with payloads, of both sides. None of these opens anything, and
   a rule for a payload acts only on a payload that a provider of its own policy wrote. Who may call (``access_move``).
2. *require*: the requirements of the target, and of classes that only routes of the old side still carry. A class whose
   token is verified in another phase than before gets there in steps of its own (``phase_move``).
3. *switch*: listeners and routes of the target. Route configurations that only the old side has are still there: an
   old listener may choose from them until its successor has all that it asks for.
4. *contract*: the target alone.

Where routes change and a class that stays changes its meaning, a route may leave the class while another joins it: then
neither the old nor the new meaning of the class is right for both of them until the routes are switched. The way goes
through classes of other names (``class_move``), and the steps are those to there and from there. A port of a workload of
which several things change has steps of its own before and after its listener is switched (``joint_move``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Protocol, TypeVar

from meshpass.envoy.access_move import expand_access
from meshpass.envoy.build import build_snapshot
from meshpass.envoy.class_move import known_classes, rename_contested
from meshpass.envoy.joint_move import joint_classes, move_jointly
from meshpass.envoy.phase_move import move, moving_classes
from meshpass.envoy.snapshot import Resource, Snapshot
from meshpass.ir import (
    CALLERS,
    Backend,
    InboundListener,
    Listener,
    PhasePolicies,
    PolicySet,
    Proxy,
    RouteConfiguration,
    Secret,
    TrustedAuthorities,
)
from meshpass.memo import Memo


class _HasName(Protocol):
    @property
    def name(self) -> str: ...


Named = TypeVar("Named", bound=_HasName)

Plan = Callable[[Snapshot | None, Snapshot], tuple[Snapshot, ...]]


def plan_transition(current: Snapshot | None, target: Snapshot, memo: Memo) -> tuple[Snapshot, ...]:
    """The steps from what an Envoy has to what it shall have; the last is the target."""
    if current is None or current.proxy is target.proxy:
        return (target,)
    between = rename_contested(current.proxy, target.proxy)
    ends = (current.proxy, target.proxy) if between is None else (current.proxy, between, target.proxy)
    steps = [step for old, new in pairwise(ends) for step in _plan_proxies(old, new, memo)]
    snapshots = [build_snapshot(step, memo) for step in steps[:-1]]
    return (*_without_repeats(current, snapshots), target)


def _plan_proxies(old: Proxy, new: Proxy, memo: Memo) -> tuple[Proxy, ...]:
    expanded = replace(
        old,
        backends=memo(_union_backends, old.backends, new.backends),
        application=memo(_union_backends, old.application, new.application),
        secrets=memo(_union_secrets, old.secrets, new.secrets, new.listeners),
        policies=memo(_expand, old.policies, new.policies),
        inbound_policies=memo(_expand, old.inbound_policies, new.inbound_policies),
    )
    outbound = memo(_require, old.policies, new.policies)
    inbound, settled = memo(_plan_inbound, old.inbound_policies, new.inbound_policies, old.listeners != new.listeners)
    required = [
        replace(expanded, policies=policies, inbound_policies=inbound_policies)
        for policies, inbound_policies in _pair(outbound, inbound)
    ]
    switched = replace(required[-1], listeners=new.listeners, routes=memo(_union_routes, old.routes, new.routes))
    return (expanded, *required, switched, *(replace(switched, inbound_policies=one) for one in settled), new)


def _plan_inbound(
    old: PolicySet, new: PolicySet, listeners: bool
) -> tuple[tuple[PolicySet, ...], tuple[PolicySet, ...]]:
    """The steps before the listeners are switched, and those after; ``listeners``: they change."""
    ways = _require(old, new)
    joint = joint_classes(old, new, listeners=listeners) if old is not new else frozenset()
    return move_jointly(old, new, ways, joint, moving_classes(old, ways[-1])) if joint else (ways, ())


def _pair(one: tuple[PolicySet, ...], other: tuple[PolicySet, ...]) -> Iterator[tuple[PolicySet, PolicySet]]:
    """Both sides of the proxy step by step; the one that has arrived waits for the other."""
    for index in range(max(len(one), len(other))):
        yield one[min(index, len(one) - 1)], other[min(index, len(other) - 1)]


def _without_repeats(current: Snapshot, steps: list[Snapshot]) -> list[Snapshot]:
    kept = []
    for step in steps:
        if not _same_resources(current, step):
            kept.append(step)
            current = step
    return kept


def _same_resources(one: Snapshot, other: Snapshot) -> bool:
    return all(_same_versions(one.of(type_url), other.of(type_url)) for type_url in other.resources)


def _same_versions(one: Mapping[str, Resource], other: Mapping[str, Resource]) -> bool:
    if one is other:
        return True
    return one.keys() == other.keys() and all(one[name].version == other[name].version for name in one)


def _union_backends(old: tuple[Backend, ...], new: tuple[Backend, ...]) -> tuple[Backend, ...]:
    return _union(old, new)


def _union_secrets(
    old: tuple[Secret, ...], new: tuple[Secret, ...], listeners: tuple[Listener, ...]
) -> tuple[Secret, ...]:
    """Of identities that may answer, both sides': the old ones do until their endpoints are gone.

    Who may call is what the new side says, from the first step on.
    """
    before = {secret.name: secret for secret in old}
    for listener in listeners:
        if isinstance(listener, InboundListener):
            before.pop(listener.callers or CALLERS, None)
    return _union(old, tuple(_accept_both(before.get(secret.name), secret) for secret in new))


def _accept_both(old: Secret | None, new: Secret) -> Secret:
    if not isinstance(old, TrustedAuthorities) or not isinstance(new, TrustedAuthorities):
        return new
    if old.identities is None or new.identities is None or set(old.identities) <= set(new.identities):
        return new
    return replace(new, identities=tuple(sorted({*old.identities, *new.identities})))


def _union_routes(
    old: tuple[RouteConfiguration, ...], new: tuple[RouteConfiguration, ...]
) -> tuple[RouteConfiguration, ...]:
    return _union(old, new)


def _union(old: tuple[Named, ...], new: tuple[Named, ...]) -> tuple[Named, ...]:
    """The parts of both sides, sorted by name; of one that both have, the new one."""
    by_name = {part.name: part for part in (*old, *new)}
    return new if len(by_name) == len(new) else tuple(by_name[name] for name in sorted(by_name))


def _expand(old: PolicySet, new: PolicySet) -> PolicySet:
    """The requirements of the old side; of both sides, denials and what is done after verification."""
    if old is new:
        return old
    expanded = PolicySet(
        pre=_expand_phase(old.pre, new.pre),
        post=_expand_phase(old.post, new.post),
        denied=old.denied | new.denied,
        access=expand_access(old.access, new.access, known_classes(old)),
        sources=new.sources if old.sources <= new.sources else old.sources | new.sources,
    )
    # The same object where it says the same, here and below: its filters are built already.
    return old if expanded == old else expanded


def _expand_phase(old: PhasePolicies, new: PhasePolicies) -> PhasePolicies:
    if old is new or _same_after(old, new):
        return old
    return replace(
        old,
        payloads=MappingProxyType({**old.payloads, **new.payloads}),
        failed=MappingProxyType({**old.failed, **new.failed}),
        stripped=old.stripped | new.stripped,
        rerouted=old.rerouted | new.rerouted,
    )


def _require(old: PolicySet, new: PolicySet) -> tuple[PolicySet, ...]:
    """The requirements of the new side, and of the old side for classes that the new side no longer has.

    In one step, unless a class moves to the other phase.
    """
    if old is new:
        return (old,)
    expanded = _expand(old, new)
    last = replace(
        expanded,
        pre=_require_phase(expanded.pre, old.pre, new.pre),
        post=_require_phase(expanded.post, old.post, new.post),
    )
    moving = moving_classes(old, last)
    if moving:
        return move(old, last, moving)
    return (new,) if last == new else (last,)


def _same_after(old: PhasePolicies, new: PhasePolicies) -> bool:
    """True when both do the same after verification."""
    return (old.payloads, old.failed, old.stripped, old.rerouted) == (
        new.payloads,
        new.failed,
        new.stripped,
        new.rerouted,
    )


def _require_phase(expanded: PhasePolicies, old: PhasePolicies, new: PhasePolicies) -> PhasePolicies:
    if old.requirements.keys() <= new.requirements.keys():
        # Nothing of the old side is left to require, so the filter is the target's: the same object, built once.
        return (
            new
            if _same_after(expanded, new)
            else replace(expanded, requirements=new.requirements, providers=new.providers)
        )
    requirements = {**old.requirements, **new.requirements}
    needed = {name for all_of in requirements.values() for one in all_of for name in one.providers}
    providers = {provider.name: provider for provider in (*old.providers, *new.providers)}
    return replace(
        expanded,
        requirements=MappingProxyType(requirements),
        providers=tuple(providers[name] for name in sorted(needed)),
    )
