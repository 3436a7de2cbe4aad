"""Moving the verification of a class from one phase to the other, without a moment in which no phase verifies.

The JWT filters of the two phases are two resources, which Envoy switches one after the other, in an order that nobody
promises. So each step on the way changes one of the two: the second phase first looks at what it will verify, but lets
all pass; then the first phase leaves tokens in the request, or the second would find none and refuse it; then the second
phase requires them; and the same the other way round. Where the second phase requires several things meanwhile, as on
the way to a newer target, each but the last leaves the token to the others. No step refuses a token that both sides accept, lets through what
both refuse, or sends a token on that both remove.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from meshpass.envoy.kept_token import Requirements, keep_name, keep_token
from meshpass.ir import Allow, JwtRequirement, PhasePolicies, PolicySet

Change = Callable[[str], Requirements]
"""Class → what a phase requires of it."""


def moving_classes(old: PolicySet, new: PolicySet) -> frozenset[str]:
    """The classes for which both phases are to require something else than before."""
    if old.post.requirements == new.post.requirements:
        return frozenset()
    return frozenset(
        name
        for name in old.pre.requirements.keys() & new.pre.requirements.keys()
        if old.pre.requirements[name] != new.pre.requirements[name]
        and old.post.requirements.get(name, ()) != new.post.requirements.get(name, ())
    )


def move(old: PolicySet, new: PolicySet, moving: frozenset[str]) -> tuple[PolicySet, ...]:
    """The way of the moving classes from the requirements of ``old`` to those of ``new``; the last step is ``new``.

    ``new`` has what is done after verification on both sides.
    """

    def before(name: str) -> Requirements:
        return old.post.requirements.get(name, ())

    def after(name: str) -> Requirements:
        return new.post.requirements.get(name, ())

    def look_ahead(name: str) -> Requirements:
        return _all_of(_lax(after(name), before(name)), before(name))

    def look_back(name: str) -> Requirements:
        return _all_of(_lax(before(name), after(name)), after(name))

    def both(name: str) -> Requirements:
        return _all_of(before(name), after(name))

    def strict(name: str) -> Requirements:
        return old.pre.requirements[name]

    def kept(name: str) -> Requirements:
        return _keep(dict.fromkeys((*old.pre.requirements[name], *new.pre.requirements[name])))

    def last(name: str) -> Requirements:
        return new.pre.requirements[name]

    ways: tuple[tuple[Change, Change], ...] = (
        (strict, look_ahead),
        (kept, look_ahead),
        (kept, both),
        (kept, look_back),
        (last, look_back),
    )
    return (*(_with(old, new, moving, pre, post) for pre, post in ways), new)


def _with(old: PolicySet, new: PolicySet, moving: frozenset[str], pre: Change, post: Change) -> PolicySet:
    return replace(
        new,
        pre=_with_requirements(new.pre, old.pre, {name: pre(name) for name in moving}),
        post=_with_requirements(new.post, old.post, {name: post(name) for name in moving}),
    )


def _with_requirements(new: PhasePolicies, old: PhasePolicies, changed: Mapping[str, Requirements]) -> PhasePolicies:
    requirements = {**new.requirements, **changed}
    known = {provider.name: provider for provider in (*old.providers, *new.providers)}
    known.update({keep_name(name): keep_token(provider) for name, provider in known.items()})
    needed = sorted({name for all_of in requirements.values() for one in all_of for name in one.providers})
    return replace(new, requirements=MappingProxyType(requirements), providers=tuple(known[name] for name in needed))


def _lax(requirements: Requirements, without: Requirements) -> Requirements:
    """What verifies and removes a token where there is one, and lets all pass."""
    return tuple(replace(one, allow=Allow.MISSING_OR_FAILED) for one in requirements if one not in without)


def _all_of(first: Requirements, last: Requirements) -> Requirements:
    """Both; the last are those that take tokens out of the request (``kept_token.leave_to_later``)."""
    return (*dict.fromkeys(one for one in first if one not in last), *last)


def _keep(requirements: Iterable[JwtRequirement]) -> Requirements:
    return tuple(replace(one, providers=tuple(map(keep_name, one.providers))) for one in requirements)
