"""Traffic policies: CORSPolicy, RetryTimeoutPolicy, FaultInjectionPolicy and HeaderManipulationPolicy on routes.

Each kind selects routes as JWTPolicy does, and of each kind the oldest holds on a route, whether it can be built or
not. A route gets one RouteOptions from all kinds together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from meshpass.api.common import RouteSelector
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.api.resilience import FaultInjectionPolicy, RetryTimeoutPolicy
from meshpass.api.security import CORSPolicy
from meshpass.api.trafficcontrol import HeaderManipulationPolicy
from meshpass.ir import RouteOptions
from meshpass.memo import Memo
from meshpass.translate.age import by_age
from meshpass.translate.catalog import Catalog
from meshpass.translate.cors import translate_cors
from meshpass.translate.fault import translate_fault
from meshpass.translate.headermanipulation import translate_header_manipulation
from meshpass.translate.precedence import Winners, decide
from meshpass.translate.retrytimeout import translate_retry_timeout
from meshpass.translate.selection import ClassIndex, select_classes
from meshpass.translate.trafficpolicyoptions import PolicyOptions
from meshpass.translate.workspace import WorkspaceIndex

TrafficPolicy = CORSPolicy | RetryTimeoutPolicy | FaultInjectionPolicy | HeaderManipulationPolicy

TRAFFIC_POLICIES: tuple[type[TrafficPolicy], ...] = (
    CORSPolicy,
    RetryTimeoutPolicy,
    FaultInjectionPolicy,
    HeaderManipulationPolicy,
)

EVERY_ROUTE = (RouteSelector(),)

Problems = Mapping[ObjectKey, tuple[str, ...]]
Selected = tuple[tuple[ObjectKey, frozenset[str]], ...]
"""Policies, oldest first, each with the classes that it selects."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrafficPolicies:
    """What all traffic policies come to."""

    options: Mapping[str, RouteOptions]
    """Selection class → what the policies that hold on it do, of all kinds. Denied classes are not in it."""
    denied: frozenset[str]
    """The classes on which a policy holds that could not be built."""
    winners: Mapping[str, Mapping[str, ObjectKey]]
    """Kind → selection class → the policy of that kind that holds on it."""
    policies: Mapping[ObjectKey, PolicyOptions]
    decisions: Mapping[tuple[str, str], Winners[str]]
    """Kind and workspace → which policies hold there."""


def resolve_traffic_policies(
    objects: ObjectSet, workspaces: WorkspaceIndex, indexes: Mapping[str, ClassIndex], catalog: Catalog, memo: Memo
) -> TrafficPolicies:
    """Find which traffic policies hold on which selection classes; ``indexes`` is workspace → its classes."""
    policies = {
        key: memo(_translate_policy, key, policy, objects.problems.get(key, ()))
        for kind in TRAFFIC_POLICIES
        for key, policy in objects.all(kind).items()
    }
    decisions = {
        (kind.__name__, workspace): _decide(
            tuple((key, policy) for key, policy in aged if workspaces.owner(key) == workspace),
            objects.problems,
            index,
            catalog,
            memo,
        )
        for kind in TRAFFIC_POLICIES
        for aged in (by_age(objects.all(kind)),)
        for workspace, index in sorted(indexes.items())
    }
    return memo(_make_traffic_policies, tuple(policies.values()), tuple(decisions), tuple(decisions.values()), memo)


def _translate_policy(key: ObjectKey, policy: TrafficPolicy, problems: tuple[str, ...]) -> PolicyOptions:
    match policy:
        case CORSPolicy():
            return translate_cors(key, policy, problems)
        case RetryTimeoutPolicy():
            return translate_retry_timeout(key, policy, problems)
        case FaultInjectionPolicy():
            return translate_fault(key, policy, problems)
        case HeaderManipulationPolicy():
            return translate_header_manipulation(key, policy, problems)


def _decide(
    policies: tuple[tuple[ObjectKey, TrafficPolicy], ...],
    problems: Problems,
    index: ClassIndex,
    catalog: Catalog,
    memo: Memo,
) -> Winners[str]:
    # By what the policies select with, not by the policies: an edit of anything else selects and decides nothing anew.
    selected = tuple(
        (key, memo(_select, _selectors(policy, problems.get(key, ())), index, catalog)) for key, policy in policies
    )
    return memo(decide, selected)


def _selectors(policy: TrafficPolicy, problems: tuple[str, ...]) -> tuple[RouteSelector, ...]:
    """What the policy selects with; nothing selects nothing.

    Where that cannot be read it is every route, which the policy then denies.
    """
    if any(problem.startswith(("spec.applyTo", "spec:")) for problem in problems):
        return EVERY_ROUTE
    if policy.spec.apply_to_routes:
        return policy.spec.apply_to_routes
    only_destinations = isinstance(policy, HeaderManipulationPolicy) and policy.spec.apply_to_route_destinations
    return () if only_destinations else EVERY_ROUTE


def _select(routes: tuple[RouteSelector, ...], index: ClassIndex, catalog: Catalog) -> frozenset[str]:
    return select_classes(routes, (), index, catalog) if routes else frozenset()


def _make_traffic_policies(
    policies: tuple[PolicyOptions, ...],
    places: tuple[tuple[str, str], ...],
    winners: tuple[Winners[str], ...],
    memo: Memo,
) -> TrafficPolicies:
    by_key = {policy.key: policy for policy in policies}
    by_kind: dict[str, dict[str, ObjectKey]] = {kind.__name__: {} for kind in TRAFFIC_POLICIES}
    # A class is a hash of its workspace among other things, so no two workspaces decide about one class.
    for (kind, _), one in zip(places, winners, strict=True):
        by_kind[kind].update(one.by_target)
    combinations, used = _combine(winners)
    merged = [memo(_merge, tuple(by_key[key].options for key in keys)) for keys in combinations]
    options: dict[str, RouteOptions] = {}
    denied: list[str] = []
    for name, number in used.items():
        found = merged[number]
        if found is None:
            denied.append(name)
        else:
            options[name] = found
    return TrafficPolicies(
        options=MappingProxyType(options),
        denied=frozenset(denied),
        winners=MappingProxyType(by_kind),
        policies=MappingProxyType(by_key),
        decisions=MappingProxyType(dict(zip(places, winners, strict=True))),
    )


def _combine(winners: tuple[Winners[str], ...]) -> tuple[list[tuple[ObjectKey, ...]], dict[str, int]]:
    """The different combinations of policies that hold together, and class → number of its combination.

    There are many classes and few combinations, so classes are not looked at more closely than that.
    """
    combinations: list[tuple[ObjectKey, ...]] = [()]
    used: dict[str, int] = {}
    for one in winners:
        for key, targets in one.won.items():
            extended: dict[int, int] = {}
            for name in targets:
                before = used.get(name, 0)
                if before not in extended:
                    extended[before] = len(combinations)
                    combinations.append((*combinations[before], key))
                used[name] = extended[before]
    return combinations, used


def _merge(parts: tuple[RouteOptions | None, ...]) -> RouteOptions | None:
    """All that the parts fill, which are of one kind each and fill different fields; None if one is of a broken policy."""
    if None in parts:
        return None
    filled = {
        name: value
        for part in parts
        for name in RouteOptions.__dataclass_fields__
        if (value := getattr(part, name)) is not None
    }
    return RouteOptions(**filled)
