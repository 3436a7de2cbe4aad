"""The whole task of one proxy, put together from what it shares with others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from meshpass.api.objectset import ObjectKey
from meshpass.ir import (
    CALLERS,
    AccessRules,
    Backend,
    InboundListener,
    Listener,
    MutualTlsMode,
    ObjectRef,
    PolicySet,
    Proxy,
    RouteConfiguration,
    RouteOptions,
    Secret,
)
from meshpass.memo import Memo
from meshpass.translate.accessside import AccessOfClasses, access_of, connection_rules, with_payload_keys
from meshpass.translate.eastwestlistener import translate_east_west
from meshpass.translate.gatewaynode import Gateway
from meshpass.translate.gatewayview import GatewayView
from meshpass.translate.jwtpolicy import PolicyRules
from meshpass.translate.knownhost import KnownHost, known_hosts
from meshpass.translate.peer import mode_of
from meshpass.translate.policyset import ClassPolicies, translate_policy_set
from meshpass.translate.proxysecret import ViewSecrets, callers_of, choose_secrets, find_secrets, own_secrets
from meshpass.translate.resolution import Resolution
from meshpass.translate.selection_class import DestinationPort, RouteProperties
from meshpass.translate.settings import FeatureGates
from meshpass.translate.sidecar import Sidecar
from meshpass.translate.tableroutes import MatchedNames
from meshpass.translate.tableset import TableSet
from meshpass.translate.trim import trim_hosts
from meshpass.translate.view import (
    matched_names,
    selection_classes,
    translate_backends,
    translate_routes,
)
from meshpass.translate.viewer import make_viewer

NOTHING_MATCHED: MatchedNames = (frozenset(), frozenset())
NO_WINNERS: Mapping[str, ObjectKey] = {}


def translate_sidecar_proxy(
    sidecar: Sidecar, tables: TableSet, resolution: Resolution, gates: FeatureGates, memo: Memo
) -> Proxy:
    """What a sidecar does: routes of its workload's requests, and requests to its workload."""
    key, catalog = sidecar.key, resolution.catalog
    everything = memo(known_hosts, key.cluster, key.namespace, catalog)
    known = memo(trim_hosts, key.cluster, key.namespace, everything, tables, catalog, memo)
    routes = memo(translate_routes, key.cluster, known, tables, catalog, gates, memo)
    winners = resolution.route_winners if gates.EnableJWTPolicyEastWestRoute else NO_WINNERS
    outbound = memo(_route_policies, memo(_classes, tables, memo), winners, resolution.traffic.denied, gates)
    inbound = memo(
        _inbound_policies, sidecar, resolution.destination_winners, access_of(sidecar.inbound, resolution.access)
    )
    listeners = memo(_listeners, sidecar, inbound, _modes(sidecar, resolution))
    return memo(
        _make_proxy,
        sidecar.node,
        listeners,
        memo(_from_anywhere, sidecar.application) if resolution.endpoints.has_identities else sidecar.application,
        _backends(key.cluster, known, tables, resolution, memo),
        (memo(_with_options, routes, memo(_classes, tables, memo), resolution.traffic.options),),
        (*own_secrets(key, resolution, memo), *memo(callers_of, listeners, resolution.identities.authorities)),
        find_secrets(known, tables, resolution, memo),
        _policy_set(outbound, resolution.rules, memo(_matched, tables, memo), memo),
        _policy_set(inbound, resolution.rules, NOTHING_MATCHED, memo),
    )


def translate_gateway_proxy(  # noqa: PLR0917
    gateway: Gateway, view: GatewayView, tables: TableSet, resolution: Resolution, gates: FeatureGates, memo: Memo
) -> Proxy:
    """What a gateway does. Policies on routes hold at gateways whatever the gate of mesh routes says (decision 27)."""
    policies = memo(
        _route_policies, memo(_classes, tables, memo), resolution.route_winners, resolution.traffic.denied, gates
    )
    between = translate_east_west(
        gateway, resolution.east_west, resolution.exposure, resolution.catalog, resolution.endpoints, memo
    )
    return memo(
        _make_proxy,
        gateway.node,
        (*view.listeners, *between.listeners),
        (),
        memo(_join_backends, _backends(gateway.key.cluster, (), tables, resolution, memo), between.backends),
        tuple(
            memo(_with_options, routes, memo(_classes, tables, memo), resolution.traffic.options)
            for routes in view.routes
        ),
        (*view.secrets, *own_secrets(gateway.key, resolution, memo)),
        find_secrets((), tables, resolution, memo),
        _policy_set(policies, resolution.rules, memo(_matched, tables, memo), memo),
        _policy_set(memo(_no_policies), resolution.rules, NOTHING_MATCHED, memo),
    )


def _backends(
    cluster: str, known: tuple[KnownHost, ...], tables: TableSet, resolution: Resolution, memo: Memo
) -> tuple[Backend, ...]:
    viewer = memo(make_viewer, cluster, resolution.east_west)
    return memo(translate_backends, known, tables, resolution.catalog, resolution.endpoints, viewer, memo)


def _join_backends(own: tuple[Backend, ...], between: tuple[Backend, ...]) -> tuple[Backend, ...]:
    return tuple(sorted((*own, *between), key=lambda one: one.name)) if between else own


def _from_anywhere(application: tuple[Backend, ...]) -> tuple[Backend, ...]:
    return tuple(replace(backend, anywhere=True) for backend in application)


Classes = Mapping[str, RouteProperties | None]


def _classes(tables: TableSet, memo: Memo) -> Classes:
    """The classes of a view: the same object over an edit of tables that changes none of them."""
    return memo(_find_classes, tables, memo)


def _find_classes(tables: TableSet, memo: Memo) -> Classes:
    return memo(selection_classes, tuple(table.classes for table in tables.tables))


def _matched(tables: TableSet, memo: Memo) -> MatchedNames:
    return memo(_find_matched, tables, memo)


def _find_matched(tables: TableSet, memo: Memo) -> MatchedNames:
    return memo(matched_names, tuple(table.matched for table in tables.tables))


def _with_options(
    routes: RouteConfiguration, classes: Classes, options: Mapping[str, RouteOptions]
) -> RouteConfiguration:
    used = {name: options[name] for name in classes if name in options}
    return replace(routes, options=used) if used else routes


def _modes(sidecar: Sidecar, resolution: Resolution) -> tuple[tuple[str, MutualTlsMode], ...]:
    """What the callers of each class show; none where workloads have no identities."""
    if not resolution.endpoints.has_identities:
        return ()
    return tuple((name, mode_of(name, resolution.access.modes)) for name in sidecar.inbound)


def _listeners(
    sidecar: Sidecar, inbound: _SidePolicies, modes: tuple[tuple[str, MutualTlsMode], ...]
) -> tuple[Listener, ...]:
    """A port that is not HTTP is passed on as it is, unless a policy holds on it: then what is not HTTP is refused."""
    shown = dict(modes)
    return tuple(_settle(one, inbound, shown) if isinstance(one, InboundListener) else one for one in sidecar.listeners)


def _settle(listener: InboundListener, inbound: _SidePolicies, modes: Mapping[str, MutualTlsMode]) -> InboundListener:
    name = listener.selection_class
    tcp, mode = listener.tcp and not inbound.classes.get(name), modes.get(name, MutualTlsMode.DISABLE)
    access = inbound.connections.get(name)
    if (tcp, mode, access) == (listener.tcp, listener.mutual_tls, listener.access):
        return listener
    asked = mode is not MutualTlsMode.DISABLE and access is not None and access.identities is not None
    callers = f"{CALLERS}/{listener.port}" if asked else ""
    return replace(listener, tcp=tcp, mutual_tls=mode, callers=callers, access=access)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _SidePolicies:
    """Which policies hold on the classes of one side."""

    classes: ClassPolicies
    used: tuple[ObjectKey, ...]
    denied: frozenset[str]
    access: Mapping[str, AccessRules] = field(default_factory=dict)
    """Who may send requests."""
    connections: Mapping[str, AccessRules] = field(default_factory=dict)
    """Who may connect where there are no requests."""
    access_policies: frozenset[ObjectKey] = frozenset()
    """The AccessPolicies that say so."""


def _route_policies(
    properties: Classes, winners: Mapping[str, ObjectKey], broken: frozenset[str], gates: FeatureGates
) -> _SidePolicies:
    classes = {name: (winners[name],) if name in winners else () for name in properties}
    denied = frozenset(
        name
        for name, route in properties.items()
        if gates.GatewayDefaultDenyAllHTTPRequests and not classes[name] and route is not None and route.requires_auth
    )
    return _side(classes, denied | broken.intersection(properties))


def _inbound_policies(
    sidecar: Sidecar, winners: Mapping[DestinationPort, ObjectKey], access: AccessOfClasses
) -> _SidePolicies:
    """A port to which several Services lead is under the policies of all of them: a request does not prove its Service."""
    classes = {
        name: tuple(sorted({winners[target] for target in targets if target in winners}))
        for name, targets in sidecar.inbound.items()
    }
    plain = {
        one.selection_class
        for one in sidecar.listeners
        if isinstance(one, InboundListener) and one.tcp and not classes[one.selection_class]
    }
    return replace(
        _side(classes, frozenset()),
        access={name: rules for name, rules, _ in access if name not in plain},
        connections={
            name: connecting for name, rules, _ in access if name in plain and (connecting := connection_rules(rules))
        },
        access_policies=frozenset(key for *_, keys in access for key in keys),
    )


def _no_policies() -> _SidePolicies:
    return _side({}, frozenset())


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
    policies = translate_policy_set(side.classes, rules, side.denied, matched, memo)
    if not side.access:
        return policies
    return replace(
        policies,
        access=with_payload_keys(side.access, side.classes, rules),
        sources=policies.sources | {ObjectRef(*key) for key in side.access_policies},
    )


def _make_proxy(  # noqa: PLR0917
    node: str,
    listeners: tuple[Listener, ...],
    application: tuple[Backend, ...],
    backends: tuple[Backend, ...],
    routes: tuple[RouteConfiguration, ...],
    own: tuple[Secret, ...],
    shared: ViewSecrets,
    policies: PolicySet,
    inbound_policies: PolicySet,
) -> Proxy:
    return Proxy(
        node=node,
        listeners=listeners,
        application=application,
        backends=backends,
        routes=tuple(sorted(routes, key=lambda one: one.name)),
        secrets=choose_secrets(own, shared, listeners, backends),
        policies=policies,
        inbound_policies=inbound_policies,
    )
