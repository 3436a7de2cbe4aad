"""AccessRules → the filters that ask who may call: for HTTP one by ECDS, for other connections one in the listener."""

from __future__ import annotations

from collections.abc import Mapping

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.config.rbac.v3.rbac_pb2 import RBAC as RBAC_RULES
from envoy.config.rbac.v3.rbac_pb2 import Permission, Policy, Principal
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_v3

from meshpass.envoy.access_rule import build_rule
from meshpass.envoy.filters import ACCESS_FILTER, build_extension_config
from meshpass.envoy.rbac import any_of, of_class
from meshpass.envoy.resource import pack
from meshpass.envoy.snapshot import Resource
from meshpass.ir import AccessRule, AccessRules, PolicySet

TRIAL_PREFIX = "trial."
"""Before the names of the statistics, and of the dynamic metadata, about rules that refuse nothing."""


def build_access_filter(policies: PolicySet) -> Resource:
    """403 ``RBAC: access denied`` on the ports of the classes that have rules, for what none of the rules allows."""
    message = RBAC()
    enforced = {name: access.rules for name, access in policies.access.items() if access.rules is not None}
    trial = {name: access.trial for name, access in policies.access.items() if access.trial is not None}
    if enforced:
        message.rules.CopyFrom(_deny(enforced, policies.access))
    if trial:
        message.shadow_rules.CopyFrom(_deny(trial, policies.access))
        message.shadow_rules_stat_prefix = TRIAL_PREFIX
    return build_extension_config(ACCESS_FILTER, message, policies.sources)


def _deny(rules: Mapping[str, tuple[AccessRule, ...]], access: Mapping[str, AccessRules]) -> RBAC_RULES:
    """A policy for each class, named by it, for the requests that are not allowed."""
    return RBAC_RULES(
        action=RBAC_RULES.DENY,
        policies={
            name: Policy(permissions=[of_class(name)], principals=[_not_allowed(rules[name], access[name])])
            for name in sorted(rules)
        },
    )


def _not_allowed(rules: tuple[AccessRule, ...], access: AccessRules) -> Principal:
    allowing = [build_rule(rule, access) for rule in rules if rule.callers]
    return Principal(not_id=any_of(allowing)) if allowing else Principal(any=True)


def build_connection_access(name: str, access: AccessRules) -> Filter:
    """Closes connections that no rule allows; ``name`` is what its statistics begin with."""
    message = network_v3.RBAC(stat_prefix=f"{name}.")
    if access.rules is not None:
        message.rules.action = RBAC_RULES.ALLOW
        if access.rules:
            principals = [build_rule(rule, access) for rule in access.rules]
            message.rules.policies["allowed"].CopyFrom(
                Policy(permissions=[Permission(any=True)], principals=principals)
            )
        else:
            message.rules.SetInParent()
    return Filter(name="envoy.filters.network.rbac", typed_config=pack(message))
