"""The PolicySet of a view: what its routes' classes require."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from meshpass.api.objectset import ObjectKey
from meshpass.ir import JwtProvider, JwtRequirement, ObjectRef, PolicySet
from meshpass.translate.jwtpolicy import PolicyRules

OPEN = JwtRequirement()


def translate_policy_set(
    classes: Mapping[str, None], winners: Mapping[str, ObjectKey], rules: Mapping[ObjectKey, PolicyRules]
) -> PolicySet:
    """Every class of the view with what holds on it: a requirement, a denial, or nothing asked."""
    requirements: dict[str, JwtRequirement] = {}
    denied: set[str] = set()
    used: dict[ObjectKey, PolicyRules] = {}
    for name in classes:
        winner = winners.get(name)
        if winner is None:
            requirements[name] = OPEN
            continue
        used[winner] = rules[winner]
        if rules[winner].requirement is None:
            denied.add(name)
        requirements[name] = rules[winner].requirement or OPEN
    providers: dict[str, JwtProvider] = {
        provider.name: provider for policy in used.values() for provider in policy.providers
    }
    return PolicySet(
        providers=tuple(providers[name] for name in sorted(providers)),
        requirements=MappingProxyType(requirements),
        claim_headers=MappingProxyType(
            {provider.payload_key: provider.claim_headers for provider in providers.values() if provider.payload_key}
        ),
        denied=frozenset(denied),
        sources=frozenset(ObjectRef(*key) for key in used),
    )
