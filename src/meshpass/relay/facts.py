"""Facts: what two ends tell each other beside objects, as bytes under names; only the ends understand them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from meshpass.kube.objectlog import Changes, ObjectLog
from meshpass.observable import Observable

MAX_FACT_BYTES = 1024 * 1024


class Facts(Observable):
    """What we tell, and what we were told: cluster of the teller → name → bytes. Not thread-safe.

    ``revision`` counts the changes of both.

    What we were told outlives the process where there is a log: an agent that starts without the management server knows
    whom to believe.
    """

    def __init__(self, log: ObjectLog | None = None, restored: Mapping[tuple[str, str], bytes] | None = None) -> None:
        """``restored`` is `Restored.facts`."""
        super().__init__()
        self._log = log
        self._own: Mapping[str, bytes] = MappingProxyType({})
        self._received: Mapping[str, Mapping[str, bytes]] = MappingProxyType({})
        for (cluster, name), body in (restored or {}).items():
            self._set(cluster, {name: body}, frozenset())

    @property
    def own(self) -> Mapping[str, bytes]:
        """What is told to every peer; another mapping after every change."""
        return self._own

    @property
    def received(self) -> Mapping[str, Mapping[str, bytes]]:
        """What was told last; another mapping after every change. An agent is told by the management cluster alone."""
        return self._received

    def publish(self, name: str, body: bytes) -> None:
        """Tell every peer, now and whenever one connects. ValueError above 1 MiB."""
        if len(body) > MAX_FACT_BYTES:
            raise ValueError(f"fact {name} has more than {MAX_FACT_BYTES} bytes")
        if self._own.get(name) != body:
            self._own = MappingProxyType({**self._own, name: body})
            self._count_change()

    def withdraw(self, name: str) -> None:
        """Tell it no longer."""
        if name in self._own:
            self._own = MappingProxyType({other: body for other, body in self._own.items() if other != name})
            self._count_change()

    def receive(self, cluster: str, changed: Mapping[str, bytes], removed: frozenset[str]) -> None:
        """A peer told this; it is on disk before anybody sees it."""
        if not changed and not removed:
            return
        if self._log is not None:
            gone = dict.fromkeys(((cluster, name) for name in removed), None)
            self._log.write(Changes(facts={**gone, **{(cluster, name): body for name, body in changed.items()}}))
        self._set(cluster, changed, removed)
        self._count_change()

    def forget(self, cluster: str) -> None:
        """The cluster is no more, nor is what it told."""
        self.receive(cluster, {}, frozenset(self._received.get(cluster, {})))

    def _set(self, cluster: str, changed: Mapping[str, bytes], removed: frozenset[str]) -> None:
        before = self._received.get(cluster, {})
        kept = {name: body for name, body in before.items() if name not in removed}
        others = {other: told for other, told in self._received.items() if other != cluster}
        after = {**kept, **changed}
        self._received = MappingProxyType({**others, cluster: MappingProxyType(after)} if after else others)
