"""Readiness: what the cluster is told of a workload whose processes end, stop and come back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NoReturn

from meshpass.errors import ApiError
from meshpass.kube.client import KubeClient, PatchType
from meshpass.kube.resource import DiscoveredKind
from meshpass.localmesh.listening import accepts
from meshpass.localmesh.meshfile import PROXY_CONTAINER, PROXY_PORT, Workload
from meshpass.localmesh.objects import (
    ContainerState,
    Placement,
    container_names,
    endpoint_slice_change,
    endpoint_slice_name,
    pod_status,
)
from meshpass.localmesh.process import ChildProcess

logger = logging.getLogger(__name__)

POD = DiscoveredKind(group="", version="v1", kind="Pod", plural="pods", namespaced=True)
ENDPOINT_SLICE = DiscoveredKind(
    group="discovery.k8s.io", version="v1", kind="EndpointSlice", plural="endpointslices", namespaced=True
)
_NOT_THERE = frozenset({404, 422})
"""Somebody deleted the object; or the API server has no EndpointSlices with loopback addresses, as Kubernetes."""
_FIRST_LOOK = 0.02
_LONGEST_LOOK = 0.5


class Readiness:
    """Keeps Pod and EndpointSlice of one workload as its processes are: ready while all of them run and listen.

    A process that another program is, at an ``address``, is nobody's here and counts as ready, as does none at all.
    """

    def __init__(self, workload: Workload, placement: Placement, children: Mapping[str, ChildProcess]) -> None:
        """``children`` are the processes by the name of their container."""
        self._workload = workload
        self._placement = placement
        self._children = children
        for child in children.values():
            child.add_listener(self._note_change)
        self._started = datetime.now(UTC)
        self._shown = {name: ContainerState(started=self._started) for name in container_names(workload)}
        self._listening: dict[str, int] = {}
        """The process of each container that was seen listening; one that runs on is not asked again."""
        self._changed = asyncio.Event()
        self._changes = 0
        self._written = 0
        self._told = asyncio.Event()

    @property
    def ready(self) -> bool:
        """What the cluster was told last."""
        return all(state.ready for state in self._shown.values())

    def _note_change(self) -> None:
        """A process has started or ended."""
        self._changes += 1
        self._changed.set()

    async def wait_told(self, container: str, *, ready: bool) -> None:
        """The cluster knows of every change that was noted before, and that the container is ready, or is not."""
        noted = self._changes
        while self._written < noted or self._shown[container].ready is not ready:
            self._told.clear()
            await self._told.wait()

    async def run(self, client: KubeClient) -> NoReturn:
        """Follows the processes for ever. An API server that cannot be reached is told later."""
        pause = _FIRST_LOOK
        while True:
            noted = self._changes
            self._changed.clear()
            states = {name: await self._look(name) for name in self._shown}
            told = states == self._shown or await self._tell(client, states)
            if told:
                self._written = noted
                self._told.set()
            if told and not any(not state.ready and not state.waiting for state in states.values()):
                pause = _FIRST_LOOK
                await self._changed.wait()
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            pause = min(pause * 2, _LONGEST_LOOK)

    async def _look(self, container: str) -> ContainerState:
        shown, child = self._shown[container], self._children.get(container)
        if child is None:
            return shown
        if child.pid is None:
            reason = "Stopped" if child.stopped else "NotRunning"
            if shown.waiting == reason:
                return shown
            return ContainerState(started=datetime.now(UTC), ready=False, waiting=reason, restarts=child.restarts)
        pid = child.pid
        if self._listening.get(container) != pid:
            if not all([await accepts(address) for address in self._addresses(container)]):
                return self._running(container, child, ready=False)
            self._listening[container] = pid
        return self._running(container, child, ready=True)

    def _running(self, container: str, child: ChildProcess, *, ready: bool) -> ContainerState:
        shown = self._shown[container]
        started = datetime.now(UTC) if shown.waiting else shown.started
        return ContainerState(started=started, ready=ready, restarts=child.restarts)

    def _addresses(self, container: str) -> tuple[str, ...]:
        """Where the container's process listens. A gateway listens where VirtualGateways say, or nowhere."""
        if container != PROXY_CONTAINER:
            return tuple(self._placement.apps.values())
        return () if self._workload.is_gateway else (f"{self._placement.address}:{PROXY_PORT}",)

    async def _tell(self, client: KubeClient, states: Mapping[str, ContainerState]) -> bool:
        """True once the API server knows."""
        workload, ready = self._workload, all(state.ready for state in states.values())
        status = pod_status(workload, self._placement, self._started, states)
        try:
            # The slice first: routes follow it.
            if workload.service is not None and ready is not self.ready:
                change = endpoint_slice_change(workload, self._placement, ready=ready)
                await self._patch(client, ENDPOINT_SLICE, endpoint_slice_name(workload), change)
            await self._patch(client, POD, workload.name, status, subresource="status")
        except ApiError as error:
            logger.warning("readiness not told", extra={"workload": str(workload), "error": str(error)})
            return False
        self._shown = dict(states)
        return True

    async def _patch(
        self,
        client: KubeClient,
        kind: DiscoveredKind,
        name: str,
        change: Mapping[str, Any],
        *,
        subresource: str | None = None,
    ) -> None:
        namespace = self._workload.namespace
        try:
            await client.patch_raw(kind, namespace, name, change, content_type=PatchType.MERGE, subresource=subresource)
        except ApiError as error:
            if error.code not in _NOT_THERE:
                raise
