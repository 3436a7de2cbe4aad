"""StatusWriter: brings the status of objects to what the reconciler wants it to be."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from meshpass.api.objectset import ObjectKey
from meshpass.errors import ApiError
from meshpass.kube.backoff import Backoff
from meshpass.kube.client import KubeClient, PatchType, is_not_found
from meshpass.kube.merge import merge_patch
from meshpass.kube.resource import Raw, ResourceKind
from meshpass.kube.store import ObjectStore

logger = logging.getLogger(__name__)

FIELD_MANAGER = "meshpass"

Status = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Current:
    kind: ResourceKind
    uid: str
    version: str
    status: Status


class StatusWriter:
    """Writes statuses in its own tasks, at most ``in_flight`` requests per API server at a time.

    - The latest submitted status wins; what was submitted before it and is not written yet never will be.
    - An object whose status already says the same is not written to. `lastTransitionTime` is not compared: it stays
      while a condition's `status` stays, and becomes the clock's time when that flips, or when the condition is new.
    - An object that is gone is forgotten. After any other failure the write is tried again, later and later.
    - A write names uid and resourceVersion: it never reaches an object that was deleted and made anew, and after a 409
      it is made again from the object as the server has it.
    """

    def __init__(
        self,
        clients: Mapping[str, KubeClient],
        store: ObjectStore,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        in_flight: int = 4,
    ) -> None:
        """``clients`` by name of their cluster; ``clock`` tells the time of transitions."""
        self._clients = clients
        self._store = store
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._in_flight = in_flight
        self._desired: Mapping[ObjectKey, Status] = {}
        self._settled: dict[ObjectKey, tuple[Status, str]] = {}
        self._written: dict[ObjectKey, _Current] = {}
        self._backoffs: dict[ObjectKey, Backoff] = {}
        self._queues: dict[str, asyncio.Queue[ObjectKey]] = {cluster: asyncio.Queue() for cluster in clients}
        self._waiting: set[ObjectKey] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def submit(self, desired: Mapping[ObjectKey, Status]) -> None:
        """From now on these are the statuses to reach; objects that are not named are left alone. JSON values only."""
        self._desired = desired
        for known in (self._settled, self._written, self._backoffs):
            for key in known.keys() - desired.keys():
                del known[key]
        for key, status in desired.items():
            settled = self._settled.get(key)
            current = self._current(key)
            if settled is None or current is None or settled[1] != current.version or settled[0] != status:
                self._enqueue(key)

    @property
    def desired(self) -> Mapping[ObjectKey, Status]:
        """The statuses to reach."""
        return self._desired

    @property
    def failing(self) -> tuple[ObjectKey, ...]:
        """The objects whose status could not be written; it is tried again."""
        return tuple(sorted(self._backoffs))

    async def wait_idle(self) -> None:
        """Returns once nothing is left to write or to try again."""
        await self._idle.wait()

    async def run(self) -> NoReturn:
        """Writes what is submitted; ends only by cancellation."""
        async with asyncio.TaskGroup() as tasks:
            for queue in self._queues.values():
                for _ in range(self._in_flight):
                    tasks.create_task(self._work(queue, tasks))
        raise AssertionError("the workers never return")

    async def _work(self, queue: asyncio.Queue[ObjectKey], tasks: asyncio.TaskGroup) -> NoReturn:
        while True:
            key = await queue.get()
            try:
                await self._reach(key)
            except ApiError as error:
                backoff = self._backoffs.get(key)
                if backoff is None:  # once per object and outage
                    logger.warning("status not written", extra={"object": str(key), "cause": str(error)})
                    backoff = self._backoffs[key] = Backoff(self._jitter)
                # The worker goes on: one object that the server refuses must not hold up the others.
                tasks.create_task(self._retry(key, backoff.next_delay()))
            else:
                self._backoffs.pop(key, None)
                self._done(key)

    async def _retry(self, key: ObjectKey, delay: float) -> None:
        await self._sleep(delay)
        self._queues[key.cluster].put_nowait(key)

    async def _reach(self, key: ObjectKey) -> None:
        """Writes until the object has the status that is desired by then; returns at once when it has, or is gone."""
        current = self._current(key)
        while (desired := self._desired.get(key)) is not None and current is not None:
            settled = self._settled.get(key)
            if settled is not None and settled[0] == desired and settled[1] == current.version:
                return
            status = with_transition_times(desired, current.status, self._clock())
            if status != current.status:
                try:
                    current = await self._write(key, current, status)
                except ApiError as error:
                    if is_not_found(error):
                        return
                    if error.code != 409:
                        raise
                    current = await self._fetch(key, current)
                    continue
                self._written[key] = current
            # Settled even if the server's answer differs: it dropped a field, and would drop it again.
            self._settled[key] = (desired, current.version)

    async def _write(self, key: ObjectKey, current: _Current, status: Status) -> _Current:
        patch = {
            "metadata": {"uid": current.uid, "resourceVersion": current.version},
            "status": merge_patch(current.status, status),
        }
        raw = await self._clients[key.cluster].patch_raw(
            current.kind,
            key.namespace or None,
            key.name,
            patch,
            content_type=PatchType.MERGE,
            subresource="status",
            field_manager=FIELD_MANAGER,
        )
        return _current_of(current.kind, raw)

    async def _fetch(self, key: ObjectKey, stale: _Current) -> _Current | None:
        """The object as the server has it; None when it is gone or another one of its name."""
        try:
            raw = await self._clients[key.cluster].get_raw(stale.kind, key.namespace or None, key.name)
        except ApiError as error:
            if is_not_found(error):
                return None
            raise
        fresh = _current_of(stale.kind, raw)
        return fresh if fresh.uid == stale.uid else None

    def _current(self, key: ObjectKey) -> _Current | None:
        """The newest known state: from the store, or from the answer to our own last write."""
        stored, written = self._store.stored(key), self._written.get(key)
        if stored is None:
            return None
        if written is not None and written.uid == stored.uid and int(written.version) > int(stored.version):
            return written
        return _Current(kind=stored.kind, uid=stored.uid, version=stored.version, status=stored.status)

    def _enqueue(self, key: ObjectKey) -> None:
        if key not in self._waiting:
            self._waiting.add(key)
            self._idle.clear()
            self._queues[key.cluster].put_nowait(key)

    def _done(self, key: ObjectKey) -> None:
        self._waiting.discard(key)
        if not self._waiting:
            self._idle.set()


def with_transition_times(desired: Status, current: Status, now: datetime) -> dict[str, Any]:
    """``desired``, whose conditions carry the `lastTransitionTime` that Kubernetes' API conventions ask for."""
    # Whoever wrote what is there may have had another definition of the kind: what has no type is passed over.
    known = (one for one in current.get("conditions") or () if isinstance(one, Mapping))
    previous = {one.get("type"): one for one in known}
    conditions = []
    for condition in desired.get("conditions") or ():
        before = previous.get(condition["type"])
        kept = before is not None and before.get("status") == condition["status"] and before.get("lastTransitionTime")
        conditions.append({**condition, "lastTransitionTime": kept or now.strftime("%Y-%m-%dT%H:%M:%SZ")})
    return {**desired, "conditions": conditions} if conditions else dict(desired)


def _current_of(kind: ResourceKind, raw: Raw) -> _Current:
    metadata = raw["metadata"]
    return _Current(
        kind=kind, uid=metadata.get("uid", ""), version=metadata["resourceVersion"], status=raw.get("status") or {}
    )
