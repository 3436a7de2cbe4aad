"""Moving the verification of a class from one phase to the other, without a moment in which no phase verifies.

The filters of the two phases are two resources, which Envoy switches one after the other. So both phases verify for a
while. The first one then leaves the token in the request, or the second would find none and refuse it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from meshpass.ir import JwtProvider, JwtRequirement, PhasePolicies, PolicySet

Requirements = Mapping[str, tuple[JwtRequirement, ...]]

KEPT = "-kept"
"""After the name of a provider: the same provider, except that it leaves the token in the request."""


def moving_classes(old: PolicySet, new: PolicySet) -> frozenset[str]:
    """The classes that are verified in one phase on the old side, and in the other on the new side."""
    if old.post.requirements == new.post.requirements:
        return frozenset()  # a class that moves is in or out of the second phase
    return frozenset(
        name
        for name in old.pre.requirements.keys() & new.pre.requirements.keys()
        if (old.pre.requirements[name] and not old.post.requirements.get(name) and new.post.requirements.get(name))
        or (new.pre.requirements[name] and not new.post.requirements.get(name) and old.post.requirements.get(name))
    )


def verify_twice(old: PolicySet, new: PolicySet, moving: frozenset[str]) -> PolicySet:
    """``new``, with the moving classes verified in both phases and their token kept by the first."""
    pre = {name: new.pre.requirements[name] or old.pre.requirements[name] for name in moving}
    post = {name: new.post.requirements[name] or old.post.requirements[name] for name in moving}
    return replace(
        new,
        pre=_with_requirements(new.pre, old.pre, {name: _keep(needed) for name, needed in pre.items()}),
        post=_with_requirements(new.post, old.post, post),
    )


def verify_once_kept(new: PolicySet, moving: frozenset[str]) -> PolicySet:
    """``new``, except that the first phase still keeps the token of the moving classes that it verifies."""
    kept = {name: _keep(new.pre.requirements[name]) for name in moving}
    return replace(new, pre=_with_requirements(new.pre, new.pre, kept))


def _with_requirements(new: PhasePolicies, old: PhasePolicies, changed: Requirements) -> PhasePolicies:
    requirements = {**new.requirements, **changed}
    known = {provider.name: provider for provider in (*old.providers, *new.providers)}
    known.update({name + KEPT: _kept(provider) for name, provider in known.items()})
    needed = sorted({name for all_of in requirements.values() for one in all_of for name in one.providers})
    return replace(
        new,
        requirements=MappingProxyType(requirements),
        providers=tuple(known[name] for name in needed),
        payloads=MappingProxyType({**old.payloads, **new.payloads}),
        failed=MappingProxyType({**old.failed, **new.failed}),
    )


def _keep(requirements: tuple[JwtRequirement, ...]) -> tuple[JwtRequirement, ...]:
    return tuple(replace(one, providers=tuple(name + KEPT for name in one.providers)) for one in requirements)


def _kept(provider: JwtProvider) -> JwtProvider:
    return replace(provider, name=provider.name + KEPT, keep_token=True)
