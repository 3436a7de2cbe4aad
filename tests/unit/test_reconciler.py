"""Reconciler: what is published, when, and what is said of it; with fakes of all that it writes to."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.feature.control_plane import ControlPlane, documents
from tests.support.catalog import external_service
from tests.support.certificates import Authority
from tests.support.objects import BASE, CLIENT, SERVER, forward, jwt_policy, route_table
from tests.support.reading import same_bytes

from meshpass import reconciler
from meshpass.api.kinds import kind_of_type
from meshpass.api.routetable import RouteTable
from meshpass.envoy.snapshot import SECRET
from meshpass.ir import ObjectRef
from meshpass.xds.event import Rejected
from meshpass.xds.remote import process_node

TABLE = route_table(hosts=["www.example.com"], http=[forward(route="httpbin")])
POLICY = jwt_policy(config={"providers": {}})
"""It cannot be built, so that it denies."""


@pytest.fixture
async def plane() -> ControlPlane:
    plane = ControlPlane()
    plane.apply(*documents(BASE))
    plane.store.flush()
    return plane


def connect(plane: ControlPlane, node: str):
    """A stream of the node that has acknowledged its target."""
    entry = plane.cache.connect(node, lambda _: None)
    acknowledge(plane, entry)
    return entry


def acknowledge(plane: ControlPlane, entry) -> None:
    entry.report(in_sync_with=plane.cache.state(entry.node).target, rejections=())


async def test_every_sidecar_has_its_target(plane: ControlPlane) -> None:
    """One Snapshot for each pod with a sidecar."""
    plane.reconciler.reconcile()

    assert plane.reconciler.nodes == (CLIENT, SERVER) == plane.cache.nodes
    assert plane.reconciler.translated == plane.store.revision


async def test_nothing_is_published_before_all_is_listed(plane: ControlPlane) -> None:
    """Half of the objects could open a route: not one target before the last list has come."""
    kind = kind_of_type(RouteTable)
    plane.store.expect("cluster1", [kind])
    async with plane.running():
        plane.apply(POLICY)
        for _ in range(20):
            await asyncio.sleep(0)
        assert plane.cache.nodes == ()

        plane.store.replace("cluster1", kind, [], "1")
        await plane.settle()
        assert plane.cache.nodes == (CLIENT, SERVER)


async def test_what_did_not_change_is_not_published_again(plane: ControlPlane) -> None:
    """Reconciling twice sets no target; after a change that no proxy sees, no target has other bytes."""
    plane.reconciler.reconcile()
    before = {node: plane.cache.state(node).target for node in plane.cache.nodes}
    revision = plane.cache.revision
    plane.reconciler.reconcile()
    assert plane.cache.revision == revision

    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}})
    plane.store.flush()
    plane.reconciler.reconcile()
    assert all(same_bytes(plane.cache.state(node).target, one) for node, one in before.items())


async def test_a_pod_that_goes_takes_its_target_along(plane: ControlPlane) -> None:
    """Its node is not waited for any more."""
    plane.reconciler.reconcile()
    (pod,) = (raw for raw in documents(BASE) if raw["kind"] == "Pod" and raw["metadata"]["name"] == "client")
    plane.delete(pod)
    plane.store.flush()
    plane.reconciler.reconcile()

    assert plane.reconciler.nodes == (SERVER,) == plane.cache.nodes
    assert plane.reconciler.late() == (SERVER,)


async def test_a_status_says_what_was_made_of_an_object_and_who_has_it(plane: ControlPlane) -> None:
    """Programmed is False until each proxy that uses the object has acknowledged, then True."""
    plane.apply(TABLE)
    plane.store.flush()
    plane.reconciler.reconcile()
    client = connect(plane, CLIENT)
    plane.reconciler.write_statuses()
    assert plane.approval(TABLE) == "ACCEPTED"
    assert plane.programmed(TABLE) == ("False", "Pending", f"waiting for {SERVER}")

    connect(plane, SERVER)
    plane.reconciler.write_statuses()
    assert plane.programmed(TABLE)[:2] == ("True", "Programmed")

    client.close()
    plane.reconciler.write_statuses()
    assert plane.programmed(TABLE)[:2] == ("True", "Programmed")


async def test_a_change_is_waited_for_again(plane: ControlPlane) -> None:
    """What was acknowledged before the change does not count for it."""
    plane.apply(TABLE)
    plane.store.flush()
    plane.reconciler.reconcile()
    streams = [connect(plane, node) for node in (CLIENT, SERVER)]
    plane.reconciler.write_statuses()
    plane.apply({**TABLE, "spec": {**TABLE["spec"], "hosts": ["other.example.com"]}})
    plane.store.flush()
    plane.reconciler.reconcile()
    plane.reconciler.write_statuses()
    assert plane.programmed(TABLE)[:2] == ("False", "Pending")
    assert plane.reconciler.late() == (CLIENT, SERVER)

    for stream in streams:
        acknowledge(plane, stream)
    plane.reconciler.write_statuses()
    assert plane.programmed(TABLE)[:2] == ("True", "Programmed")
    assert plane.reconciler.late() == ()


async def test_a_status_waits_for_proxies_and_says_it_all_at_once(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile others are told how far the proxies are: one edit is one write."""
    monkeypatch.setattr(reconciler, "STATUS_INTERVAL_SECONDS", 0.001)
    monkeypatch.setattr(reconciler, "PATIENCE_SECONDS", 3600.0)
    plane.apply(TABLE)
    async with asyncio.timeout(20), plane.running():
        await plane.states.wait_changed(0)
        assert not plane.states.states[CLIENT].in_sync
        assert not plane.statuses.submitted.is_set()

        for node in (CLIENT, SERVER):
            connect(plane, node)
        await plane.statuses.submitted.wait()
        assert plane.programmed(TABLE)[:2] == ("True", "Programmed")


async def test_a_status_does_not_wait_for_ever(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is gone keeps nobody from knowing what was made of an object."""
    monkeypatch.setattr(reconciler, "STATUS_INTERVAL_SECONDS", 0.001)
    monkeypatch.setattr(reconciler, "PATIENCE_SECONDS", 0.003)
    plane.apply(TABLE)
    async with asyncio.timeout(20), plane.running():
        await plane.statuses.submitted.wait()
        assert plane.programmed(TABLE) == ("False", "Pending", f"waiting for {CLIENT}, {SERVER}")


async def test_a_process_without_proxies_has_nothing_to_tell(plane: ControlPlane) -> None:
    """What it works from is of interest for its proxies' sake alone: others would be told with every edit."""
    plane.reconciler.reconcile()
    plane.reconciler.write_statuses()
    assert plane.states.states.keys() == {CLIENT, SERVER, process_node("mgmt")}

    plane.delete(*(raw for raw in documents(BASE) if raw["kind"] == "Pod"))
    plane.store.flush()
    plane.reconciler.reconcile()
    plane.reconciler.write_statuses()
    assert plane.states.states == {}


async def test_an_invalid_policy_is_said_to_deny(plane: ControlPlane) -> None:
    """INVALID, not programmed, and why."""
    plane.apply(TABLE, POLICY)
    plane.store.flush()
    plane.reconciler.reconcile()
    for node in (CLIENT, SERVER):
        connect(plane, node)
    plane.reconciler.write_statuses()

    assert plane.approval(POLICY) == "INVALID"
    assert plane.programmed(POLICY)[:2] == ("False", "Invalid")
    assert "denied" in plane.programmed(POLICY)[2]


def rejection(message: str) -> Rejected:
    table = ObjectRef("RouteTable", "cluster1", "httpbin", "table")
    return Rejected(type_url="t", message=message, resources=(), removed=("a",), sources=frozenset({table}))


async def test_a_rejection_is_one_event_and_a_status(plane: ControlPlane) -> None:
    """Each object to blame is told once, with Envoy's words; again only when it had gone away."""
    plane.apply(TABLE)
    plane.store.flush()
    plane.reconciler.reconcile()
    stream = connect(plane, CLIENT)
    connect(plane, SERVER)
    for _ in range(3):
        stream.report(in_sync_with=None, rejections=(rejection("no such thing"),))
        plane.reconciler.write_statuses()
    message = f"{CLIENT} refuses it: no such thing"
    assert plane.programmed(TABLE) == ("False", "Rejected", message)
    assert [event[1:] for event in plane.events.events] == [("Rejected", message)]

    acknowledge(plane, stream)
    plane.reconciler.write_statuses()
    assert plane.programmed(TABLE)[:2] == ("True", "Programmed")
    assert len(plane.events.events) == 1

    stream.report(in_sync_with=None, rejections=(rejection("no such thing"),))
    plane.reconciler.write_statuses()
    assert len(plane.events.events) == 2


async def test_two_proxies_that_refuse_are_both_named(plane: ControlPlane) -> None:
    """One event for each of them."""
    plane.apply(TABLE)
    plane.store.flush()
    plane.reconciler.reconcile()
    for node in (CLIENT, SERVER):
        connect(plane, node).report(in_sync_with=None, rejections=(rejection("no"),))
    plane.reconciler.write_statuses()

    assert plane.programmed(TABLE)[2] == f"{CLIENT} refuses it: no; {SERVER} refuses it: no"
    assert len(plane.events.events) == 2


async def test_statuses_are_of_objects_that_are_there(plane: ControlPlane) -> None:
    """A deleted object's status is not written, and it leaves nothing behind."""
    plane.apply(TABLE)
    plane.store.flush()
    plane.reconciler.reconcile()
    plane.delete(TABLE)
    plane.store.flush()
    plane.reconciler.reconcile()
    plane.reconciler.write_statuses()

    assert {key.kind for key in plane.statuses.statuses} == {"Workspace"}


async def test_waiting_for_a_revision(plane: ControlPlane) -> None:
    """``wait_translated`` returns when the objects of that revision, or newer, are published."""
    async with plane.running(), asyncio.timeout(5):
        plane.apply(TABLE)
        plane.store.flush()
        await plane.reconciler.wait_translated(plane.store.revision)
        await plane.reconciler.wait_translated(0)
        assert plane.reconciler.translated == plane.store.revision


async def test_the_policy_of_a_class_is_known(plane: ControlPlane) -> None:
    """A decision record names a class; the reconciler knows whose it is."""
    plane.apply(TABLE, POLICY)
    plane.store.flush()
    plane.reconciler.reconcile()
    found = {plane.reconciler.policy_of(name) for name in plane.reconciler._policies}

    assert [key.name for key in found if key is not None] == ["policy"]
    assert plane.reconciler.policy_of("no such class") is None


def outside(path: Path) -> dict[str, Any]:
    """A service outside whose server is verified by the authorities in a file."""
    port = {"number": 443, "protocol": "HTTPS", "clientsideTls": {"caCertificates": str(path)}}
    return external_service(hosts=["api.outside.example"], ports=[port])


def authorities(plane: ControlPlane, path: Path) -> list[str]:
    """What the proxies are given of a file."""
    target = plane.cache.state(CLIENT).target
    return [one for one in target.of(SECRET) if str(path) in one] if target is not None else []


async def test_files_are_read_before_anything_is_published(plane: ControlPlane, tmp_path: Path) -> None:
    """A proxy that comes back after a restart never sees what needs a file closed for a moment."""
    file = tmp_path / "authorities.pem"
    file.write_text(Authority().certificate)
    plane.apply(outside(file))
    plane.store.flush()
    plane.reconciler.reconcile()
    assert plane.cache.nodes == ()

    async with plane.running():
        await plane.settle()
        assert authorities(plane, file) == [f"file:{file}#ca"]


async def test_files_are_followed(plane: ControlPlane, tmp_path: Path) -> None:
    """A file that is missing holds nothing up; it counts as soon as it is there, and no longer than that."""
    file = tmp_path / "authorities.pem"
    plane.apply(outside(file), TABLE)
    async with plane.running():
        await plane.settle()
        assert authorities(plane, file) == []
        file.write_text(Authority().certificate)
        async with asyncio.timeout(10):
            while not authorities(plane, file):
                await plane.cache.wait_changed(plane.cache.revision)
        file.unlink()
        async with asyncio.timeout(10):
            while authorities(plane, file):
                await plane.cache.wait_changed(plane.cache.revision)


async def test_what_could_not_be_built_is_built_again(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in building leaves a proxy as it is, and nobody takes it for up to date: not even after the next look."""
    plane.reconciler.reconcile()
    for node in (CLIENT, SERVER):
        connect(plane, node)
    plane.apply(TABLE)
    plane.store.flush()
    with monkeypatch.context() as patch:
        patch.setattr("meshpass.reconciler.build_snapshot", lambda *_: 1 // 0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                plane.reconciler.reconcile()
    assert plane.reconciler.translated < plane.store.revision

    plane.reconciler.reconcile()
    assert plane.reconciler.late() == (CLIENT, SERVER)
