"""The PolicySet of one side of a proxy: what its selection classes require."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from meshpass.api.objectset import ObjectKey
from meshpass.ir import JwtProvider, JwtRequirement, ObjectRef, PayloadRules, Phase, PhasePolicies, PolicySet
from meshpass.memo import Memo
from meshpass.translate.jwtpolicy import PolicyRules
from meshpass.translate.tableroutes import MatchedNames

ClassPolicies = Mapping[str, tuple[ObjectKey, ...]]
"""Selection class → the policies that hold on it, all of which must be met; none: open."""


def translate_policy_set(
    classes: ClassPolicies,
    rules: tuple[PolicyRules, ...],
    denied: frozenset[str],
    matched: MatchedNames,
    memo: Memo,
) -> PolicySet:
    """Every class with what holds on it: requirements, a denial, or nothing asked."""
    broken = {policy.key for policy in rules if policy.requirement is None}
    # Each phase by its own policies: an edit in one leaves the other as it is, down to the bytes of its filters.
    of_phase = {phase: tuple(policy for policy in rules if policy.phase is phase) for phase in Phase}
    return PolicySet(
        pre=memo(_translate_phase, classes, of_phase[Phase.PRE_AUTHZ], matched),
        post=memo(_translate_phase, classes, of_phase[Phase.POST_AUTHZ], matched),
        denied=denied | {name for name, keys in classes.items() if broken.intersection(keys)} if broken else denied,
        sources=memo(_sources, tuple(policy.key for policy in rules)),
    )


def _sources(keys: tuple[ObjectKey, ...]) -> frozenset[ObjectRef]:
    return frozenset(ObjectRef(*key) for key in keys)


def _translate_phase(classes: ClassPolicies, rules: tuple[PolicyRules, ...], matched: MatchedNames) -> PhasePolicies:
    policies = {policy.key: policy for policy in rules}
    by_policies = {keys: tuple(_requirements(keys, policies)) for keys in set(classes.values())}
    providers = {provider.name: provider for policy in policies.values() for provider in policy.providers}
    payloads = {name: payload for policy in policies.values() for name, payload in policy.payloads}
    return PhasePolicies(
        providers=tuple(providers[name] for name in sorted(providers)),
        requirements=MappingProxyType({name: by_policies[keys] for name, keys in classes.items()}),
        payloads=MappingProxyType(payloads),
        stripped=frozenset(
            provider.query_parameters
            for provider in providers.values()
            if provider.query_parameters and not provider.keep_token
        ),
        failed=MappingProxyType({name: token for policy in policies.values() for name, token in policy.failed}),
        rerouted=frozenset(
            provider.payload_key
            for provider in providers.values()
            if _can_reroute(provider, payloads[provider.payload_key], matched)
        ),
    )


def _requirements(keys: Iterable[ObjectKey], policies: Mapping[ObjectKey, PolicyRules]) -> Iterable[JwtRequirement]:
    for key in keys:
        policy = policies.get(key)
        if policy is not None and policy.requirement is not None:
            yield policy.requirement


def _can_reroute(provider: JwtProvider, payload: PayloadRules, matched: MatchedNames) -> bool:
    """True when choosing the route again could choose another: some route matches on what verification changes."""
    if not payload.clear_route_cache:
        return False
    headers, parameters = matched
    changed = {entry.header for entry in payload.claim_headers} | {provider.payload_header}
    removed: set[str] = set()
    if not provider.keep_token:
        changed |= {header.name.lower() for header in provider.headers}
        removed = set(provider.query_parameters)
    return bool(changed & headers or removed & parameters)
