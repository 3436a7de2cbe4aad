from __future__ import annotations

import asyncio

from meshpass.api.core import Secret, Service
from meshpass.api.kinds import CORE_KINDS, KINDS
from meshpass.api.objectset import ObjectKey
from meshpass.api.security import JWTPolicy
from meshpass.kube.resource import Raw, ResourceKind, group_version
from meshpass.kube.store import ObjectStore, Source

POLICY = next(kind for kind in KINDS if kind.kind == "JWTPolicy")
SERVICE = next(kind for kind in CORE_KINDS if kind.kind == "Service")
SECRET = next(kind for kind in CORE_KINDS if kind.kind == "Secret")
KEY = ObjectKey("JWTPolicy", "cluster1", "default", "policy")


def make_raw(kind: ResourceKind, name: str, version: int, **content: object) -> dict:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": group_version(kind), "kind": kind.kind, "metadata": metadata, **content}


def make_policy(version: int, phase: int = 1, **content: object) -> Raw:
    spec = {"applyToRoutes": [{"route": {}}], "config": {"phase": {"preAuthz": {"priority": phase}}}}
    return make_raw(POLICY, "policy", version, spec=spec, **content)


async def test_store_makes_one_object_set_of_what_arrives_in_one_turn():
    store = ObjectStore()
    store.replace("cluster1", SERVICE, [make_raw(SERVICE, f"s{n}", n) for n in range(1, 4)], "5")
    store.upsert("cluster1", SERVICE, make_raw(SERVICE, "s4", 6))
    store.delete("cluster1", SERVICE, make_raw(SERVICE, "s1", 7))

    assert store.revision == 0
    assert await store.wait_changed(0) == 1
    assert {key.name for key in store.objects.all(Service)} == {"s2", "s3", "s4"}
    assert store.progress("cluster1", "Service") == 7


async def test_store_keeps_the_set_itself_when_only_our_status_and_bookkeeping_change():
    store = ObjectStore()
    store.replace("cluster1", POLICY, [make_policy(1)], "1")
    store.flush()
    before = store.objects

    changed = dict(make_policy(2, status={"numSelectedRoutes": 3}))
    changed["metadata"] = {
        **changed["metadata"],
        "managedFields": [{"manager": "meshpass"}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    }
    store.upsert("cluster1", POLICY, changed)
    store.flush()

    assert store.objects is before
    assert store.revision == 1
    stored = store.stored(KEY)
    assert stored is not None
    assert (stored.version, stored.status) == ("2", {"numSelectedRoutes": 3})
    assert store.versions("cluster1", "JWTPolicy") == {KEY: "2"}


async def test_store_makes_a_new_object_when_the_spec_changes_and_keeps_the_others():
    store = ObjectStore()
    store.replace("cluster1", POLICY, [make_policy(1), {**make_raw(POLICY, "other", 1), "spec": {}}], "1")
    store.flush()
    before = store.objects.all(JWTPolicy)

    store.upsert("cluster1", POLICY, make_policy(2, phase=2))
    store.flush()
    after = store.objects.all(JWTPolicy)

    other = KEY._replace(name="other")
    assert after[KEY] != before[KEY]
    assert after[other] is before[other]
    assert store.revision == 2


async def test_store_list_after_other_history_deletes_replaces_and_keeps():
    store = ObjectStore()
    secret = {"type": "Opaque", "data": {"a": "QQ=="}}
    first = [make_raw(SECRET, name, 9, **secret) for name in ("gone", "same", "changed")]
    store.replace("cluster1", SECRET, first, "9")
    store.replace("cluster2", SECRET, [make_raw(SECRET, "gone", 9, **secret)], "9")
    store.flush()
    before = store.objects.all(Secret)

    # The same numbers as before the restart, though the content differs: numbers of two histories say nothing.
    changed = make_raw(SECRET, "changed", 9, type="Opaque", data={"a": "Qg=="})
    store.replace("cluster1", SECRET, [make_raw(SECRET, "same", 9, **secret), changed], "3")
    store.flush()
    after = store.objects.all(Secret)

    def key(name: str, cluster: str = "cluster1") -> ObjectKey:
        return ObjectKey("Secret", cluster, "default", name)

    assert set(after) == {key("same"), key("changed"), key("gone", "cluster2")}
    assert after[key("same")] is before[key("same")]
    assert after[key("changed")] != before[key("changed")]
    assert store.progress("cluster1", "Secret") == 3


async def test_store_unreadable_object_keeps_its_last_good_state(caplog):
    store = ObjectStore()
    store.replace("cluster1", POLICY, [make_policy(1)], "1")
    store.flush()
    before = store.objects

    store.upsert("cluster1", POLICY, {**make_policy(2), "apiVersion": "example.org/v9"})
    store.flush()
    assert store.objects is before
    assert store.progress("cluster1", "JWTPolicy") == 2
    store.replace("cluster1", POLICY, [{**make_policy(3), "apiVersion": "example.org/v9"}], "3")
    store.flush()

    assert store.objects is before
    assert [record.message for record in caplog.records] == ["object unreadable"] * 2


async def test_store_is_synced_once_every_expected_kind_was_listed():
    store = ObjectStore()
    store.expect("cluster1", [POLICY, SERVICE])
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(store.wait_synced())
        store.replace("cluster1", POLICY, [], "1")
        store.flush()
        await asyncio.sleep(0)
        assert not waiting.done()
        assert store.unsynced == (Source("cluster1", "Service"),)
        store.replace("cluster1", SERVICE, [], "1")

    assert store.synced
    assert store.revision == 0
    assert store.kinds("cluster1") == (POLICY, SERVICE)


async def test_store_made_anew_under_the_same_name_within_one_turn_is_the_new_object():
    store = ObjectStore()
    store.replace("cluster1", POLICY, [make_policy(1)], "1")
    store.flush()
    renewed = dict(make_policy(3))
    renewed["metadata"] = {**renewed["metadata"], "uid": "uid-new"}

    store.delete("cluster1", POLICY, make_policy(2))
    store.upsert("cluster1", POLICY, renewed)
    store.flush()

    assert store.objects.all(JWTPolicy)[KEY].metadata.uid == "uid-new"
    stored = store.stored(KEY)
    assert stored is not None
    assert stored.uid == "uid-new"


async def test_store_added_and_deleted_within_one_turn_makes_no_set():
    store = ObjectStore()
    store.replace("cluster1", POLICY, [], "1")
    store.flush()

    store.upsert("cluster1", POLICY, make_policy(2))
    store.delete("cluster1", POLICY, make_policy(3))
    store.flush()

    assert store.revision == 0
    assert len(store.objects) == 0
