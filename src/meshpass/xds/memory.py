"""Memory: what is known of an Envoy from before its stream, and what follows about what it has. No IO."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from types import MappingProxyType

from meshpass.envoy.closing import ANSWERING, Versions
from meshpass.envoy.snapshot import ROUTES, Resource, Snapshot
from meshpass.xds.event import Rejected

Plan = Callable[[Snapshot | None, Snapshot], Sequence[Snapshot]]
"""What a client has now, and its target → the Snapshots to go through; the last one is the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered of one node."""

    given: tuple[Snapshot, ...] = ()
    """Targets that it was given, the newest last."""
    left: tuple[Snapshot, ...] = ()
    """What its last stream had when it ended, and what was then on its way."""
    refused: tuple[Rejected, ...] = ()
    """What its last stream refused."""


NOTHING = Memory()

Recall = Callable[[str], Memory]
"""Node → what is remembered of it."""


def recall_nothing(_node: str) -> Memory:
    """No node was ever heard of."""
    return NOTHING


def outline(snapshot: Snapshot) -> Snapshot:
    """The Snapshot without the bytes of routes, which are megabytes: enough to know it again, and to plan from it."""
    routes = {name: replace(one, wire=b"") for name, one in snapshot.of(ROUTES).items()}
    resources = {type_url: snapshot.of(type_url) for type_url in ANSWERING} | {ROUTES: MappingProxyType(routes)}
    return Snapshot(proxy=snapshot.proxy, resources=MappingProxyType(resources))


def find_base(held: Versions, memory: Memory, plan: Plan) -> Snapshot | None:
    """The Snapshot that a client with these versions has, as far as it decides what requests are answered; None: unknown.

    It may have been on its way between two Snapshots, of which it then has some resources each, as after a step that it
    refused in part. The newest that fits is taken.
    """
    for old, new in _candidates(memory, plan):
        mixed = {type_url: _mix(type_url, held, old, new) for type_url in ANSWERING}
        found = {type_url: resources for type_url, resources in mixed.items() if resources is not None}
        if len(found) == len(mixed):
            return old if old is new else replace(old, resources=MappingProxyType({**old.resources, **found}))
    return None


def _candidates(memory: Memory, plan: Plan) -> Iterator[tuple[Snapshot, Snapshot]]:
    """Snapshots that follow each other, or one and the same: what is likely, and costs no planning, first."""
    yield from ((known, known) for known in reversed(memory.given))
    planned = ((old, *plan(old, new)) for old, new in reversed(tuple(pairwise(memory.given))))
    for way in chain((memory.left,), planned):
        yield from ((step, step) for step in way)
        yield from pairwise(way)


def _mix(type_url: str, held: Versions, old: Snapshot, new: Snapshot) -> Mapping[str, Resource] | None:
    """The resources of these versions, each from one of the two; None if there is any other, or one is not there."""
    before, after, versions = old.of(type_url), new.of(type_url), held.get(type_url, {})
    if not before.keys() & after.keys() <= versions.keys():
        return None
    found: dict[str, Resource] = {}
    for name, version in versions.items():
        fitting = [one for one in (before.get(name), after.get(name)) if one is not None and one.version == version]
        if not fitting:
            return None
        found[name] = fitting[0]
    return MappingProxyType(found)
