"""Who may call, as one proxy is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from meshpass.api.objectset import ObjectKey
from meshpass.ir import AccessRule, AccessRules, Phase
from meshpass.translate.access import Access
from meshpass.translate.jwtpolicy import PolicyRules
from meshpass.translate.policyset import ClassPolicies

AccessOfClasses = tuple[tuple[str, AccessRules, tuple[ObjectKey, ...]], ...]
"""Selection class, who may call, and the AccessPolicies that say so."""


def access_of(classes: Iterable[str], access: Access) -> AccessOfClasses:
    """What holds on some classes; those that everybody may call are left out."""
    return tuple((name, access.rules[name], access.holding.get(name, ())) for name in classes if name in access.rules)


def with_payload_keys(
    access: Mapping[str, AccessRules], classes: ClassPolicies, policies: tuple[PolicyRules, ...]
) -> Mapping[str, AccessRules]:
    """With where the tokens are that JWT policies of the same class verify before, for rules that look at them."""
    early = {policy.key: policy.payloads for policy in policies if policy.phase is Phase.PRE_AUTHZ}
    found = dict(access)
    for name, rules in access.items():
        if any(rule.asks_for_token for rule in (*(rules.rules or ()), *(rules.trial or ()))):
            keys = {payload for key in classes[name] for payload, _ in early.get(key, ())}
            found[name] = replace(rules, payload_keys=tuple(sorted(keys)))
    return MappingProxyType(found)


def connection_rules(access: AccessRules) -> AccessRules | None:
    """What is left of the rules where a port carries no HTTP; None if everybody may connect.

    That callers show who they are is what its listener asks for.
    """
    if access.rules is None:
        return None
    return AccessRules(
        rules=tuple(
            replace(rule, callers=tuple(caller for caller in rule.callers if caller.token is None))
            for rule in access.rules
            if not is_about_requests(replace(rule, callers=()))
        )
    )


def is_about_requests(rule: AccessRule) -> bool:
    """True for a rule that looks at a request, so that it allows nothing where there are none."""
    return bool(rule.paths or rule.methods or rule.headers or rule.client_blocks or rule.asks_for_token)
