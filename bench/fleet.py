"""Many obedient Envoys in one process, as far as a control plane can tell: streams of delta ADS that acknowledge all.

    python -m bench.fleet SOCKET NODE…

Each asks for clusters and listeners, then for what those name, as Envoy does. It runs until it is ended; its own process
takes the work of the clients away from what is measured. ``running_fleet`` runs it for as long as a context is entered.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import grpc.aio
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext, UpstreamTlsContext
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from meshpass.envoy.snapshot import CLUSTER, ENDPOINTS, EXTENSION_CONFIG, LISTENER, ROUTES, SECRET

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
Names = Mapping[str, frozenset[str]]
"""Type URL → names of it."""


class FleetClient:
    """One Envoy: what it has asked for by name, and its stream."""

    def __init__(self, target: str, node: str) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.aio.insecure_channel(target, options=options)
        self._node = node
        self._asked: dict[str, frozenset[str]] = {}

    async def run(self) -> None:
        """Acknowledge until the stream ends."""
        call = self._channel.stream_stream(METHOD)()
        first = DeltaDiscoveryRequest(type_url=CLUSTER, resource_names_subscribe=["*"])
        first.node.id = self._node
        await call.write(first.SerializeToString())
        await call.write(DeltaDiscoveryRequest(type_url=LISTENER, resource_names_subscribe=["*"]).SerializeToString())
        while (message := await call.read()) is not grpc.aio.EOF:
            response = DeltaDiscoveryResponse.FromString(message)
            for request in self._answer(response):
                await call.write(request.SerializeToString())
        await self._channel.close()

    def _answer(self, response: DeltaDiscoveryResponse) -> Iterator[DeltaDiscoveryRequest]:
        for resource in response.resources:
            for type_url, names in named_in(resource.resource.type_url, resource.resource.value).items():
                asked = self._asked.get(type_url, frozenset())
                if new := names - asked:
                    self._asked[type_url] = asked | new
                    yield DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=sorted(new))
        yield DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)


@cache
def named_in(type_url: str, body: bytes) -> Names:
    """What a resource refers to; most resources of a fleet are the same for all."""
    found: dict[str, set[str]] = {}
    if type_url == CLUSTER:
        cluster = Cluster.FromString(body)
        if cluster.type == Cluster.EDS:
            found[ENDPOINTS] = {cluster.name}
        sockets = [cluster.transport_socket, *(match.transport_socket for match in cluster.transport_socket_matches)]
        found[SECRET] = set(_secrets((socket.typed_config for socket in sockets), UpstreamTlsContext))
    if type_url == LISTENER:
        chains = Listener.FromString(body).filter_chains
        found[SECRET] = set(_secrets((chain.transport_socket.typed_config for chain in chains), DownstreamTlsContext))
        managers = [
            manager
            for chain in chains
            for one in chain.filters
            if one.typed_config.Unpack(manager := HttpConnectionManager())
        ]
        found[ROUTES] = {one.rds.route_config_name for one in managers} - {""}
        found[EXTENSION_CONFIG] = {
            one.name for manager in managers for one in manager.http_filters if one.HasField("config_discovery")
        }
    return {type_url: frozenset(names) for type_url, names in found.items() if names}


def _secrets(packed: Iterable[object], context: type) -> Iterator[str]:
    for one in packed:
        message = context()
        if not one.Unpack(message):  # type: ignore[attr-defined]
            continue
        common = message.common_tls_context
        yield from (secret.name for secret in common.tls_certificate_sds_secret_configs)
        if common.HasField("validation_context_sds_secret_config"):
            yield common.validation_context_sds_secret_config.name
        if common.HasField("combined_validation_context"):
            yield common.combined_validation_context.validation_context_sds_secret_config.name


@asynccontextmanager
async def running_fleet(socket: Path, nodes: Iterable[str]) -> AsyncIterator[None]:
    """Inside, all nodes are, or are about to be, connected."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.fleet", str(socket), *nodes, env={**os.environ, "GRPC_VERBOSITY": "NONE"}
    )
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _run(socket: str, nodes: Iterable[str]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for node in nodes:
            tasks.create_task(FleetClient(f"unix:{socket}", node).run())


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], sys.argv[2:]))
