"""Objects of other clusters in the store: labels, essences, what is restored, and whose word counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support.relay_world import manifest

from meshpass.api.core import Namespace, Service
from meshpass.api.objectset import ObjectKey
from meshpass.api.security import JWTPolicy
from meshpass.kube.essence import Essence, decode_essence
from meshpass.kube.label import label_covers
from meshpass.kube.objectlog import ObjectLog
from meshpass.kube.store import RELAYED, Batch, ObjectStore, Source
from meshpass.kube.stored import KIND_BY_NAME

SERVICE, POLICY = KIND_BY_NAME["Service"], KIND_BY_NAME["JWTPolicy"]


def raw(name: str, version: int, kind: str = "Service", **content: Any) -> dict[str, Any]:
    found = manifest(kind, name, "apps", **content)
    return {**found, "metadata": {**found["metadata"], "uid": f"uid-{name}", "resourceVersion": str(version)}}


def key(name: str, cluster: str = "cluster1", kind: str = "Service") -> ObjectKey:
    return ObjectKey(kind, cluster, "apps", name)


def essence(name: str, port: int = 80, kind: str = "Service") -> Essence:
    source = ObjectStore(keeps_essences=True)
    source.expect("x", [KIND_BY_NAME[kind]])
    spec = {"ports": [{"port": port}]} if kind == "Service" else {}
    source.replace("x", KIND_BY_NAME[kind], [raw(name, 1, kind, spec=spec)], "1")
    source.flush()
    return decode_essence(source.essences[kind][key(name, "x", kind)])


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ObjectLog]:
    with closing(ObjectLog(tmp_path / "objects.db")) as found:
        yield found


def own_store(log: ObjectLog | None = None, *, now: float = 1000.0) -> ObjectStore:
    store = ObjectStore(keeps_essences=True, log=log, clock=lambda: now)
    store.expect("cluster1", [SERVICE, POLICY])
    return store


def listed(store: ObjectStore, *services: dict[str, Any], version: str = "9") -> ObjectStore:
    store.replace("cluster1", SERVICE, services, version)
    store.replace("cluster1", POLICY, [], version)
    store.flush()
    return store


async def test_a_label_rises_with_what_is_read_and_with_nothing_else() -> None:
    """A spec, a new object, a deletion; not a status that we write, nor another resourceVersion."""
    store = listed(own_store(), raw("a", 1))
    seen = [store.revisions["cluster1"]]

    def note() -> None:
        store.flush()
        seen.append(store.revisions["cluster1"])

    store.upsert("cluster1", SERVICE, raw("a", 2))
    note()
    assert seen[-1] == seen[-2]
    store.upsert("cluster1", SERVICE, raw("a", 3, spec={"type": "NodePort"}))
    note()
    store.upsert("cluster1", POLICY, raw("p", 4, "JWTPolicy", spec={}))
    note()
    assert len(set(seen)) == 3
    store.upsert("cluster1", POLICY, raw("p", 5, "JWTPolicy", spec={}, status={"numSelectedRoutes": 1}))
    note()
    assert seen[-1] == seen[-2]
    store.delete("cluster1", SERVICE, raw("a", 6))
    note()
    assert seen[-1] != seen[-2]
    assert all(label_covers(later, earlier) for earlier, later in pairwise(seen))


async def test_a_problem_of_a_manifest_is_a_change() -> None:
    """Also where the object that is left of it is the same: what it selects is denied from now on."""
    store = listed(own_store())
    store.upsert("cluster1", POLICY, raw("p", 1, "JWTPolicy", spec={}))
    store.flush()
    before = store.revisions["cluster1"]
    store.upsert("cluster1", POLICY, raw("p", 2, "JWTPolicy", spec={"unknown": 1}))
    store.flush()

    assert store.revisions["cluster1"] != before
    assert b"unknown" in store.essences["JWTPolicy"][key("p", kind="JWTPolicy")]


async def test_a_cluster_has_a_label_once_everything_of_it_is_known() -> None:
    """An empty one too."""
    store = own_store()
    store.replace("cluster1", SERVICE, [], "1")
    store.flush()
    assert store.revisions == {}
    store.replace("cluster1", POLICY, [], "1")
    store.flush()

    assert store.revisions.keys() == {"cluster1"}


async def test_a_batch_of_another_process_is_one_set_with_its_labels() -> None:
    """Objects of several clusters and what they are labelled come at once, and count as synced with the first."""
    store = listed(own_store())
    store.expect_relayed("mgmt")
    assert store.unsynced == (Source("mgmt", RELAYED),)
    revision = store.revision
    upserts = {key("a", cluster): essence("a") for cluster in ("mgmt", "cluster2")}
    store.relay("mgmt", Batch(upserts=upserts, labels={"mgmt": "1:1", "cluster2": "7:7"}))
    store.flush()

    assert store.synced
    assert store.revision == revision + 1
    assert set(store.objects.all(Service)) == set(upserts)
    assert {cluster: store.revisions[cluster] for cluster in ("mgmt", "cluster2")} == {"mgmt": "1:1", "cluster2": "7:7"}
    found = store.stored(key("a", "cluster2"))
    assert found is not None
    assert (found.uid, found.version, found.status) == ("uid-a", "0", {})


async def test_a_label_alone_makes_no_new_set_and_wakes_who_waits() -> None:
    """What this process may not see has changed: what was translated is of the new state as well."""
    store = listed(own_store())
    revision, changes, objects = store.revision, store.changes, store.objects
    store.relay("mgmt", Batch(labels={"cluster2": "7:8"}))
    store.flush()

    assert (store.revision, store.objects is objects) == (revision, True)
    assert store.changes > changes
    assert store.revisions["cluster2"] == "7:8"


@pytest.mark.parametrize(
    "batch",
    [
        Batch(
            upserts={
                key("a"): Essence(
                    b"", decode_essence(b'{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"}}').parsed
                )
            }
        ),
        Batch(deletes=frozenset({key("a")})),
        Batch(labels={"cluster1": "9:9"}),
    ],
    ids=["object", "deletion", "label"],
)
async def test_nobody_else_speaks_of_a_cluster_that_is_read_here(batch: Batch) -> None:
    """Its API server is asked, and no other process."""
    store = listed(own_store(), raw("a", 1))
    with pytest.raises(ValueError, match="whose API server is read here"):
        store.relay("mgmt", batch)
    store.flush()

    assert set(store.objects.all(Service)) == {key("a")}


async def test_what_is_the_same_is_the_same_object_and_the_same_bytes() -> None:
    """So that nothing is sent again, nor translated again."""
    store = listed(own_store(), raw("a", 1), raw("b", 1))
    store.relay("mgmt", Batch(upserts={key("a", "mgmt"): essence("a")}))
    store.flush()
    objects, essences = store.objects, store.essences
    store.relay("mgmt", Batch(upserts={key("a", "mgmt"): essence("a")}))
    store.replace("cluster1", SERVICE, [raw("a", 2), raw("b", 3)], "9")
    store.flush()

    assert store.objects is objects
    assert store.essences["Service"] is essences["Service"]


async def test_a_cluster_is_forgotten_as_a_whole() -> None:
    """Its objects and its label; those of others stay."""
    store = listed(own_store(), raw("a", 1))
    for cluster in ("cluster2", "cluster3"):
        store.relay(cluster, Batch(upserts={key("a", cluster): essence("a")}, labels={cluster: "1:1"}))
    store.flush()
    store.forget("cluster2")
    store.flush()

    assert store.clusters == {"cluster1", "cluster3"}
    assert set(store.objects.all(Service)) == {key("a"), key("a", "cluster3")}
    assert store.revisions.keys() == {"cluster1", "cluster3"}
    with pytest.raises(ValueError, match="read here"):
        store.forget("cluster1")


async def test_a_process_goes_on_where_the_one_before_it_was(log: ObjectLog) -> None:
    """Own and relayed objects, labels and statuses are there at once, and it counts as synced."""
    store = own_store(log)
    store.expect_relayed("mgmt")
    policy = raw("p", 5, "JWTPolicy", spec={}, status={"numSelectedRoutes": 2})
    listed(store, raw("a", 4))
    store.upsert("cluster1", POLICY, policy)
    store.relay("mgmt", Batch(upserts={key("a", "mgmt"): essence("a")}, labels={"mgmt": "1:1"}))
    store.flush()
    again = own_store(log)
    again.expect_relayed("mgmt")
    again.restore(log.load())

    assert again.synced
    assert dict(again.revisions) == dict(store.revisions)
    assert set(again.objects) == set(store.objects)
    assert again.essences == store.essences
    assert again.stored(key("p", kind="JWTPolicy")) == store.stored(key("p", kind="JWTPolicy"))
    assert not again.listed("cluster1", "Service")
    assert again.progress("cluster1", "Service") == 0


async def test_the_list_of_an_informer_corrects_what_was_restored(log: ObjectLog) -> None:
    """What is gone meanwhile goes; the label rises above every one that was given before, though the clock went back."""
    listed(own_store(log, now=2000.0), raw("gone", 1), raw("same", 2))
    again = own_store(log, now=1000.0)
    again.restore(log.load())
    before, object_before = again.revisions["cluster1"], again.objects.all(Service)[key("same")]
    listed(again, raw("same", 2), version="12")

    assert set(again.objects.all(Service)) == {key("same")}
    assert again.objects.all(Service)[key("same")] is object_before
    assert again.revisions["cluster1"] != before
    assert label_covers(again.revisions["cluster1"], before)
    third = own_store(log)
    third.restore(log.load())
    assert set(third.objects.all(Service)) == {key("same")}
    assert dict(third.revisions) == dict(again.revisions)


async def test_a_list_that_finds_everything_as_it_was_changes_nothing(log: ObjectLog) -> None:
    """No set, no label, no essence: after a restart nothing is translated twice, and nothing sent."""
    listed(own_store(log), raw("a", 1))
    again = own_store(log)
    again.restore(log.load())
    revision, revisions, essences = again.revision, again.revisions, again.essences
    listed(again, raw("a", 1), version="20")

    assert (again.revision, again.revisions, again.essences) == (revision, revisions, essences)


async def test_a_kind_that_was_not_read_before_has_to_be_listed(log: ObjectLog) -> None:
    """A newer version reads more kinds: without them the cluster is not known."""
    listed(own_store(log), raw("a", 1))
    again = own_store(log)
    again.expect("cluster1", [KIND_BY_NAME["Namespace"]])
    again.restore(log.load())
    assert again.unsynced == (Source("cluster1", "Namespace"),)
    assert again.revisions == {}
    again.replace("cluster1", KIND_BY_NAME["Namespace"], [], "1")
    again.flush()

    assert again.synced
    assert again.revisions.keys() == {"cluster1"}
    assert not again.objects.all(Namespace)


async def test_a_kill_in_the_middle_of_the_first_lists_is_no_beginning(log: ObjectLog) -> None:
    """What had not been listed by then still counts as unknown."""
    store = own_store(log)
    store.replace("cluster1", SERVICE, [raw("a", 1)], "1")
    store.flush()
    again = own_store(log)
    again.restore(log.load())

    assert again.unsynced == (Source("cluster1", "JWTPolicy"),)
    assert not again.objects.all(JWTPolicy)


async def test_without_being_asked_no_essence_is_kept() -> None:
    """One process for all clusters passes nothing on."""
    store = ObjectStore()
    store.expect("cluster1", [SERVICE])
    store.replace("cluster1", SERVICE, [raw("a", 1)], "1")
    store.flush()

    assert store.essences == {}
    assert store.revisions.keys() == {"cluster1"}
    assert isinstance(store.objects.all(Service)[key("a")], Service)
