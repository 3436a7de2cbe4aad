"""How a running Envoy is switched from one Snapshot to another: make before break, so that no request sees a gap.

A policy edit changes up to three filters, and routes name what the filters must know. Each step below is sent after
the one before is acknowledged; steps that change nothing are left out, so most edits are one step.

1. *expand*: backends, denials and claim headers of both sides. None of these opens anything, and a claim header acts
   only on a payload that its provider wrote.
2. *require*: the requirements of the target, and of classes that only routes of the old side still carry.
3. *switch*: listeners and routes of the target.
4. *contract*: the target alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from meshpass.envoy.build import build_snapshot
from meshpass.envoy.snapshot import Resource, Snapshot
from meshpass.ir import Backend, PolicySet, Proxy
from meshpass.memo import Memo

Plan = Callable[[Snapshot | None, Snapshot], tuple[Snapshot, ...]]


def plan_transition(current: Snapshot | None, target: Snapshot, memo: Memo) -> tuple[Snapshot, ...]:
    """The steps from what an Envoy has to what it shall have; the last is the target."""
    if current is None or current.proxy is target.proxy:
        return (target,)
    steps = _plan_proxies(current.proxy, target.proxy, memo)
    snapshots = [build_snapshot(step, memo) for step in steps[:-1]]
    return (*_without_repeats(current, snapshots), target)


def _plan_proxies(old: Proxy, new: Proxy, memo: Memo) -> tuple[Proxy, ...]:
    backends = memo(_union_backends, old.backends, new.backends)
    application = memo(_union_backends, old.application, new.application)
    expanded = replace(
        old, backends=backends, application=application, policies=memo(_expand, old.policies, new.policies)
    )
    required = replace(expanded, policies=memo(_require, old.policies, new.policies))
    switched = replace(required, listeners=new.listeners, routes=new.routes)
    return (expanded, required, switched, new)


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
    by_name = {backend.name: backend for backend in (*old, *new)}
    return new if len(by_name) == len(new) else tuple(by_name[name] for name in sorted(by_name))


def _expand(old: PolicySet, new: PolicySet) -> PolicySet:
    """The requirements of the old side; claim headers and denials of both."""
    if old is new:
        return old
    return replace(
        old,
        claim_headers=MappingProxyType({**old.claim_headers, **new.claim_headers}),
        denied=old.denied | new.denied,
        sources=old.sources | new.sources,
    )


def _require(old: PolicySet, new: PolicySet) -> PolicySet:
    """The requirements of the new side, and of the old side for classes that the new side no longer has."""
    if old is new:
        return old
    requirements = {**old.requirements, **new.requirements}
    needed = {name for requirement in requirements.values() for name in requirement.providers}
    providers = {provider.name: provider for provider in (*old.providers, *new.providers)}
    return replace(
        _expand(old, new),
        requirements=MappingProxyType(requirements),
        providers=tuple(providers[name] for name in sorted(needed)),
    )
