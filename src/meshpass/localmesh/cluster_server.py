"""API servers of a mesh: one per cluster, and the kubeconfig that leads to them."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from meshpass.api.crd import custom_resource_definitions
from meshpass.apiserver.podruntime import PodRuntime
from meshpass.apiserver.server import ApiServer
from meshpass.apiserver.settings import ApiServerSettings
from meshpass.errors import LocalMeshError
from meshpass.identity.certificate import ensure_server_certificate
from meshpass.identity.token import ensure_token
from meshpass.kube.kubeconfig import ClusterAccess, write_kubeconfig
from meshpass.localmesh.directory import ClusterRecord, MeshRecord, StateDirectory
from meshpass.localmesh.meshfile import Cluster, LocalMesh

_HOST = "127.0.0.1"


@asynccontextmanager
async def run_api_servers(
    mesh: LocalMesh, state: StateDirectory, previous: MeshRecord | None, pods: Mapping[str, PodRuntime]
) -> AsyncIterator[tuple[ClusterRecord, ...]]:
    """Every cluster's API server answers, and the kubeconfig has a context for each.

    ``pods`` has what runs the Pods of each cluster, by name. A server has the port that the mesh file says, else the one that it had before, if that is free, else any.
    Raises LocalMeshError where the mesh file's port is taken.
    """
    ports = {cluster.name: cluster.port for cluster in previous.clusters} if previous else {}
    async with AsyncExitStack() as stack:
        records: list[ClusterRecord] = []
        access: list[ClusterAccess] = []
        for cluster in mesh.clusters:
            port = _choose_port(cluster, ports.get(cluster.name, 0))
            served = run_api_server(cluster.name, state.cluster(cluster.name), port=port, pods=pods.get(cluster.name))
            known, port = await stack.enter_async_context(served)
            records.append(ClusterRecord(name=cluster.name, management=cluster.management, port=port))
            access.append(known)
        write_kubeconfig(state.kubeconfig, clusters=access, current=mesh.management.name)
        yield tuple(records)


@asynccontextmanager
async def run_api_server(
    name: str, directory: Path, *, port: int, pods: PodRuntime | None = None, bare: bool = False
) -> AsyncIterator[tuple[ClusterAccess, int]]:
    """The API server of one cluster answers on loopback: how clients reach it, and its port.

    What it stores, its certificate and its token are in ``directory``. ``bare``: it starts without our kinds, as any
    API server does. Raises LocalMeshError where the port is taken.
    """
    certificate = ensure_server_certificate(directory / "tls", name=name, hosts=("localhost", _HOST))
    token = ensure_token(directory / "token")
    server = ApiServer(
        ApiServerSettings(
            cluster=name,
            directory=directory,
            certificate=certificate.certificate,
            private_key=certificate.private_key,
            token=token,
            host=_HOST,
            port=port,
            crds=() if bare else tuple(custom_resource_definitions()),
            pods=pods,
        )
    )
    async with server:
        ca_pem = certificate.ca.read_bytes()
        yield ClusterAccess(name=name, server=server.url, ca_pem=ca_pem, token=str(token)), server.port


def _choose_port(cluster: Cluster, previous: int) -> int:
    if cluster.port is None:
        return previous if previous and _is_free(previous) else 0
    if not _is_free(cluster.port):
        raise LocalMeshError(
            f"port {cluster.port} of the API server of {cluster.name} is taken",
            hint=f"`ss -ltnp 'sport = :{cluster.port}'` shows by whom; without `port` in the mesh file a free one is used",
        )
    return cluster.port


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            return error.errno not in {errno.EADDRINUSE, errno.EACCES}
    return True
