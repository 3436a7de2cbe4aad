"""An obedient client of delta ADS without a network: what it is sent is counted to the byte."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from bench.mesh import BenchError
from meshpass.envoy.snapshot import CLUSTER, ENDPOINTS, EXTENSION_CONFIG, LISTENER, ROUTES, SECRET, Snapshot
from meshpass.xds.event import Event, Send
from meshpass.xds.memory import Plan
from meshpass.xds.request import DeltaRequest
from meshpass.xds.stream import AdsStream
from meshpass.xds.wire import serialise_response

BY_NAME = (ENDPOINTS, SECRET, EXTENSION_CONFIG, ROUTES)
"""Types that Envoy asks for by the names that clusters and listeners have told it; of those two it asks for all."""


class CountingClient:
    """An Envoy as far as bytes go: asks for all that it hears of, acknowledges at once, makes every step of a plan."""

    def __init__(self, node: str, plan: Plan) -> None:
        self._stream = AdsStream(plan)
        self._asked: dict[str, set[str]] = {type_url: set() for type_url in BY_NAME}
        self._received = 0
        for type_url in (CLUSTER, LISTENER):
            self._react(self._stream.receive(DeltaRequest(type_url=type_url, node=node)))

    def retarget(self, snapshot: Snapshot) -> int:
        """The client has the snapshot; the bytes of all responses that this took. Raises BenchError if it has not."""
        before = self._received
        self._react(self._stream.retarget(snapshot))
        for type_url, asked in self._asked.items():
            new = snapshot.of(type_url).keys() - asked
            if new:
                asked.update(new)
                self._react(self._stream.receive(DeltaRequest(type_url=type_url, subscribe=tuple(sorted(new)))))
        if not self._stream.in_sync:
            raise BenchError(f"{snapshot.node} did not get all of its configuration")
        return self._received - before

    def _react(self, events: Iterable[Event]) -> None:
        waiting = deque(events)
        while waiting:
            event = waiting.popleft()
            if isinstance(event, Send):
                self._received += len(serialise_response(event))
                waiting.extend(self._stream.receive(DeltaRequest(type_url=event.type_url, nonce=event.nonce)))
