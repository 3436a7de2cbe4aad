"""EventRecorder: Kubernetes Events about objects, as ``kubectl describe`` shows them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NoReturn

from meshpass.api.objectset import ObjectKey
from meshpass.errors import ApiError
from meshpass.kube.backoff import Backoff
from meshpass.kube.client import KubeClient
from meshpass.kube.resource import DiscoveredKind, group_version
from meshpass.kube.store import ObjectStore

logger = logging.getLogger(__name__)

COMPONENT = "meshpass"

_EVENT = DiscoveredKind(group="", version="v1", kind="Event", plural="events", namespaced=True)
_MESSAGE_LIMIT = 1024  # of core/v1 Events: longer ones are refused
_PENDING_LIMIT = 1000
_TRIES = 6


class EventKind(StrEnum):
    """`type` of a core/v1 Event."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Occurrence:
    key: ObjectKey
    type: EventKind
    reason: str
    message: str


class EventRecorder:
    """Records events in its own task; what is said again raises the count of the Event that is there.

    Events are for people and may get lost: with the process, when more than 1000 wait, and after 6 failed tries.
    """

    def __init__(
        self,
        clients: Mapping[str, KubeClient],
        store: ObjectStore,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clients = clients
        self._store = store
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._pending: dict[_Occurrence, int] = {}
        self._arrived = asyncio.Event()

    def record(self, key: ObjectKey, *, reason: str, message: str, event_type: EventKind = EventKind.WARNING) -> None:
        """The object gets an Event soon; ``reason`` is one CamelCase word, ``message`` is cut at 1024 characters."""
        occurrence = _Occurrence(key=key, type=event_type, reason=reason, message=message[:_MESSAGE_LIMIT])
        if len(self._pending) < _PENDING_LIMIT or occurrence in self._pending:
            self._pending[occurrence] = self._pending.get(occurrence, 0) + 1
            self._arrived.set()

    async def run(self) -> NoReturn:
        """Writes what is recorded; ends only by cancellation."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._pending:
                occurrence = next(iter(self._pending))
                await self._deliver(occurrence, self._pending.pop(occurrence))

    async def _deliver(self, occurrence: _Occurrence, count: int) -> None:
        backoff = Backoff(self._jitter)
        for remaining in reversed(range(_TRIES)):
            try:
                await self._write(occurrence, count)
            except ApiError as error:
                if not remaining or error.code == 404:
                    logger.warning("event lost", extra={"object": str(occurrence.key), "cause": str(error)})
                    return
                await self._sleep(backoff.next_delay())
            else:
                return

    async def _write(self, occurrence: _Occurrence, count: int) -> None:
        stored = self._store.stored(occurrence.key)
        if stored is None:
            return
        client = self._clients[occurrence.key.cluster]
        # Events about cluster-wide objects live in the namespace default, as kubectl expects.
        namespace = occurrence.key.namespace or "default"
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        name = _name(occurrence, stored.uid)
        event: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": group_version(stored.kind),
                "kind": stored.kind.kind,
                "namespace": occurrence.key.namespace,
                "name": occurrence.key.name,
                "uid": stored.uid,
            },
            "type": occurrence.type,
            "reason": occurrence.reason,
            "message": occurrence.message,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": "",
            "count": count,
            "firstTimestamp": now,
            "lastTimestamp": now,
        }
        try:
            await client.create_raw(_EVENT, event)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            live = await client.get_raw(_EVENT, namespace, name)
            patch = {"count": int(live.get("count", 1)) + count, "lastTimestamp": now}
            await client.patch_raw(_EVENT, namespace, name, patch)


def _name(occurrence: _Occurrence, uid: str) -> str:
    """The same for the same words about the same object, so that repeating them finds the Event."""
    words = repr((uid, occurrence.type.value, occurrence.reason, occurrence.message))
    return f"{occurrence.key.name[:200]}.{hashlib.sha256(words.encode()).hexdigest()[:16]}"
