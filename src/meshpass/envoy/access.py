"""AccessRules → the filters that ask who may call: for HTTP one by ECDS, for other connections one in the listener."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
RBAC_METADATA = "envoy.filters.http.rbac"
TRIAL_RESULT = f"{TRIAL_PREFIX}shadow_engine_result"
"""In that namespace of a request's dynamic metadata: ``allowed`` or ``denied``."""
_NUMBERED = "~"


def build_access_filter(policies: PolicySet) -> Resource:
    """403 ``RBAC: access denied`` on the ports of the classes that have rules, for what none of the rules allows."""
    message = RBAC()
    enforced = {name: one for name, one in _each(policies.access) if one.rules is not None}
    trial = {name: one for name, one in _each(policies.access) if one.trial is not None}
    if enforced:
        denied = {name: _deny(name, one.rules or (), one) for name, one in enforced.items()}
        message.rules.CopyFrom(RBAC_RULES(action=RBAC_RULES.DENY, policies=denied))
    if trial:
        denied = {name: _deny(name, one.trial or (), one) for name, one in trial.items()}
        message.shadow_rules.CopyFrom(RBAC_RULES(action=RBAC_RULES.DENY, policies=denied))
        message.shadow_rules_stat_prefix = TRIAL_PREFIX
    return build_extension_config(ACCESS_FILTER, message, policies.sources)


def _each(access: Mapping[str, AccessRules]) -> Iterator[tuple[str, AccessRules]]:
    """All rules, by the name of their class, to which a number comes where there are several for one."""
    for name, one in sorted(access.items()):
        yield name, one
        for number, other in enumerate(one.also, 2):
            yield f"{name}{_NUMBERED}{number}", other


def _deny(name: str, rules: tuple[AccessRule, ...], access: AccessRules) -> Policy:
    """Is for the requests of a class that are not allowed."""
    return Policy(
        permissions=[of_class(name.partition(_NUMBERED)[0])],
        principals=[_not_allowed(rules, access)],
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
