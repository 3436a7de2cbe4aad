"""RemoteStates: how far proxies are that other processes serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from meshpass.observable import Observable
from meshpass.xds.cache import Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteState:
    """How far a proxy is, in words that mean the same to every process."""

    in_sync: bool
    """True when the proxy has acknowledged the whole Snapshot that was made last."""
    inputs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Of a process, under `process_node`: cluster → label of its objects (`ObjectStore.revisions`), as they were when it made
    its proxies' Snapshots last. Of a proxy nothing: with every edit all of them would have to be told."""
    rejections: tuple[Rejection, ...] = ()


def process_node(cluster: str) -> str:
    """The name under which the process that serves a cluster's proxies tells how far it is itself."""
    return f"process~{cluster}~~"


def cluster_of_node(node: str) -> str:
    """The cluster of a proxy or a process; empty for what is neither's id."""
    parts = node.split("~")
    return parts[1] if len(parts) == 4 else ""


class RemoteStates(Observable):
    """Node → state, as told last. Not thread-safe: it lives in one event loop."""

    def __init__(self) -> None:
        super().__init__()
        self._states: Mapping[str, RemoteState] = MappingProxyType({})

    @property
    def states(self) -> Mapping[str, RemoteState]:
        """All of them; another mapping after every change, this one is never changed."""
        return self._states

    def state(self, node: str) -> RemoteState | None:
        """How far the node is; None for one that nobody has told about."""
        return self._states.get(node)

    def set(self, node: str, state: RemoteState) -> None:
        """The node is that far."""
        self.update({node: state})

    def remove(self, node: str) -> None:
        """Nobody serves the node any more."""
        self.update({}, (node,))

    def update(self, states: Mapping[str, RemoteState], removed: tuple[str, ...] = ()) -> None:
        """Set and remove many at once, as one change; none if everything is so already."""
        changed = {node: state for node, state in states.items() if self._states.get(node) != state}
        gone = [node for node in removed if node in self._states and node not in states]
        if not changed and not gone:
            return
        after = {**self._states, **changed}
        for node in gone:
            del after[node]
        self._states = MappingProxyType(after)
        self._count_change()
