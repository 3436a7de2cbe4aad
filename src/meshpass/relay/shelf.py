"""Shelf: all that one process has to tell, as resources; what of it is for whom; and what it holds of others."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import TypeVar, cast

from meshpass.api.admin import KubernetesCluster
from meshpass.api.core import EndpointSlice, Pod, Secret, Service
from meshpass.api.objectset import ObjectKey
from meshpass.api.virtualgateway import VirtualGateway
from meshpass.envoy.snapshot import Resource, content_version
from meshpass.kube.store import RELAYED, ObjectStore
from meshpass.kube.stored import KIND_BY_NAME
from meshpass.memo import Memo
from meshpass.relay.derived import Derived
from meshpass.relay.facts import Facts
from meshpass.relay.follower import Versions
from meshpass.relay.nodestate import encode_state, place_of_node
from meshpass.relay.registration import find_awaited, find_registered
from meshpass.relay.resource import Resources, Target, make_object, make_resource, object_name
from meshpass.relay.secretuse import find_references, gateway_secrets, used_secrets
from meshpass.relay.typeurl import FACT, NODE_STATE, REVISION, object_type
from meshpass.relay.visibility import (
    SECRET,
    Scope,
    find_passages,
    find_scope,
    index_objects,
    is_for_agent,
    is_for_management,
    select_labels,
    select_states,
)
from meshpass.translate.workspace import WorkspaceIndex
from meshpass.xds.remote import RemoteState, RemoteStates

_NO_BODIES: Mapping[ObjectKey, bytes] = MappingProxyType({})

Value = TypeVar("Value")


class Shelf:
    """What is in the store, the states of proxies and the facts, ready to be sent. An edit costs what it touches."""

    def __init__(
        self, store: ObjectStore, own: RemoteStates, remote: RemoteStates, facts: Facts, *, management_cluster: str
    ) -> None:
        """``own`` are the proxies that are served here, ``remote`` those of other processes."""
        self._store = store
        self._own = own
        self._remote = remote
        self._facts = facts
        self._management_cluster = management_cluster
        self._memo = Memo()
        self._made: dict[str, Derived[bytes, ObjectKey, Resource]] = {}
        self._selected: dict[tuple[str, str], Derived[Resource, str, Resource]] = {}
        self._before: dict[tuple[str, str], object] = {}
        self._targets: dict[tuple[str, str], tuple[tuple[object, ...], frozenset[str], Target]] = {}

    @property
    def ready(self) -> bool:
        """True once all that this process reads by itself is known: half of it would be taken for all."""
        return all(source.kind == RELAYED for source in self._store.unsynced)

    @property
    def registered(self) -> frozenset[str]:
        """The clusters that may have an agent."""
        return self._memo(find_registered, self._store.objects.all(KubernetesCluster), self._management_cluster)

    @property
    def unknown(self) -> frozenset[str]:
        """The registered clusters of which nothing has ever been told, by this process's memory."""
        return self.registered - self._store.revisions.keys()

    def for_agent(self, cluster: str, heard: AbstractSet[str] = frozenset()) -> Target:
        """What the agent of a cluster is to hold; ``heard`` are the clusters whose agents this process has heard."""
        return self._unless_same(("agent", cluster), frozenset(heard), lambda: self._make_for_agent(cluster, heard))

    def _make_for_agent(self, cluster: str, heard: AbstractSet[str]) -> Target:
        index = index_objects(self._store.objects, self._management_cluster, self._memo)
        scope = self._same(("scope", cluster), self._memo(find_scope, index, cluster, self._passages(index)))
        secrets = self._same(("secrets", cluster), self._used_secrets(index, scope))
        resources = self._select(cluster, lambda key: is_for_agent(key, scope, secrets), scope, secrets)
        states = self._memo(_join, self._states("own"), self._states("remote"))
        resources[NODE_STATE] = self._memo(select_states, states, scope)
        resources[FACT] = self._memo(_make_facts, self._facts.own)
        resources[REVISION] = self._memo(select_labels, self._labels(), cluster)
        unknown = self.unknown - {cluster}
        clusters = self._store.objects.all(KubernetesCluster)
        awaited = self._memo(find_awaited, clusters, self._management_cluster) & unknown
        return Target(
            resources=MappingProxyType(resources),
            keeps=unknown,
            silent=self.registered - heard - {cluster},
            complete=not awaited,
        )

    def for_management(self, cluster: str) -> Target:
        """What the agent of ``cluster`` tells the management server."""
        return self._unless_same(("management", cluster), frozenset(), lambda: self._make_for_management(cluster))

    def _make_for_management(self, cluster: str) -> Target:
        objects = self._store.objects
        index = index_objects(objects, self._management_cluster, self._memo)
        used = self._used_secrets(index, None)
        gateways = self._memo(gateway_secrets, objects.all(VirtualGateway), objects.all(Secret), index)
        secrets = self._same(("secrets", cluster), used | gateways)
        resources = self._select(cluster, lambda key: is_for_management(key, cluster, secrets), cluster, secrets)
        resources[NODE_STATE] = self._states("own")
        resources[FACT] = self._memo(_make_facts, self._facts.own)
        resources[REVISION] = self._memo(_own_label, self._labels(), cluster)
        return Target(resources=MappingProxyType(resources))

    def held_of(self, cluster: str) -> Versions:
        """What this process, the management server, holds of what the agent of a cluster told."""
        held = self._held_objects(lambda key: key.cluster == cluster)
        states = self._states("remote")
        held[NODE_STATE] = {node: one.version for node, one in states.items() if place_of_node(node)[0] == cluster}
        held[FACT] = self._held_facts(cluster)
        held[REVISION] = {name: one.version for name, one in self._labels().items() if name == cluster}
        return held

    def held_but(self, cluster: str) -> Versions:
        """What this process, the agent of a cluster, holds of what the management server told."""
        held = self._held_objects(lambda key: key.cluster != cluster)
        held[NODE_STATE] = {node: one.version for node, one in self._states("remote").items()}
        held[FACT] = self._held_facts(self._management_cluster)
        held[REVISION] = {name: one.version for name, one in self._labels().items() if name != cluster}
        return held

    def next_generation(self) -> None:
        """Forget what has gone out of use, now and then."""
        self._memo.next_generation()

    def _passages(self, index: WorkspaceIndex) -> frozenset[ObjectKey]:
        objects = self._store.objects
        found = self._memo(find_passages, objects.all(Service), objects.all(Pod), objects.all(EndpointSlice), index)
        return self._same(("passages", ""), found)

    def _used_secrets(self, index: WorkspaceIndex, scope: Scope | None) -> frozenset[ObjectKey]:
        references = find_references(self._store.objects, self._memo)
        return self._memo(used_secrets, references, index, scope, self._management_cluster)

    def _objects(self, kind: str) -> Mapping[ObjectKey, Resource]:
        derived = self._made.setdefault(kind, Derived())
        return derived.follow(self._store.essences.get(kind, _NO_BODIES), lambda key: key, make_object)

    def _select(
        self, cluster: str, counts: Callable[[ObjectKey], bool], whose: object, secrets: frozenset[ObjectKey]
    ) -> dict[str, Resources]:
        """Type URL → the objects that count; ``counts`` is a function of the key, of ``whose`` and of ``secrets``."""

        def name(key: ObjectKey) -> str | None:
            return object_name(key) if counts(key) else None

        selected: dict[str, Resources] = {}
        for kind in KIND_BY_NAME:
            derived = self._selected.setdefault((cluster, kind), Derived())
            context = (whose, secrets) if kind == SECRET else (whose,)
            selected[object_type(kind)] = derived.follow(self._objects(kind), name, _itself, *context)
        return selected

    def _unless_same(self, slot: tuple[str, str], heard: frozenset[str], make: Callable[[], Target]) -> Target:
        """The Target of last time, if nothing of what it was made from is anything else: we are asked at every ring."""
        store = self._store
        inputs = (
            store.objects,
            store.essences,
            store.revisions,
            self._own.states,
            self._remote.states,
            self._facts.own,
        )
        before = self._targets.get(slot)
        if before is None or before[1] != heard or not all(map(operator.is_, before[0], inputs)):
            before = self._targets[slot] = (inputs, heard, make())
        return before[2]

    def _same(self, slot: tuple[str, str], value: Value) -> Value:
        """The value, or the one that was here before if that equals it: others are made of it, and go by identity."""
        if self._before.get(slot) != value:
            self._before[slot] = value
        return cast("Value", self._before[slot])

    def _states(self, whose: str) -> Resources:
        states = self._own if whose == "own" else self._remote
        return self._memo.each(_make_state, states.states, whose)

    def _labels(self) -> Resources:
        return self._memo.each(_make_label, self._store.revisions)

    def _held_objects(self, counts: Callable[[ObjectKey], bool]) -> dict[str, Mapping[str, str]]:
        return {
            object_type(kind): {one.name: one.version for key, one in self._objects(kind).items() if counts(key)}
            for kind in KIND_BY_NAME
        }

    def _held_facts(self, teller: str) -> Mapping[str, str]:
        return {name: content_version(body) for name, body in self._facts.received.get(teller, {}).items()}


def _make_state(node: str, state: RemoteState, _whose: str) -> Resource:
    return make_resource(NODE_STATE, node, encode_state(state))


def _make_label(cluster: str, label: str) -> Resource:
    return make_resource(REVISION, cluster, label.encode())


def _make_facts(facts: Mapping[str, bytes]) -> Resources:
    return {name: make_resource(FACT, name, body) for name, body in facts.items()}


def _own_label(labels: Resources, cluster: str) -> Resources:
    return {name: one for name, one in labels.items() if name == cluster}


def _join(one: Resources, other: Resources) -> Resources:
    return {**one, **other}


def _itself(_key: ObjectKey, resource: Resource) -> Resource:
    return resource
