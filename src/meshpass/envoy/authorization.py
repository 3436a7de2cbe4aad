"""PolicySet → the configuration of the authorization (RBAC) filter of a phase."""

from __future__ import annotations

from envoy.config.rbac.v3.rbac_pb2 import RBAC as RBAC_RULES
from envoy.config.rbac.v3.rbac_pb2 import Permission, Policy, Principal
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC

from meshpass.envoy.claim_rule import build_payload_principal
from meshpass.envoy.filters import Side, Stage, build_extension_config, filter_name
from meshpass.envoy.rbac import of_class
from meshpass.envoy.snapshot import Resource
from meshpass.ir import Phase, PolicySet


def build_authorization_filter(side: Side, phase: Phase, policies: PolicySet) -> Resource:
    """403 ``RBAC: access denied`` on the routes of denied classes, and for payloads that break a rule of their policy.

    Rules are found by payload key, not by class: their number is that of different rules, however many routes there are.
    """
    rules = {}
    if policies.denied and phase is Phase.PRE_AUTHZ:
        rules["denied"] = Policy(
            permissions=[of_class(selection_class) for selection_class in sorted(policies.denied)],
            principals=[Principal(any=True)],
        )
    for key, payload in policies.of(phase).payloads.items():
        if payload.rules:
            rules[key] = Policy(
                permissions=[Permission(any=True)], principals=[build_payload_principal(key, payload.rules)]
            )
    message = RBAC(rules=RBAC_RULES(action=RBAC_RULES.DENY, policies=rules)) if rules else RBAC()
    return build_extension_config(filter_name(side, phase, Stage.AUTHORIZATION), message, policies.sources)
