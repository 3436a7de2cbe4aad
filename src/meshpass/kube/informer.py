"""Informer: keeps a sink equal to what one API server stores of one kind."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import NoReturn, Protocol, assert_never

from meshpass.errors import ApiError, ExpiredError
from meshpass.kube.backoff import Backoff
from meshpass.kube.client import KubeClient
from meshpass.kube.failure import status_error
from meshpass.kube.resource import Raw, ResourceKind
from meshpass.kube.watch import EventType, MalformedEventError, WatchEvent

logger = logging.getLogger(__name__)

_WATCH_SECONDS = 300.0
_SHORT_WATCH_SECONDS = 1.0


class Sink(Protocol):
    """What an informer feeds; `ObjectStore` is one."""

    def replace(self, cluster: str, kind: ResourceKind, items: Sequence[Raw], version: str) -> None:
        """The kind's objects are exactly these, as of ``version``."""

    def upsert(self, cluster: str, kind: ResourceKind, raw: Raw) -> None:
        """The object is there, as ``raw``."""

    def delete(self, cluster: str, kind: ResourceKind, raw: Raw) -> None:
        """The object is gone."""

    def bookmark(self, cluster: str, kind: ResourceKind, version: str) -> None:
        """Nothing else happened up to ``version``."""


class Informer:
    """Lists once, then watches; lists again only when the server's history no longer reaches back to what was seen.

    - A lost server, a refused credential, a failing request: the sink keeps what it has; the next try comes after
      50 ms, then after doubling delays up to 30 s, and goes on where the last event was.
    - 410 (as an answer or as an ERROR event), a resourceVersion from the server's future, an event older than the
      last one, a line that is no event: the kind is listed again, and what is missing from the list is deleted.
    - A server that ends the watch: the watch goes on at once.

    resourceVersions of one resource are compared as integers, which Kubernetes guarantees (KEP-5504).
    """

    def __init__(
        self,
        client: KubeClient,
        kind: ResourceKind,
        sink: Sink,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``clock`` counts seconds; ``jitter`` returns numbers in [0, 1)."""
        self._client = client
        self._kind = kind
        self._sink = sink
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter
        self._backoff = Backoff(jitter)
        self._version: str | None = None
        self._failing = False

    @property
    def source(self) -> tuple[str, str]:
        """Cluster and kind."""
        return (self._client.cluster, self._kind.kind)

    @property
    def failing(self) -> bool:
        """True while the server does not let it follow the kind: the sink has what it had."""
        return self._failing

    async def run(self) -> NoReturn:
        """Never returns; ends only by cancellation."""
        while True:
            if not await self._follow():
                await self._sleep(self._backoff.next_delay())

    async def _follow(self) -> bool:
        """One list where needed, and one watch; True when the next may start at once."""
        try:
            if self._version is None:
                listed = await self._client.list_raw(self._kind)
                self._sink.replace(self._client.cluster, self._kind, listed.items, listed.version)
                self._version = listed.version
                # The watch goes on for minutes: what was listed, as it came, is not to be kept that long.
                del listed
                self._recovered()
            return await self._watch(self._version)
        except (ExpiredError, MalformedEventError) as error:
            self._version = None
            logger.info("listing again", extra={**self._names(), "cause": str(error)})
        except ApiError as error:
            if not self._failing:  # once per outage, not once per try
                logger.warning("watch lost", extra={**self._names(), "cause": str(error)})
            self._failing = True
        return False

    async def _watch(self, version: str) -> bool:
        started = self._clock()
        # Spread over a factor of two, so that the watches of many informers do not all end together.
        seconds = _WATCH_SECONDS * (1 + self._jitter())
        stream = self._client.watch_raw(self._kind, version, timeout_seconds=seconds)
        async with aclosing(stream) as events:
            async for event in events:
                self._take(event)
                self._backoff.reset()
                self._recovered()
        if self._clock() - started < _SHORT_WATCH_SECONDS:
            return False
        self._backoff.reset()
        self._recovered()
        return True

    def _take(self, event: WatchEvent) -> None:
        if event.type is EventType.ERROR:
            raise status_error(event.object)
        version = _version_of(event.object)
        assert self._version is not None
        if int(version) < int(self._version):
            raise ExpiredError(f"an event of {version} after one of {self._version}: the history changed", code=410)
        cluster, kind = self._client.cluster, self._kind
        match event.type:
            case EventType.ADDED | EventType.MODIFIED:
                self._sink.upsert(cluster, kind, event.object)
            case EventType.DELETED:
                self._sink.delete(cluster, kind, event.object)
            case EventType.BOOKMARK:
                self._sink.bookmark(cluster, kind, version)
            case _ as never:
                assert_never(never)
        self._version = version

    def _recovered(self) -> None:
        if self._failing:
            logger.info("watch resumed", extra=self._names())
        self._failing = False

    def _names(self) -> dict[str, str]:
        return {"cluster": self._client.cluster, "kind": self._kind.kind}


def _version_of(raw: Raw) -> str:
    try:
        version = str(raw["metadata"]["resourceVersion"])
        int(version)
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedEventError("a watch event without a resourceVersion") from error
    return version
