"""Management server and agents over real connections: who holds what, when, and after what."""

from __future__ import annotations

from pathlib import Path

from tests.support.relay_world import World, key_of, manifest, run_world

from meshpass.api.core import Service
from meshpass.api.objectset import ObjectKey


def service(name: str, namespace: str = "apps", **spec: object) -> dict:
    return manifest("Service", name, namespace, spec={"ports": [{"port": 80}], **spec})


def holds_all(world: World) -> bool:
    """Every process holds exactly what every API server has (Secrets aside), with the labels of their owners."""
    processes = (world.management, *world.agents.values())
    expected = {key for process in processes for key in process.feed.objects if key.kind != "Secret"}
    labels = {process.feed.cluster: process.store.revisions[process.feed.cluster] for process in processes}
    first = world.management.store.objects
    return all(
        {key for key in process.store.objects if key.kind != "Secret"} == expected
        and dict(process.store.revisions) == labels
        and all(process.store.objects.get(Service, key) == one for key, one in first.all(Service).items())
        for process in processes
    )


async def test_everyone_holds_what_every_cluster_has(tmp_path: Path) -> None:
    """Objects of three clusters come to all of them, edits and deletions too, and the labels agree."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        world.agents["cluster1"].feed.put(service("a"))
        world.agents["cluster2"].feed.put(service("b"))
        world.management.feed.put(service("c"))
        await world.management.wait(lambda: holds_all(world))

        world.agents["cluster1"].feed.put(service("a", type="NodePort"))
        world.agents["cluster2"].feed.delete(key_of("cluster2", service("b")))
        await world.management.wait(lambda: holds_all(world))

        found = world.agents["cluster2"].store.objects.get(Service, ObjectKey("Service", "cluster1", "apps", "a"))
        assert found is not None
        assert found.spec.type == "NodePort"
