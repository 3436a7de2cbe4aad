"""AdsClient: a delta ADS client for tests, with the state that an Envoy would have."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import grpc.aio
from envoy.service.discovery.v3 import discovery_pb2
from google.rpc import status_pb2

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


class AdsClient:
    """One delta ADS stream to ``target`` (``unix:/path`` or ``host:port``).

    ``versions`` is what the client has accepted: type URL → name → version. ``received_bytes`` counts the responses.
    Nothing is acknowledged by itself: call ``acknowledge`` or ``reject``, or ``settle`` for an obedient client.
    """

    def __init__(self, target: str, node: str) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
        self._node = node
        self._first = True
        self.versions: dict[str, dict[str, str]] = {}
        self.received_bytes = 0
        self.call = self._channel.stream_stream(
            METHOD,
            request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
        )()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Break the stream off."""
        self.call.cancel()
        await self._channel.close()

    async def send(self, request: discovery_pb2.DeltaDiscoveryRequest) -> None:
        """Send the request as it is, with the node id if it is the first one."""
        if self._first:
            request.node.id = self._node
            self._first = False
        await self.call.write(request)

    async def subscribe(
        self, type_url: str, *names: str, unsubscribe: tuple[str, ...] = (), versions: Mapping[str, str] | None = None
    ) -> None:
        """Subscribe to the names, or to everything in the legacy way if there are none; resume with ``versions``."""
        await self.send(
            discovery_pb2.DeltaDiscoveryRequest(
                type_url=type_url,
                resource_names_subscribe=names,
                resource_names_unsubscribe=unsubscribe,
                initial_resource_versions=versions or {},
            )
        )

    async def receive(self, timeout: float = 5) -> discovery_pb2.DeltaDiscoveryResponse:  # noqa: ASYNC109
        """The next response, not acknowledged yet. Raises TimeoutError when none comes in ``timeout`` seconds."""
        message = await asyncio.wait_for(self.call.read(), timeout)
        if message is grpc.aio.EOF:
            raise EOFError(f"{await self.call.code()}: {await self.call.details()}")
        self.received_bytes += len(message)
        return discovery_pb2.DeltaDiscoveryResponse.FromString(message)

    async def acknowledge(self, response: discovery_pb2.DeltaDiscoveryResponse) -> None:
        """Accept the response: its resources are in ``versions``, what it removes no more."""
        versions = self.versions.setdefault(response.type_url, {})
        versions.update({resource.name: resource.version for resource in response.resources})
        for name in response.removed_resources:
            versions.pop(name, None)
        await self.send(discovery_pb2.DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce))

    async def reject(self, response: discovery_pb2.DeltaDiscoveryResponse, message: str) -> None:
        """Refuse the response with these words."""
        await self.send(
            discovery_pb2.DeltaDiscoveryRequest(
                type_url=response.type_url,
                response_nonce=response.nonce,
                error_detail=status_pb2.Status(code=13, message=message),
            )
        )

    async def accept(self, type_url: str) -> discovery_pb2.DeltaDiscoveryResponse:
        """The next response, which has to be of this type, acknowledged."""
        response = await self.receive()
        if response.type_url != type_url:
            raise AssertionError(f"expected {type_url}, got {response}")
        await self.acknowledge(response)
        return response
