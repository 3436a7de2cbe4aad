"""Existing API servers: a mesh on servers that somebody else runs, be it Kubernetes' own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import yaml

from meshpass.api.crd import custom_resource_definitions
from meshpass.errors import LocalMeshError, MeshpassError
from meshpass.kube.client import KubeClient
from meshpass.kube.credentials import read_access
from meshpass.kube.definition import install_definition, wait_established
from meshpass.kube.gather import gather_all
from meshpass.localmesh.directory import ClusterRecord, StateDirectory
from meshpass.localmesh.meshfile import LocalMesh
from meshpass.localmesh.selection import keep_named
from meshpass.secretfile import write_secret_file

logger = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 2.0
"""How often it is looked whether the kubeconfig has other credentials by now."""
ESTABLISHED_WITHIN_SECONDS = 60.0

_PATHS = (
    ("cluster", ("certificate-authority",)),
    ("user", ("client-certificate", "client-key", "tokenFile")),
)
"""What in a kubeconfig is a path, relative to the kubeconfig."""
_NO_KUBECONFIG = (AttributeError, KeyError, StopIteration, TypeError, ValueError)
"""What comes of taking something else for one. It is read twice, and may be written in between."""


class ExistingServers(msgspec.Struct, frozen=True, kw_only=True):
    """Where the API servers of a mesh are."""

    kubeconfig: str
    """Absolute path."""
    contexts: Mapping[str, str]
    """Cluster → context of the kubeconfig."""


def parse_contexts(text: str) -> Mapping[str, str]:
    """``cluster=context,…``. Raises LocalMeshError."""
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        cluster, equals, context = part.partition("=")
        if not equals or not cluster or not context:
            raise LocalMeshError(
                f"--contexts: {part!r} is no CLUSTER=CONTEXT", hint="write --contexts mgmt=A,cluster1=B"
            )
        if cluster in found:
            raise LocalMeshError(f"--contexts: cluster {cluster} is named twice")
        found[cluster] = context
    return found


def keep_served(mesh: LocalMesh, contexts: Mapping[str, str]) -> LocalMesh:
    """The mesh with only the clusters that there are contexts for, and their workloads.

    Raises LocalMeshError for a cluster that the mesh file does not have, and where its management cluster is left out.
    """
    names = ", ".join(cluster.name for cluster in mesh.clusters)
    for cluster in contexts:
        if cluster not in {one.name for one in mesh.clusters}:
            raise LocalMeshError(f"--contexts: the mesh file has no cluster {cluster}", hint=f"its clusters: {names}")
    if mesh.management.name not in contexts:
        raise LocalMeshError(
            f"--contexts: the management cluster {mesh.management.name} has no context",
            hint=f"write --contexts {mesh.management.name}=…, and one for each other cluster that is to be used",
        )
    return keep_named(mesh, frozenset(contexts))


@asynccontextmanager
async def use_api_servers(
    mesh: LocalMesh, state: StateDirectory, servers: ExistingServers
) -> AsyncIterator[tuple[ClusterRecord, ...]]:
    """The mesh's kubeconfig has a context for each cluster, named as the cluster; every API server serves our kinds.

    It follows the credentials of the given kubeconfig.
    Raises MeshpassError: the kubeconfig is not usable, or an API server refuses.
    """
    write_contexts(state.kubeconfig, servers, mesh.management.name)
    await gather_all(_install_kinds(state.kubeconfig, cluster.name) for cluster in mesh.clusters)
    records = tuple(
        ClusterRecord(name=one.name, management=one.management, port=0, url=_server(state.kubeconfig, one.name))
        for one in mesh.clusters
    )
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(_follow(state.kubeconfig, servers, mesh.management.name))
        try:
            yield records
        finally:
            following.cancel()


def write_contexts(path: Path, servers: ExistingServers, current: str) -> None:
    """``path`` is a kubeconfig of mode 0600 with what the given one says of each context, under the cluster's name."""
    source = Path(servers.kubeconfig)
    for context in servers.contexts.values():
        read_access(source, context)  # what is wrong is told in its words
    document = yaml.safe_load(source.read_text())
    entries: dict[str, list[dict[str, Any]]] = {"clusters": [], "users": [], "contexts": []}
    for name, context in servers.contexts.items():
        said = _named(document, "contexts", context)["context"]
        entries["clusters"].append({"name": name, "cluster": _absolute(document, "cluster", said["cluster"], source)})
        if said.get("user"):
            entries["users"].append({"name": name, "user": _absolute(document, "user", said["user"], source)})
        entries["contexts"].append({"name": name, "context": {**said, "cluster": name, "user": name}})
    made = {"apiVersion": "v1", "kind": "Config", **entries, "current-context": current}
    write_secret_file(path, yaml.safe_dump(made, sort_keys=False).encode())


def _named(document: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(one for one in document.get(kind) or () if one["name"] == name)
    return found


def _absolute(document: Mapping[str, Any], kind: str, name: str, source: Path) -> dict[str, Any]:
    entry = dict(_named(document, f"{kind}s", name)[kind] or {})
    for field in dict(_PATHS)[kind]:
        if entry.get(field):
            entry[field] = str((source.parent / entry[field]).absolute())
    plugin = entry.get("exec")
    if plugin and "/" in plugin.get("command", ""):
        entry["exec"] = {**plugin, "command": str((source.parent / plugin["command"]).absolute())}
    return entry


def _server(kubeconfig: Path, context: str) -> str:
    return str(read_access(kubeconfig, context).cluster.server)


async def _follow(path: Path, servers: ExistingServers, current: str) -> NoReturn:
    """Whoever renews credentials writes them into the given kubeconfig: ours has them soon after."""
    source = Path(servers.kubeconfig)
    seen = _mark(source)
    while True:
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
        if (mark := _mark(source)) == seen:
            continue
        try:
            write_contexts(path, servers, current)
        except (MeshpassError, OSError, yaml.YAMLError, *_NO_KUBECONFIG) as error:
            # Half-written, say: what we have stays, and the next look reads it again.
            logger.warning("kubeconfig not taken over", extra={"path": str(source), "error": type(error).__name__})
        else:
            seen = mark


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


async def _install_kinds(kubeconfig: Path, cluster: str) -> None:
    async with KubeClient.from_kubeconfig(kubeconfig, cluster, cluster=cluster) as client:
        manifests = custom_resource_definitions()
        for manifest in manifests:
            await install_definition(client, manifest)
        try:
            async with asyncio.timeout(ESTABLISHED_WITHIN_SECONDS):
                for manifest in manifests:
                    await wait_established(client, manifest["metadata"]["name"])
        except TimeoutError as error:
            raise LocalMeshError(
                f"the API server of {cluster} does not serve our kinds after {ESTABLISHED_WITHIN_SECONDS:g} s",
                hint=f"`meshpass crds install --context {cluster}` says which",
            ) from error
