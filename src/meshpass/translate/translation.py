"""translate(): all objects in, all proxies and a report out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.ir import Backend, PolicySet, Proxy, RouteConfiguration
from meshpass.memo import Memo
from meshpass.translate.binding import Binding
from meshpass.translate.jwtpolicy import PolicyRules
from meshpass.translate.keysource import KeyFetch, KeySets, KeySource
from meshpass.translate.objectreport import report_objects
from meshpass.translate.policyset import ClassPolicies, MatchedNames, translate_policy_set
from meshpass.translate.report import Report
from meshpass.translate.resolution import Resolution, resolve
from meshpass.translate.routetable import TableRoutes
from meshpass.translate.selection_class import DestinationPort
from meshpass.translate.settings import FeatureGates, TranslateSettings
from meshpass.translate.sidecar import Sidecar
from meshpass.translate.tableset import TableSet, make_table_set
from meshpass.translate.view import (
    matched_names,
    selection_classes,
    services_of,
    translate_backends,
    translate_routes,
)
from meshpass.translate.workspace import WorkspaceIndex

NOTHING_MATCHED: MatchedNames = (frozenset(), frozenset())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Translation:
    """Everything that follows from an ObjectSet."""

    proxies: Mapping[str, Proxy]
    """Node id → what that Envoy has to do."""
    report: Report
    key_sources: Mapping[KeySource, KeyFetch]
    """The remote key sets that policies name."""
    policies: Mapping[str, ObjectKey]
    """Selection class → the policy that holds on its routes; of destinations, the oldest of those that hold."""


def translate(objects: ObjectSet, key_sets: KeySets, settings: TranslateSettings, memo: Memo) -> Translation:
    """What every proxy has to do, and what there is to say about every object.

    The same objects give an equal result, in whatever order they came; what did not change keeps its identity.
    """
    resolution = resolve(objects, key_sets, settings, memo)
    bound = {
        sidecar.node: memo(_bound_tables, sidecar, resolution.tables, resolution.bindings, resolution.workspaces, memo)
        for sidecar in resolution.sidecars
    }
    proxies = {
        sidecar.node: _translate_proxy(sidecar, bound[sidecar.node], resolution, settings.gates, memo)
        for sidecar in resolution.sidecars
    }
    report = report_objects(objects, resolution, bound, settings.gates, memo)
    memo.next_generation()
    return Translation(
        proxies=MappingProxyType(proxies),
        report=report,
        key_sources=resolution.key_sources,
        policies=memo(
            _policies_of_classes, resolution.route_winners, resolution.destination_winners, resolution.sidecars
        ),
    )


def _bound_tables(
    sidecar: Sidecar,
    tables: Mapping[ObjectKey, TableRoutes],
    bindings: Mapping[ObjectKey, Binding],
    workspaces: WorkspaceIndex,
    memo: Memo,
) -> TableSet:
    """The tables of the sidecar's workspace that are bound to it, oldest first."""
    home = workspaces.owners.get((sidecar.key.cluster, sidecar.key.namespace))
    used = [table for key, table in tables.items() if table.workspace == home and bindings[key].selects(sidecar)]
    return memo(make_table_set, tuple(used))


def _translate_proxy(
    sidecar: Sidecar, tables: TableSet, resolution: Resolution, gates: FeatureGates, memo: Memo
) -> Proxy:
    local = memo(services_of, resolution.services, sidecar.key.cluster)
    outbound = memo(_outbound_policies, tables, resolution.route_winners, gates)
    inbound = memo(_inbound_policies, sidecar, resolution.destination_winners)
    return memo(
        _make_proxy,
        sidecar,
        memo(translate_routes, sidecar.key.namespace, local, tables, gates, memo),
        memo(translate_backends, local, tables, resolution.endpoints, memo),
        _policy_set(outbound, resolution.rules, memo(matched_names, tables), memo),
        _policy_set(inbound, resolution.rules, NOTHING_MATCHED, memo),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _SidePolicies:
    """Which policies hold on the classes of one side."""

    classes: ClassPolicies
    used: tuple[ObjectKey, ...]
    denied: frozenset[str]


def _outbound_policies(tables: TableSet, winners: Mapping[str, ObjectKey], gates: FeatureGates) -> _SidePolicies:
    properties = selection_classes(tables)
    classes = {name: (winners[name],) if name in winners else () for name in properties}
    denied = frozenset(
        name
        for name, route in properties.items()
        if gates.GatewayDefaultDenyAllHTTPRequests and not classes[name] and route is not None and route.requires_auth
    )
    return _side(classes, denied)


def _inbound_policies(sidecar: Sidecar, winners: Mapping[DestinationPort, ObjectKey]) -> _SidePolicies:
    """A port to which several Services lead is under the policies of all of them: a request does not prove its Service."""
    classes = {
        name: tuple(sorted({winners[target] for target in targets if target in winners}))
        for name, targets in sidecar.inbound.items()
    }
    return _side(classes, frozenset())


def _side(classes: ClassPolicies, denied: frozenset[str]) -> _SidePolicies:
    used = tuple(sorted({key for keys in classes.values() for key in keys}))
    return _SidePolicies(classes=classes, used=used, denied=denied)


def _policy_set(
    side: _SidePolicies, rules: Mapping[ObjectKey, PolicyRules], matched: MatchedNames, memo: Memo
) -> PolicySet:
    return memo(_make_policy_set, side, tuple(rules[key] for key in side.used), matched, memo)


def _make_policy_set(
    side: _SidePolicies, rules: tuple[PolicyRules, ...], matched: MatchedNames, memo: Memo
) -> PolicySet:
    return translate_policy_set(side.classes, rules, side.denied, matched, memo)


def _make_proxy(
    sidecar: Sidecar,
    routes: RouteConfiguration,
    backends: tuple[Backend, ...],
    policies: PolicySet,
    inbound_policies: PolicySet,
) -> Proxy:
    return Proxy(
        node=sidecar.node,
        listeners=sidecar.listeners,
        application=sidecar.application,
        backends=backends,
        routes=(routes,),
        policies=policies,
        inbound_policies=inbound_policies,
    )


def _policies_of_classes(
    routes: Mapping[str, ObjectKey],
    destinations: Mapping[DestinationPort, ObjectKey],
    sidecars: tuple[Sidecar, ...],
) -> Mapping[str, ObjectKey]:
    inbound = {
        name: min(destinations[target] for target in targets if target in destinations)
        for sidecar in sidecars
        for name, targets in sidecar.inbound.items()
        if any(target in destinations for target in targets)
    }
    return {**routes, **inbound}
