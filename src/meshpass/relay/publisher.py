"""Publisher: one peer's view of what we tell: a Subscription per type, stepping from batch to batch. No IO."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshpass.envoy.snapshot import Resource
from meshpass.errors import XdsProtocolError
from meshpass.relay.resource import NO_RESOURCES, Resources, Target, cluster_of, digest, make_resource
from meshpass.relay.typeurl import END, FACT, NODE_STATE, REVISION, TYPE_ORDER
from meshpass.xds.event import Send
from meshpass.xds.request import DeltaRequest
from meshpass.xds.subscription import WILDCARD, Subscription

MAX_RESPONSE_BYTES = 1024 * 1024
"""A response is closed when the next resource would take it beyond this; a larger resource has one of its own."""
_HEADER_BYTES = 1024
"""More than what is in a response beside resources."""
_FRAME_BYTES = 8
"""More than what is around each."""


class Publisher:
    """Tells the peer what it does not have of the target, in a batch that ends with ``*``.

    - Nothing is sent before the peer has asked for the last type: a batch has all types, or says nothing.
    - The next batch is made when the last one is acknowledged as a whole. Targets in between are skipped: at most one
      batch is on its way, however slow the peer.
    - What the peer refuses is sent again in parts until it stands alone, and is then held back until it changes.
    """

    def __init__(self) -> None:
        self._subscriptions: dict[str, Subscription] = {}
        self._target: Target | None = None
        self._offered: dict[str, Resources] = {}
        """What each type's subscription was last brought to."""
        self._again: set[str] = set()
        """Types of which a response was refused: what was in it has to be offered again."""
        self._labels: Resources = NO_RESOURCES
        """Those of the target that was offered last."""
        self._digest = 0
        self._fresh = True
        """True until the peer has said that it holds something, or has been told a whole batch."""

    @property
    def busy(self) -> bool:
        """True while something that was sent waits for its answer: no target is looked at before."""
        return any(one.outstanding for one in self._subscriptions.values())

    def receive(self, request: DeltaRequest) -> tuple[Send, ...]:
        """Take the request in and say what to send. Raises XdsProtocolError; the stream is then to be closed."""
        if request.type_url not in TYPE_ORDER:
            # A peer of a later version: what it knows beyond us, it gets nothing of.
            return ()
        if any(name != WILDCARD for name in (*request.subscribe, *request.unsubscribe)):
            raise XdsProtocolError("nothing is told by name; subscribe to *")
        subscription = self._subscriptions.setdefault(request.type_url, Subscription(request.type_url))
        subscription.receive(request)
        if request.initial_versions:
            self._fresh = False
        if request.error is not None:
            self._again.add(request.type_url)
        return self._advance()

    def retarget(self, target: Target) -> tuple[Send, ...]:
        """Make this what the peer is to hold, and say what to send."""
        self._target = target
        return self._advance()

    def _advance(self) -> tuple[Send, ...]:
        target = self._target
        if target is None or REVISION not in self._subscriptions or (self._fresh and not target.complete):
            return ()
        if self.busy:
            return ()
        sends = [send for type_url in sorted(self._again) for send in self._offer_again(type_url)]
        self._again.clear()
        if sends or not self._moved(target):
            return tuple(sends)
        for type_url in TYPE_ORDER[:-1]:
            if type_url in self._subscriptions:
                sends += self._move(type_url, self._kept(target, type_url))
        labels = self._kept(target, REVISION)
        before = {name: one for name, one in self._offered.get(REVISION, NO_RESOURCES).items() if name != END}
        self._digest ^= _digest_of(before.values()) ^ _digest_of(labels.values())
        end = make_resource(REVISION, END, str(self._digest).encode())
        sends += self._move(REVISION, {**labels, END: end})
        self._labels = target.of(REVISION)
        self._fresh = False
        return tuple(sends)

    def _moved(self, target: Target) -> bool:
        """True when something of the target has not been offered yet."""
        if REVISION not in self._offered or self._labels is not target.of(REVISION) or target.keeps or target.silent:
            return True
        return any(
            self._offered.get(type_url, NO_RESOURCES) is not target.of(type_url)
            for type_url in TYPE_ORDER[:-1]
            if type_url in self._subscriptions
        )

    def _kept(self, target: Target, type_url: str) -> Resources:
        """What the peer is to hold of a type, with what it is to keep."""
        resources = target.of(type_url)
        clusters = target.silent if type_url == NODE_STATE else target.keeps
        if not clusters or type_url == FACT:
            return resources
        held = self._subscriptions[type_url].acknowledged
        kept = {n: one for n, one in held.items() if n not in resources and cluster_of(type_url, n) in clusters}
        return {**resources, **kept} if kept else resources

    def _move(self, type_url: str, resources: Resources) -> Iterator[Send]:
        """Bring one type's subscription from what was offered to these."""
        subscription, before = self._subscriptions[type_url], self._offered.get(type_url)
        if before is resources:
            return
        self._offered[type_url] = resources
        known = subscription.acknowledged if before is None else before
        changed = {n: one for n, one in resources.items() if known.get(n) is not one and not _equal(known.get(n), one)}
        gone = [one for name, one in known.items() if name not in resources]
        if type_url != REVISION:
            old = () if before is None else (*gone, *(before[name] for name in changed if name in before))
            new = resources.values() if before is None else changed.values()
            self._digest ^= _digest_of(old) ^ _digest_of(new)
        if type_url == REVISION:
            # In one response: with the end of the batch, nothing of it may be on its way still.
            yield from subscription.replace(resources)
            return
        # Also where there is nothing but removals: a name that was held back and is gone is to be removed like others.
        for part in tuple(_split(changed.values())) or ((),) if changed or gone else ():
            yield from subscription.offer({one.name: one for one in part})
        if gone:
            yield from subscription.withdraw(resources)

    def _offer_again(self, type_url: str) -> tuple[Send, ...]:
        offered = dict(self._offered.get(type_url, NO_RESOURCES))
        subscription = self._subscriptions[type_url]
        return (*subscription.offer(offered), *subscription.withdraw(offered))


def _equal(one: Resource | None, other: Resource) -> bool:
    return one is not None and one.version == other.version


def _digest_of(resources: Iterable[Resource]) -> int:
    return digest((one.type_url, one.name, one.version) for one in resources)


def _split(resources: Iterable[Resource]) -> Iterator[tuple[Resource, ...]]:
    """The resources in parts, none above the bound but by a single resource."""
    part: list[Resource] = []
    size = _HEADER_BYTES
    for resource in resources:
        needed = len(resource.wire) + _FRAME_BYTES
        if part and size + needed > MAX_RESPONSE_BYTES:
            yield tuple(part)
            part, size = [], _HEADER_BYTES
        part.append(resource)
        size += needed
    if part:
        yield tuple(part)
