"""Access: who may call which ports of workloads, by AccessPolicies and by the isolation of workspaces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.api.security import AccessPolicy
from meshpass.ir import AccessRule, AccessRules, Caller, MutualTlsMode
from meshpass.memo import Memo
from meshpass.translate.accessaccount import AccountIndex, find_places, namespace_identities
from meshpass.translate.accesspolicy import AccessPolicyRules, translate_access_policy
from meshpass.translate.accesstarget import AccessTarget, find_targets, select_targets
from meshpass.translate.age import by_age
from meshpass.translate.catalog import Catalog
from meshpass.translate.identity import control_plane_id
from meshpass.translate.peer import Modes
from meshpass.translate.sidecar import Sidecar
from meshpass.translate.workspace import WorkspaceIndex

_STRICTEST_FIRST = (MutualTlsMode.STRICT, MutualTlsMode.PERMISSIVE, MutualTlsMode.DISABLE)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Access:
    """Who may call, over all proxies."""

    policies: Mapping[ObjectKey, AccessPolicyRules]
    """What each policy that counts comes to, oldest first."""
    selected: Mapping[ObjectKey, frozenset[str]]
    """Policy → the selection classes of the ports that it is for."""
    holding: Mapping[str, tuple[ObjectKey, ...]]
    """Selection class → the policies that proxies enforce on it, oldest first."""
    rules: Mapping[str, AccessRules]
    """Selection class → who may call; without where tokens are found, which other policies say."""
    modes: Modes
    isolated: frozenset[str]
    """The workspaces that are isolated."""
    targets: Mapping[str, AccessTarget]
    """Selection class → the port."""


def resolve_access(  # noqa: PLR0917
    objects: ObjectSet,
    workspaces: WorkspaceIndex,
    sidecars: tuple[Sidecar, ...],
    catalog: Catalog,
    accounts: AccountIndex,
    trust_domain: str,
    memo: Memo,
) -> Access:
    """What holds on every port. Nothing of it follows endpoints or routes."""
    policies = []
    for key, policy in by_age(objects.all(AccessPolicy)):
        workspace = workspaces.owner(key)
        if workspace is not None:
            problems = objects.problems.get(key, ())
            places = memo(find_places, workspaces, workspace)
            rules = memo(translate_access_policy, key, policy, problems, places, accounts, trust_domain)
            targets = memo(find_targets, sidecars, workspaces).get(workspace, ())
            policies.append((rules, memo(select_targets, policy.spec, problems, workspace, targets, catalog)))
    return memo(_join, tuple(policies), workspaces, sidecars, trust_domain, memo)


def _join(
    policies: tuple[tuple[AccessPolicyRules, frozenset[str]], ...],
    workspaces: WorkspaceIndex,
    sidecars: tuple[Sidecar, ...],
    trust_domain: str,
    memo: Memo,
) -> Access:
    holding: dict[str, list[AccessPolicyRules]] = defaultdict(list)
    for policy, classes in policies:
        for name in classes if policy.enforced else ():
            holding[name].append(policy)
    isolation = {
        workspace: memo(_isolate, find_places(workspaces, workspace), trust_domain)
        for workspace in sorted(set(workspaces.owners.values()))
        if _is_isolated(workspaces, workspace)
    }
    rules: dict[str, AccessRules] = {}
    modes: dict[str, MutualTlsMode] = {}
    targets: dict[str, AccessTarget] = {}
    for workspace, of_workspace in memo(find_targets, sidecars, workspaces).items():
        isolating = isolation.get(workspace)
        for target in of_workspace:
            name = target.selection_class
            targets[name] = target
            held = tuple(holding.get(name, ()))
            mode = _strictest(held, isolated=isolating is not None)
            if not held and isolating is None:
                continue
            if mode is not None:
                modes[name] = mode
            showing = memo(_show, trust_domain) if mode is MutualTlsMode.STRICT else None
            access = memo(_combine, held, isolating, showing, target.grpc)
            if access is not None:
                rules[name] = access
    return Access(
        policies={policy.key: policy for policy, _ in policies},
        selected={policy.key: classes for policy, classes in policies},
        holding={name: tuple(policy.key for policy in held) for name, held in holding.items()},
        rules=rules,
        modes=modes,
        isolated=frozenset(isolation),
        targets=targets,
    )


def _is_isolated(workspaces: WorkspaceIndex, workspace: str) -> bool:
    isolation = workspaces.options_of(workspace).service_isolation
    if isolation is None or not isolation.enabled:
        return False
    layers = isolation.enforcement_layers
    return layers is None or layers.mesh or not layers.cni


def _isolate(places: tuple[Iterable[str], ...], trust_domain: str) -> AccessRule:
    """Callers of the workspace itself and of those that import from it; the control plane, which fetches key sets."""
    if not trust_domain:
        return AccessRule(callers=())
    namespaces = sorted({namespace for _, namespace, _ in places})
    identities = tuple(namespace_identities(trust_domain, namespace) for namespace in namespaces)
    return AccessRule(callers=(Caller(identities=(*identities, control_plane_id(trust_domain))),))


def _strictest(policies: Iterable[AccessPolicyRules], *, isolated: bool) -> MutualTlsMode | None:
    said = {policy.mode for policy in policies} | ({MutualTlsMode.STRICT} if isolated else set())
    return next((mode for mode in _STRICTEST_FIRST if mode in said), None)


def _show(trust_domain: str) -> AccessRule:
    """Callers that show an identity of the mesh; nobody where there are none."""
    return AccessRule(callers=(Caller(identities=(f"spiffe://{trust_domain}/",)),) if trust_domain else ())


def _combine(
    policies: tuple[AccessPolicyRules, ...], isolation: AccessRule | None, showing: AccessRule | None, grpc: bool
) -> AccessRules | None:
    """What any rule of any policy allows; None where nobody says anything.

    One policy that is broken closes the port, whatever others allow. Where callers have to show who they are
    (``showing``), those are asked as well whose connections are from before that was so.
    """
    lists = [policy.rules for policy in policies if policy.rules is not None]
    trials = [policy.trial for policy in policies if policy.trial is not None]
    rules: tuple[AccessRule, ...] | None
    if any(policy.broken for policy in policies):
        rules = ()
    elif lists:
        rules = tuple(dict.fromkeys(rule for some in lists for rule in some))
    else:
        rules = None if isolation is None else (isolation,)
    trial = tuple(dict.fromkeys(rule for some in trials for rule in some)) if trials else None
    also = (AccessRules(rules=(showing,)),) if showing is not None and rules and rules != (isolation,) else ()
    if rules is None and showing is not None:
        rules = (showing,)
    return None if rules is None and trial is None else AccessRules(rules=rules, trial=trial, grpc=grpc, also=also)
