"""Properties of translation and of the Snapshots built from it, over generated meshes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from envoy.service.discovery.v3.discovery_pb2 import Resource as DiscoveryResource
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.core_strategies import FIXED, damaged, meshes, policies, route_tables, services, workspaces
from tests.property.policy_oracle import PolicyOracle
from tests.support.objects import build_snapshots, key_of, object_set, read_objects, translate_objects
from tests.support.reading import DENIED, OPEN, Reading, same_bytes

from meshpass.api.objectset import ObjectSet
from meshpass.envoy.snapshot import Snapshot
from meshpass.memo import SWEEP_INTERVAL, Memo
from meshpass.translate import Translation

MAX_NAME = 300
"""Longest name of a resource: three Kubernetes names of 63 characters, and a little."""


def run(*manifests: Mapping[str, Any]) -> tuple[Translation, dict[str, Snapshot]]:
    translation = translate_objects(object_set(*manifests))
    return translation, build_snapshots(translation)


def said(translation: Translation) -> dict[Any, Any]:
    """All that a report says."""
    return {
        key: (one.generation, one.findings, dict(one.counts), one.nodes)
        for key, one in translation.report.objects.items()
    }


def assert_same(one: Mapping[str, Snapshot], other: Mapping[str, Snapshot]) -> None:
    assert one.keys() == other.keys()
    for node, snapshot in one.items():
        assert same_bytes(snapshot, other[node])


@given(meshes().flatmap(lambda mesh: st.tuples(st.just(mesh), st.permutations(mesh))))
def test_the_order_of_objects_means_nothing(meshes_: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    """(a) Shuffled objects give equal Snapshots and an equal report."""
    mesh, shuffled = meshes_
    translation, snapshots = run(*mesh)
    again, others = run(*shuffled)

    assert_same(snapshots, others)
    assert said(translation) == said(again)


@given(meshes())
def test_translating_twice_is_translating_once(mesh: list[dict[str, Any]]) -> None:
    """(b) With the same memo the parts are identical; with a new one the bytes are equal."""
    objects, memo = object_set(*mesh), Memo()
    first = translate_objects(objects, memo)
    snapshots = build_snapshots(first, memo)
    second = translate_objects(objects, memo)
    again = build_snapshots(second, memo)

    for node, proxy in first.proxies.items():
        assert second.proxies[node] is proxy
        for type_url, of_type in snapshots[node].resources.items():
            for name, resource in of_type.items():
                assert again[node].of(type_url)[name] is resource
    assert_same(snapshots, build_snapshots(translate_objects(objects)))


CHANGES = st.lists(
    st.tuples(st.sampled_from([True, True, False]), st.one_of(policies(), route_tables(), services(), workspaces())),
    max_size=8,
)


@given(meshes(), CHANGES)
def test_a_mesh_that_was_changed_is_a_mesh_made_so(
    mesh: list[dict[str, Any]], changes: list[tuple[bool, dict[str, Any]]]
) -> None:
    """(c) After any upserts and deletes, the result with one memo equals that of a fresh one."""
    memo = Memo()
    objects = ObjectSet.empty().with_changes(read_objects(*mesh))
    for is_upsert, raw in changes:
        build_snapshots(translate_objects(objects, memo), memo)
        objects = objects.with_changes(read_objects(raw) if is_upsert else {}, () if is_upsert else (key_of(raw),))
    translation = translate_objects(objects, memo)
    fresh = translate_objects(objects)

    assert_same(build_snapshots(translation, memo), build_snapshots(fresh))
    assert said(translation) == said(fresh)


@given(meshes(), meshes())
@settings(max_examples=15)
def test_what_was_forgotten_is_found_again(mesh: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    """(c) Sweeps of the memo change no result: mesh, another mesh long enough to forget, and the first again."""
    memo = Memo()
    first = build_snapshots(translate_objects(object_set(*mesh), memo), memo)
    between = object_set(*other)
    for _ in range(2 * SWEEP_INTERVAL + 1):
        translate_objects(between, memo)
    translation = translate_objects(object_set(*mesh), memo)

    assert_same(first, build_snapshots(translation, memo))


@given(meshes())
def test_every_route_is_under_the_oldest_policy_that_selects_it(mesh: list[dict[str, Any]]) -> None:
    """(d) The requirement of that very policy, a denial if it cannot be built, and open if there is none."""
    _, snapshots = run(*mesh)
    oracle = PolicyOracle(mesh)
    for snapshot in snapshots.values():
        reading = Reading(snapshot)
        for route in reading.routes:
            if not oracle.knows(route.name):
                assert reading.verdict(route) == OPEN
                continue
            winner = oracle.winner(route.name)
            verdict = reading.verdict(route)
            if winner is None:
                assert verdict == OPEN
            elif oracle.is_sound(winner):
                assert reading.issuers(verdict) == {oracle.issuer(winner)}
            else:
                assert verdict == DENIED


@given(meshes())
def test_every_inbound_port_is_under_the_policies_of_its_services(mesh: list[dict[str, Any]]) -> None:
    """(d) For each Service that leads to a port, the oldest policy that selects it; a broken one among them denies."""
    _, snapshots = run(*mesh)
    oracle = PolicyOracle(mesh)
    for node, snapshot in snapshots.items():
        reading = Reading(snapshot)
        expected = oracle.destination_policies(node.split("~")[2])
        for name, manager in reading.listeners.items():
            for route in (route for host in manager.route_config.virtual_hosts for route in host.routes):
                here = [policy for port, policy in expected if name.endswith(f"-{port}")]
                verdict = reading.verdict(route)
                if not here:
                    assert verdict == OPEN
                elif all(map(oracle.is_sound, here)):
                    assert reading.issuers(verdict) == {oracle.issuer(policy) for policy in here}
                else:
                    assert verdict == DENIED


@given(meshes(st.one_of(policies(), damaged(policies()))))
@settings(max_examples=100)
def test_garbage_in_a_policy_opens_nothing(mesh: list[dict[str, Any]]) -> None:
    """(d) A route that any policy selects, by selectors that can be read, is denied or wants a token, whatever else is in it."""
    _, snapshots = run(*mesh)
    oracle = PolicyOracle(mesh)
    for snapshot in snapshots.values():
        reading = Reading(snapshot)
        for route in reading.routes:
            if not oracle.knows(route.name) or not oracle.certain_selectors(route.name):
                continue
            verdict = reading.verdict(route)
            assert verdict == DENIED or reading.issuers(verdict) <= oracle.sound_issuers()
            assert verdict != OPEN


@given(
    st.lists(
        st.one_of(
            damaged(policies()),
            damaged(route_tables()),
            damaged(services()),
            damaged(workspaces()),
            policies(),
            route_tables(),
            services(),
            workspaces(),
        ),
        max_size=8,
    )
)
@settings(max_examples=100)
def test_translation_is_total(manifests: list[dict[str, Any]]) -> None:
    """Whatever is in the objects, there is a Snapshot for each sidecar, whole in itself, and a report on each object."""
    translation, snapshots = run(*FIXED, *manifests)

    assert len(snapshots) == 2
    assert [Reading(one).dangling() for one in snapshots.values()] == [[], []]
    assert {key_of(raw) for raw in manifests if ".solo.io/" in raw["apiVersion"]} <= translation.report.objects.keys()


@given(meshes())
def test_every_reference_resolves_and_every_domain_is_once(mesh: list[dict[str, Any]]) -> None:
    """(e) Routes → clusters and requirements, listeners → filters and routes; and Envoy's rule on domains holds."""
    _, snapshots = run(*mesh)
    for snapshot in snapshots.values():
        reading = Reading(snapshot)
        assert reading.dangling() == []
        for configuration in reading.route_configurations.values():
            domains = [domain for host in configuration.virtual_hosts for domain in host.domains]
            names = [host.name for host in configuration.virtual_hosts]
            assert len(domains) == len(set(domains))
            assert len(names) == len(set(names))


@given(meshes())
def test_names_are_bounded_and_versions_are_hashes_of_content(mesh: list[dict[str, Any]]) -> None:
    """(g) A version stands for the resource's bytes, a class or provider ends in 16 hex digits, a name is not long."""
    _, snapshots = run(*mesh)
    versions: dict[tuple[str, bytes], str] = {}
    for snapshot in snapshots.values():
        for of_type in snapshot.resources.values():
            for name, resource in of_type.items():
                wire = DiscoveryResource.FromString(resource.wire)
                assert (wire.name, wire.version) == (name, resource.version) == (resource.name, resource.version)
                assert re.fullmatch(r"[0-9a-f]{16}", resource.version)
                assert (
                    versions.setdefault((resource.type_url, wire.resource.value), resource.version) == resource.version
                )
                assert 0 < len(name) <= MAX_NAME
        reading = Reading(snapshot)
        assert all(re.fullmatch(r"[0-9a-f]{16}", reading.class_of(route)) for route in reading.routes)
        providers = {name for config in reading.jwt.values() for name in config.providers}
        assert all(re.fullmatch(r"[A-Za-z0-9-]{1,60}-[0-9a-f]{16}", name) for name in providers)
    bodies = {(type_url, version): body for (type_url, body), version in versions.items()}
    assert len(bodies) == len(versions), "two contents share a version"
