"""Watches: the changes of a collection as a stream, read from the revision log.

A watch holds a cursor and nothing else: it is told that its kind changed, reads the log from its cursor on, and sends. A
slow client holds up only its own cursor; when the log outlives that, the watch ends with 410 as Kubernetes' does.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable

import msgspec

from meshpass.apiserver.options import ListOptions
from meshpass.apiserver.reader import check_reachable, too_old
from meshpass.apiserver.representation import Representation
from meshpass.apiserver.revision import Change, Revision, Stored
from meshpass.apiserver.status import StatusError
from meshpass.apiserver.storage import Storage
from meshpass.apiserver.target import Target

_BATCH = 256
_BATCH_BYTES = 1024 * 1024
_DEFAULT_TIMEOUT = 3600.0
_LONGEST_TIMEOUT = 24 * 3600.0
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Hub:
    """Wakes the watches of the kinds that a commit changed."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.closed = False

    def publish(self, kinds: Iterable[str]) -> None:
        """Every watch of these kinds will look at the log."""
        for kind in kinds:
            for event in self._waiting.get(kind, ()):
                event.set()

    def close(self) -> None:
        """Every watch ends now."""
        self.closed = True
        self.publish(tuple(self._waiting))

    def join(self, kind: str) -> asyncio.Event:
        """An event that is set when the kind changes, until ``leave``."""
        event = asyncio.Event()
        self._waiting[kind].add(event)
        return event

    def leave(self, kind: str, event: asyncio.Event) -> None:
        """The event is forgotten."""
        self._waiting[kind].discard(event)
        if not self._waiting[kind]:
            del self._waiting[kind]


class Watch:
    """One client's watch."""

    def __init__(
        self,
        storage: Storage,
        hub: Hub,
        target: Target,
        options: ListOptions,
        representation: Representation,
        *,
        bookmark_seconds: float,
    ) -> None:
        """Raises StatusError 410 or 504 when the resourceVersion to start from is gone or not reached."""
        self._storage = storage
        self._hub = hub
        self._target = target
        self._options = options
        self._representation = representation
        self._bookmark_seconds = bookmark_seconds
        start = options.resource_version or 0
        check_reachable(storage, start)
        wanted = options.send_initial_events
        self._initial = not start if wanted is None else wanted
        self._cursor = storage.revision if self._initial or not start else start
        if self._cursor < storage.compacted:
            raise too_old(storage, self._cursor)

    async def lines(self) -> AsyncIterator[bytes]:
        """Newline-terminated watch events, several at a time, until the timeout, the hub's end or 410."""
        timeout = min(self._options.timeout_seconds or _DEFAULT_TIMEOUT, _LONGEST_TIMEOUT)
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        changed = self._hub.join(self._target.kind)
        try:
            async for chunk in self._initial_events():
                yield chunk
            while not self._hub.closed:
                changed.clear()
                if self._cursor < self._storage.compacted:
                    yield self._error(too_old(self._storage, self._cursor))
                    return
                chunk, complete = self._news()
                if chunk:
                    yield chunk
                if not complete or changed.is_set():
                    continue
                if await _is_set_by(changed, min(end, loop.time() + self._bookmark_seconds)):
                    continue
                if self._options.bookmarks:
                    yield self._bookmark()
                if loop.time() >= end:
                    return
        finally:
            self._hub.leave(self._target.kind, changed)

    async def _initial_events(self) -> AsyncIterator[bytes]:
        at, after, complete = self._cursor, ("", ""), False
        while self._initial:
            if at < self._storage.compacted:
                return  # the caller's next look at the cursor says so to the client
            page: list[Stored] = []
            size = 0
            for stored in self._storage.list(self._target.kind, self._target.namespace, at=at, after=after):
                page.append(stored)
                size += len(stored.body)
                if len(page) == _BATCH or size >= _BATCH_BYTES:
                    break
            else:
                complete = True
            chunk = b"".join(self._line(Change.ADDED, entry.body) for entry in page if self._matches(entry.body))
            if chunk:
                yield chunk
            if complete:
                break
            after = (page[-1].key.namespace, page[-1].key.name)
        if self._options.send_initial_events:
            yield self._bookmark(initial_end=True)

    def _news(self) -> tuple[bytes, bool]:
        """What the log has behind the cursor, and whether that was all of it."""
        newest = self._storage.revision
        revisions, complete = self._storage.changes(self._target.kind, self._cursor, limit=_BATCH)
        chunk = b"".join(line for revision in revisions for line in self._event(revision))
        self._cursor = newest if complete else revisions[-1].number
        return chunk, complete

    def _event(self, revision: Revision) -> Iterable[bytes]:
        """A change as this watch sees it: an object that starts or stops matching is ADDED or DELETED."""
        if self._target.namespace is not None and revision.key.namespace != self._target.namespace:
            return
        now = revision.change is not Change.DELETED and self._matches(revision.body)
        before = revision.previous is not None and self._matches(revision.previous)
        if now:
            yield self._line(Change.MODIFIED if before else Change.ADDED, revision.body)
        elif before and revision.previous is not None:
            body = revision.body
            if revision.change is not Change.DELETED:
                last = msgspec.json.decode(revision.previous)
                last["metadata"]["resourceVersion"] = str(revision.number)
                body = msgspec.json.encode(last)
            yield self._line(Change.DELETED, body)

    def _matches(self, body: bytes) -> bool:
        selector = self._options.selector
        return not selector or selector.matches(msgspec.json.decode(body))

    def _line(self, change: Change, body: bytes) -> bytes:
        shown = self._representation.one(self._target.resource, body)
        return b'{"type":"' + change.value.encode() + b'","object":' + shown + b"}\n"

    def _bookmark(self, *, initial_end: bool = False) -> bytes:
        resource = self._target.resource
        metadata: dict[str, object] = {"resourceVersion": str(self._cursor), "creationTimestamp": None}
        if initial_end:
            metadata["annotations"] = {_INITIAL_EVENTS_END: "true"}
        body = msgspec.json.encode({"apiVersion": resource.group_version, "kind": resource.kind, "metadata": metadata})
        shown = self._representation.one(resource, body)
        return b'{"type":"BOOKMARK","object":' + shown + b"}\n"

    def _error(self, failure: StatusError) -> bytes:
        return b'{"type":"ERROR","object":' + msgspec.json.encode(failure.status()) + b"}\n"


async def _is_set_by(event: asyncio.Event, when: float) -> bool:
    """True as soon as the event is set, False at that time of the loop."""
    try:
        async with asyncio.timeout_at(when):
            await event.wait()
    except TimeoutError:
        return False
    return True
