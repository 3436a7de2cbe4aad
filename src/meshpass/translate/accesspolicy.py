"""AccessPolicy → the rules that it adds to its ports, or why they refuse everything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from meshpass.api.common import DestinationKind, EnforcementLayers
from meshpass.api.objectset import ObjectKey
from meshpass.api.security import AccessPolicy, AccessPolicyConfig, Authorization, TlsMode
from meshpass.ir import AccessRule, MutualTlsMode
from meshpass.translate.accessaccount import Account, AccountIndex, Place, SelectedAccounts, select_accounts
from meshpass.translate.accessrule import Entry, entry_problems, translate_entry
from meshpass.translate.finding import Finding, Reason, Severity

MODES = {
    TlsMode.DISABLE: MutualTlsMode.DISABLE,
    TlsMode.PERMISSIVE: MutualTlsMode.PERMISSIVE,
    TlsMode.STRICT: MutualTlsMode.STRICT,
}
_MAX_OTHERS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicyRules:
    """What one policy comes to."""

    key: ObjectKey
    enforced: bool
    """False: proxies are not to enforce it."""
    broken: bool
    """True: it cannot be built, and its ports refuse everything."""
    mode: MutualTlsMode | None
    """None: it does not say what callers show of themselves."""
    rules: tuple[AccessRule, ...] | None
    """None: it does not say who may call."""
    trial: tuple[AccessRule, ...] | None
    accounts: int
    """How many service accounts may call."""
    findings: tuple[Finding, ...]

    @property
    def all_rules(self) -> tuple[AccessRule, ...]:
        """The rules, enforced or not."""
        return (*(self.rules or ()), *(self.trial or ()))


def translate_access_policy(  # noqa: PLR0917
    key: ObjectKey,
    policy: AccessPolicy,
    problems: tuple[str, ...],
    places: tuple[Place, ...],
    accounts: AccountIndex,
    trust_domain: str,
) -> AccessPolicyRules:
    """The rules of a policy. Whatever is wrong with it makes it refuse, never open."""
    config = policy.spec.config
    entries = tuple(_entries(config))
    findings = [_invalid(key, "", problem) for problem in problems]
    findings += [_invalid(key, path, problem) for path, problem in _selector_problems(policy)]
    findings += [_invalid(key, *problem) for path, entry in entries for problem in entry_problems(entry, path)]
    broken = bool(findings)
    built = [
        (entry, translate_entry(entry, path, lambda one: select_accounts(one, places, accounts, trust_domain)))
        for path, entry in (() if broken else entries)
    ]
    findings += _notes(key, policy, trust_domain)
    for entry, one in built:
        findings += _entry_notes(key, entry, one, trust_domain)
    rules = tuple(one.rule for entry, one in built if not entry.dry_run)
    trial = tuple(one.rule for entry, one in built if entry.dry_run)
    return AccessPolicyRules(
        key=key,
        enforced=_is_enforced(config.enforcement_layers),
        broken=broken,
        mode=_mode(config, problems),
        rules=rules or None,
        trial=trial or None,
        accounts=len({account for _, one in built for _, found in one.accounts for account in found.accounts}),
        findings=tuple(findings),
    )


def _entries(config: AccessPolicyConfig) -> Iterator[tuple[str, Authorization]]:
    if config.authz_list:
        for index, entry in enumerate(config.authz_list):
            yield f"spec.config.authzList[{index}]", entry
    elif config.authz is not None:
        yield "spec.config.authz", config.authz


def _mode(config: AccessPolicyConfig, problems: Iterable[str]) -> MutualTlsMode | None:
    """What could be read of it: where there is doubt, the policy does not say."""
    doubtful = any(problem.startswith(("spec.config.authn", "spec.config:", "spec:")) for problem in problems)
    return None if config.authn is None or doubtful else MODES[config.authn.tls_mode]


def _is_enforced(layers: EnforcementLayers | None) -> bool:
    """An object that names no layer is as good as none: it does not switch a policy off."""
    return layers is None or layers.mesh or not layers.cni


def _selector_problems(policy: AccessPolicy) -> Iterator[tuple[str, str]]:
    if not policy.spec.apply_to_workloads:
        for index, wanted in enumerate(policy.spec.apply_to_destinations):
            if wanted.kind is not DestinationKind.SERVICE:
                yield f"spec.applyToDestinations[{index}].kind", "only Services can be protected: SERVICE"


def _notes(key: ObjectKey, policy: AccessPolicy, trust_domain: str) -> Iterator[Finding]:
    spec, config = policy.spec, policy.spec.config
    if config.authn is not None and config.authn.tls_mode is TlsMode.STRICT and not trust_domain:
        message = "lets nobody in: workloads of this mesh have no identities"
        yield _warn(key, "spec.config.authn.tlsMode", message, Reason.NO_EFFECT)
    if spec.apply_to_workloads and spec.apply_to_destinations:
        yield _warn(key, "spec.applyToDestinations", "is ignored: spec.applyToWorkloads is set", Reason.NO_EFFECT)
    if config.authz is not None:
        if config.authz_list:
            yield _warn(key, "spec.config.authz", "is ignored: spec.config.authzList is set", Reason.NO_EFFECT)
        else:
            yield _note(key, "spec.config.authz", "is deprecated: use spec.config.authzList")
    layers = config.enforcement_layers
    if not _is_enforced(layers):
        yield _warn(
            key, "spec.config.enforcementLayers.mesh", "is false: proxies do not enforce this policy", Reason.NO_EFFECT
        )
    if layers is not None and layers.cni:
        message = "has no effect: there is no network plugin that enforces policies"
        yield _warn(key, "spec.config.enforcementLayers.cni", message, Reason.NO_EFFECT)


def _entry_notes(key: ObjectKey, entry: Authorization, one: Entry, trust_domain: str) -> Iterator[Finding]:
    for path, found in one.accounts:
        yield from _account_notes(key, path, found, trust_domain)
    for index, client in enumerate(entry.allowed_clients):
        if client.external_workload_selector is not None:
            place = f"{one.path}.allowedClients[{index}].externalWorkloadSelector"
            yield _warn(key, place, "selects nobody: there are no external workloads", Reason.NO_EFFECT)
    if one.rule.callers and not entry.allowed_clients:
        message = "is not set: whoever meets the rest of this entry is allowed"
        yield _note(key, f"{one.path}.allowedClients", message)
    if entry.allowed_remote_ip_blocks and not one.accounts:
        message = "x-forwarded-for is believed as the caller sends it: allow service accounts of gateways only, in the same entry"
        yield _warn(key, f"{one.path}.allowedRemoteIpBlocks", message, Reason.UNSUPPORTED_VALUE)


def _account_notes(key: ObjectKey, path: str, found: SelectedAccounts, trust_domain: str) -> Iterator[Finding]:
    if not trust_domain:
        yield _warn(key, path, "selects nobody: workloads of this mesh have no identities", Reason.NO_EFFECT)
    elif found.beyond:
        names = _names(found.beyond)
        message = (
            f"selects no service account in reach: {names} is of a workspace that imports nothing from the policy's"
        )
        yield _warn(key, path, message, Reason.TARGET_NOT_FOUND)
    elif not found.accounts:
        yield _note(key, path, "selects no service account that there is", Reason.TARGET_NOT_FOUND)
    if found.others:
        message = (
            f"certificates do not say of which cluster a service account is: {_names(found.others)} may call as well"
        )
        yield _warn(key, path, message, Reason.UNSUPPORTED_VALUE)


def _names(accounts: tuple[Account, ...]) -> str:
    names = ", ".join(f"{one.namespace}/{one.name} of cluster {one.cluster}" for one in accounts[:_MAX_OTHERS])
    return names + (f" and {len(accounts) - _MAX_OTHERS} more" if len(accounts) > _MAX_OTHERS else "")


def _invalid(key: ObjectKey, path: str, message: str) -> Finding:
    return Finding(key=key, severity=Severity.INVALID, reason=Reason.INVALID, path=path, message=message)


def _warn(key: ObjectKey, path: str, message: str, reason: Reason) -> Finding:
    return Finding(key=key, severity=Severity.WARNING, reason=reason, path=path, message=message)


def _note(key: ObjectKey, path: str, message: str, reason: Reason = Reason.ACCEPTED) -> Finding:
    return Finding(key=key, severity=Severity.NOTE, reason=reason, path=path, message=message)
