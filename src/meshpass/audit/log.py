"""AuditLog: the latest decision records, in bounded memory, and who follows them."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from types import MappingProxyType

from meshpass.audit.counter import RequestCounter
from meshpass.audit.query import RecordFilter
from meshpass.audit.record import DecisionRecord

CAPACITY = 10_000
MAX_BYTES = 16 * 1024 * 1024
SUBSCRIPTION_CAPACITY = 2000
EVERYTHING = RecordFilter()


class DropCause(Enum):
    """Why a record is missing somewhere."""

    OVERLOAD = "overload"
    """More came than the control plane takes the time to read."""
    SUBSCRIBER = "subscriber"
    """A follower read too slowly; the log itself has the record."""


class AuditLog:
    """Keeps the latest records, up to a number and a size; counts all of them. To be used from one event loop."""

    def __init__(self, *, capacity: int = CAPACITY, max_bytes: int = MAX_BYTES) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._records: deque[DecisionRecord] = deque()
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._subscriptions: set[Subscription] = set()
        self._counter = RequestCounter()
        self._dropped: Counter[DropCause] = Counter(dict.fromkeys(DropCause, 0))

    @property
    def counter(self) -> RequestCounter:
        """Every record that was ever appended, counted."""
        return self._counter

    @property
    def dropped(self) -> Mapping[DropCause, int]:
        """How many records were dropped since the start. Old ones that made room for new ones are not dropped."""
        return MappingProxyType(self._dropped)

    def append(self, record: DecisionRecord) -> None:
        """The record is counted, kept, and on its way to those who follow; the oldest make room. Never waits."""
        self._counter.add(record)
        self._records.append(record)
        self._sizes.append(record.size)
        self._bytes += self._sizes[-1]
        while len(self._records) > self._capacity or self._bytes > self._max_bytes:
            self._records.popleft()
            self._bytes -= self._sizes.popleft()
        for subscription in self._subscriptions:
            if not subscription.offer(record):
                self._dropped[DropCause.SUBSCRIBER] += 1

    def count_dropped(self, number: int) -> None:
        """So many records came and were not read."""
        self._dropped[DropCause.OVERLOAD] += number

    def select(self, wanted: RecordFilter = EVERYTHING) -> tuple[DecisionRecord, ...]:
        """The kept records that are wanted, in the order in which they came."""
        return tuple(record for record in self._records if wanted.matches(record))

    @contextmanager
    def subscribe(
        self, wanted: RecordFilter = EVERYTHING, *, capacity: int = SUBSCRIPTION_CAPACITY
    ) -> Iterator[Subscription]:
        """Inside, every wanted record that comes is offered to the subscription."""
        subscription = Subscription(wanted, capacity)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)


class Subscription:
    """New records for one follower, as an asynchronous iterator over what came since the last step: never empty."""

    def __init__(self, wanted: RecordFilter, capacity: int) -> None:
        self._wanted = wanted
        self._capacity = capacity
        self._waiting: list[DecisionRecord] = []
        self._came = asyncio.Event()
        self.dropped = 0
        """Wanted records that found the queue full."""

    def offer(self, record: DecisionRecord) -> bool:
        """False if the record is wanted and there was no room for it."""
        if not self._wanted.matches(record):
            return True
        if len(self._waiting) >= self._capacity:
            self.dropped += 1
            return False
        self._waiting.append(record)
        self._came.set()
        return True

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> tuple[DecisionRecord, ...]:
        await self._came.wait()
        self._came.clear()
        records, self._waiting = tuple(self._waiting), []
        return records
