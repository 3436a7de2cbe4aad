"""The report about each AccessPolicy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.api.security import AccessPolicy
from meshpass.ir import MutualTlsMode, Phase
from meshpass.memo import Memo
from meshpass.translate.access import Access
from meshpass.translate.accesspolicy import AccessPolicyRules
from meshpass.translate.accessside import is_about_requests
from meshpass.translate.accesstarget import AccessTarget, selects_workload
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.gateway import Gateway
from meshpass.translate.jwtpolicy import PolicyRules
from meshpass.translate.objectfinding import find_misplaced, find_unreadable
from meshpass.translate.report import ObjectReport
from meshpass.translate.selection_class import DestinationPort, content_hash
from meshpass.translate.sidecar import Sidecar
from meshpass.translate.workspace import WorkspaceIndex

_MAX_PLACES = 3

Tokens = frozenset[DestinationPort]
"""The Service ports on which a JWTPolicy verifies tokens before AccessPolicies are asked."""


def report_access(  # noqa: PLR0917
    objects: ObjectSet,
    access: Access,
    workspaces: WorkspaceIndex,
    sidecars: tuple[Sidecar, ...],
    gateways: tuple[Gateway, ...],
    destination_winners: Mapping[DestinationPort, ObjectKey],
    rules: Mapping[ObjectKey, PolicyRules],
    memo: Memo,
) -> dict[ObjectKey, ObjectReport]:
    """What there is to say about every AccessPolicy."""
    nodes = memo(_find_nodes, sidecars)
    early = tuple(sorted(key for key, one in rules.items() if one.phase is Phase.PRE_AUTHZ and one.payloads))
    tokens = memo(_find_tokens, destination_winners, early)
    reports = {}
    for key, policy in objects.all(AccessPolicy).items():
        if key not in access.policies:
            findings = (*find_unreadable(key, objects.problems), *find_misplaced(key, workspaces))
            reports[key] = ObjectReport(generation=policy.metadata.generation, findings=findings)
            continue
        reports[key] = memo(_report, key, policy, access, nodes, tokens, gateways, workspaces)
    return reports


def _find_nodes(sidecars: tuple[Sidecar, ...]) -> Mapping[str, str]:
    return {name: sidecar.node for sidecar in sidecars for name in sidecar.inbound}


def _find_tokens(winners: Mapping[DestinationPort, ObjectKey], early: tuple[ObjectKey, ...]) -> Tokens:
    known = frozenset(early)
    return frozenset(target for target, policy in winners.items() if policy in known)


def _report(  # noqa: PLR0917
    key: ObjectKey,
    policy: AccessPolicy,
    access: Access,
    nodes: Mapping[str, str],
    tokens: Tokens,
    gateways: tuple[Gateway, ...],
    workspaces: WorkspaceIndex,
) -> ObjectReport:
    one = access.policies[key]
    targets = [access.targets[name] for name in sorted(access.selected[key])]
    destinations = {port for target in targets for port in target.destinations}
    findings = [
        *one.findings,
        *_selection_findings(policy, key, targets, gateways, workspaces),
        *(_port_findings(one, targets, access, tokens) if one.enforced and not one.broken else ()),
    ]
    return ObjectReport(
        generation=policy.metadata.generation,
        findings=tuple(findings),
        counts={
            "numSelectedDestinationPorts": len(destinations),
            "numSelectedNamespaces": len({(target.pod.cluster, target.pod.namespace) for target in targets}),
            "numAllowedServiceAccounts": one.accounts,
        },
        content=(content_hash((one.broken, one.enforced, one.mode, one.rules, one.trial)),),
        nodes=frozenset(nodes[target.selection_class] for target in targets),
    )


def _selection_findings(
    policy: AccessPolicy,
    key: ObjectKey,
    targets: list[AccessTarget],
    gateways: tuple[Gateway, ...],
    workspaces: WorkspaceIndex,
) -> Iterator[Finding]:
    workspace = workspaces.owner(key)
    selected = [
        gateway.key
        for gateway in gateways
        if workspaces.place_owner(gateway.key) == workspace
        and any(
            selects_workload(one.selector, gateway.key, gateway.labels, workspace or "")
            for one in policy.spec.apply_to_workloads
        )
    ]
    if selected:
        message = f"is not for gateways: {selected[0].namespace}/{selected[0].name} of cluster {selected[0].cluster}"
        severity = Severity.NOTE if targets else Severity.WARNING
        path = "spec.applyToWorkloads"
        yield Finding(key=key, severity=severity, reason=Reason.NO_EFFECT, path=path, message=message)
    if not targets:
        message = "selects no port of a workload"
        yield Finding(key=key, severity=Severity.NOTE, reason=Reason.TARGET_NOT_FOUND, message=message)


def _port_findings(
    policy: AccessPolicyRules, targets: list[AccessTarget], access: Access, tokens: Tokens
) -> Iterator[Finding]:
    for applies, path, message in _checks(policy, access, tokens):
        found = [target for target in targets if applies(target)]
        if found:
            yield Finding(
                key=policy.key,
                severity=Severity.WARNING,
                reason=Reason.NO_EFFECT,
                path=path,
                message=f"{_places(found)}: {message}",
            )


def _checks(
    policy: AccessPolicyRules, access: Access, tokens: Tokens
) -> Iterator[tuple[Callable[[AccessTarget], bool], str, str]]:
    """What may be amiss on a port of the policy, as a test of the port; the field that it is about, and the words for it."""
    rules = policy.all_rules
    yield (
        lambda target: any(access.policies[key].broken for key in access.holding[target.selection_class]),
        "",
        "is closed by another policy, which cannot be built",
    )
    if policy.mode is not None:
        yield (
            lambda target: access.modes.get(target.selection_class) is not policy.mode,
            "spec.config.authn.tlsMode",
            "another policy, or the isolation of the workspace, asks for a stricter mode",
        )
    if any(caller.identities is not None for rule in rules for caller in rule.callers):
        yield (
            lambda target: access.modes.get(target.selection_class) is MutualTlsMode.DISABLE,
            "spec.config.authzList",
            "with tlsMode DISABLE nobody shows a service account: entries that ask for one allow nothing",
        )
    if any(rule.asks_for_token for rule in rules):
        yield (
            lambda target: target.http and tokens.isdisjoint(target.destinations),
            "spec.config.authzList",
            "no JWTPolicy verifies tokens in phase preAuthz: entries that ask for a request identity allow nothing",
        )
    if any(map(is_about_requests, policy.rules or ())):
        yield (
            lambda target: not target.http,
            "spec.config.authzList",
            "carries no HTTP: entries about requests allow nothing",
        )
    if policy.trial is not None:
        yield lambda target: not target.http, "spec.config.authzList", "carries no HTTP: dryRun is not possible"


def _places(targets: list[AccessTarget]) -> str:
    names = [f"port {target.port} of {target.pod.namespace}/{target.pod.name}" for target in targets[:_MAX_PLACES]]
    return ", ".join(names) + (f" and {len(targets) - _MAX_PLACES} more" if len(targets) > _MAX_PLACES else "")
