"""Waiting until the store has seen what the API servers hold."""

from __future__ import annotations

from collections.abc import Iterable

from meshpass.api.objectset import ObjectKey
from meshpass.kube.client import KubeClient, RawList
from meshpass.kube.gather import gather_all
from meshpass.kube.resource import ResourceKind
from meshpass.kube.store import ObjectStore


async def wait_observed(clients: Iterable[KubeClient], store: ObjectStore) -> int:
    """Returns `ObjectStore.revision` once the store has applied everything that was stored before the call.

    Asks every server for the metadata of every watched kind. The store has seen a listed object once it has applied
    anything of that kind with the object's resourceVersion or a newer one, because events come in order; it has seen
    a deletion once the object is gone, or newer than the list. Raises ApiError when a server cannot be asked.
    """
    await gather_all(_wait_kind(client, kind, store) for client in clients for kind in store.kinds(client.cluster))
    return store.revision


async def _wait_kind(client: KubeClient, kind: ResourceKind, store: ObjectStore) -> None:
    listed = await client.list_raw(kind, metadata_only=True)
    newest = max((int(item["metadata"]["resourceVersion"]) for item in listed.items), default=0)
    doomed = _doomed(client.cluster, kind, listed, store)

    def observed() -> bool:
        if not store.listed(client.cluster, kind.kind) or store.progress(client.cluster, kind.kind) < newest:
            return False
        versions = store.versions(client.cluster, kind.kind)
        return all(int(versions.get(key, listed.version)) >= int(listed.version) for key in doomed)

    await store.wait_until(observed)


def _doomed(cluster: str, kind: ResourceKind, listed: RawList, store: ObjectStore) -> tuple[ObjectKey, ...]:
    """What the store holds and the server does not, though it is no younger than the list."""
    there = {(item["metadata"].get("namespace") or "", item["metadata"]["name"]) for item in listed.items}
    return tuple(
        key
        for key, version in store.versions(cluster, kind.kind).items()
        if (key.namespace, key.name) not in there and int(version) <= int(listed.version)
    )
