"""AdsStream: one Envoy's delta ADS stream, stepping make-before-break from what it has to its target. No IO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from meshpass.envoy.closing import ANSWERING, close_unknown
from meshpass.envoy.snapshot import (
    CLUSTER,
    EXTENSION_CONFIG,
    LISTENER,
    ROUTES,
    TYPE_URL_ORDER,
    Resource,
    Snapshot,
)
from meshpass.errors import XdsProtocolError
from meshpass.xds.event import Acknowledged, Event, InSync, Rejected, Send
from meshpass.xds.memory import NOTHING, Plan, Recall, find_base, recall_nothing
from meshpass.xds.request import DeltaRequest
from meshpass.xds.subscription import Subscription

REFERRING = (LISTENER, ROUTES)
"""Types that refer to the others; nothing refers to them but each other."""
AWAITED = (CLUSTER, *ANSWERING)
"""Types that a client which resumes has to have told the versions of, before it is known what it has."""


class AdsStream:
    """All subscriptions of one stream, and the plan that they step through.

    A step has three parts, each begun when all of the one before is acknowledged: what is new or changed among the
    types that others refer to; listeners and routes; removals among the types that others refer to. So nothing ever
    refers to what is not there yet or no more, whatever the plan. What the client has not asked for holds nothing
    back: Envoy asks for clusters first, then listeners, then what those refer to.

    A rejected resource holds the stream where it is, until a new target. Only a client that started with nothing and
    has never had everything goes on: it has no last good configuration to keep, and would serve nothing at all because
    of one bad resource. Requests to what refers to the missing resource are refused by Envoy itself.

    A client that resumes names the versions of what it has, type by type; until all have come, or ``settle`` is called,
    it is sent nothing. If the versions are those of a Snapshot that is remembered, the plan begins there; if they are
    not, it begins with closing what nobody knows (``envoy.closing``).
    """

    def __init__(self, plan: Plan, recall: Recall = recall_nothing) -> None:
        self._plan = plan
        self._recall = recall
        self._memory = NOTHING
        self._node = ""
        self._subscriptions: dict[str, Subscription] = {}
        self._ordered: tuple[Subscription, ...] = ()
        """The subscriptions, what is referred to before what refers to it."""
        self._resumed = False
        self._settled = False
        self._closing = False
        """True while the step is what closes the way, to be sent alone."""
        self._target: Snapshot | None = None
        self._current: Snapshot | None = None
        self._steps: tuple[Snapshot, ...] = ()
        """What is left of the plan; the first is being sent. Empty before the first target."""
        self._planned: Snapshot | None = None
        """The target that the plan leads to."""
        self._first = True
        """True until the client has once acknowledged everything. While it is still asking for more, what it will
        accept is not known: nothing may be planned from the Snapshot that it is getting."""
        self._in_sync = False

    @property
    def node(self) -> str:
        """The node id that the client gave in its first request; empty before."""
        return self._node

    @property
    def target(self) -> Snapshot | None:
        """Where the client is to be."""
        return self._target

    @property
    def current(self) -> Snapshot | None:
        """The last step that the client has acknowledged as a whole."""
        return self._current

    @property
    def left(self) -> tuple[Snapshot, ...]:
        """What the client had last as a whole, and what is on its way to it; nothing if that is not known."""
        return () if self._current is None else (self._current, *self._steps[:1])

    @property
    def in_sync(self) -> bool:
        """True while the client has acknowledged every resource of its target and has nothing else.

        A resource that nothing refers to is never asked for, so never acknowledged: no Snapshot should have one.
        """
        return self._in_sync and not _refuse(self._ordered)

    @property
    def rejections(self) -> tuple[Rejected, ...]:
        """What holds the stream: refused resources of the step that it is at, by type and name."""
        return tuple(rejected for subscription in self._ordered for rejected in subscription.rejections)

    def receive(self, request: DeltaRequest) -> tuple[Event, ...]:
        """Take the request in and say what follows. Raises XdsProtocolError; the stream is then to be closed."""
        if not self._node:
            if not request.node:
                raise XdsProtocolError("the first request of the stream has no node id")
            self._node = request.node
        elif request.node not in {"", self._node}:
            raise XdsProtocolError(f"the stream of {self._node} says that it is {request.node}")
        if not request.type_url:
            raise XdsProtocolError("the request has no type_url")
        if request.initial_versions and not self._resumed:
            self._resume()
        if request.type_url not in self._subscriptions:
            self._subscribe(request.type_url)
        events: tuple[Acknowledged | Rejected, ...] = self._subscriptions[request.type_url].receive(request)
        return (*events, *self._advance())

    def _subscribe(self, type_url: str) -> None:
        refused = tuple(one for one in self._memory.refused if one.type_url == type_url)
        self._subscriptions[type_url] = Subscription(type_url, refused=refused)
        self._ordered = tuple(sorted(self._subscriptions.values(), key=_place))

    def settle(self) -> tuple[Event, ...]:
        """Wait no longer for types that the client may never ask for, because it has none of them."""
        self._settled = True
        return self._advance()

    def retarget(self, snapshot: Snapshot) -> tuple[Event, ...]:
        """Make the snapshot the target. The step in progress is finished first; targets in between are skipped."""
        self._target = snapshot
        self._in_sync = False
        return self._advance()

    def _resume(self) -> None:
        """The client lived before this stream; what was begun in the belief that it did not is taken back."""
        self._resumed = True
        self._memory = self._recall(self._node)
        if self._first:
            self._steps = ()

    def _begin(self, target: Snapshot) -> bool:
        """Make the first plan from what the client has. False if that is still to be told."""
        if not self._resumed:
            self._replan(None, target)
            return True
        if not self._settled and any(type_url not in self._subscriptions for type_url in AWAITED):
            return False
        held = {
            type_url: {name: one.version for name, one in self._subscriptions[type_url].acknowledged.items()}
            for type_url in ANSWERING
            if type_url in self._subscriptions
        }
        known = replace(self._memory, given=(*self._memory.given, target))
        if (base := find_base(held, known, self._plan)) is not None:
            self._current, self._first = base, False
            self._replan(base, target)
        elif (closing := close_unknown(held, target)) is not None:
            self._steps, self._planned, self._closing = (closing,), target, True
        else:
            self._replan(None, target)
        return True

    def _replan(self, current: Snapshot | None, target: Snapshot) -> None:
        self._steps = tuple(self._plan(current, target))
        self._planned = target

    def _advance(self) -> tuple[Event, ...]:
        """Send what may be sent now, and step on for as long as nothing has to be waited for."""
        events: list[Event] = []
        while self._target is not None and (self._steps or self._begin(self._target)):
            step = self._steps[0]
            events += self._send_closing(step) if self._closing else self._send(step)
            if _wait_for(self._ordered):
                break
            held = _refuse(self._ordered)
            superseded = self._planned is not self._target
            if held and not superseded:
                break
            complete = self._has_all(step)
            if not held:
                self._first = self._first and not complete and not self._closing
                self._current = None if self._first else step
            if superseded or self._closing:
                # A step that is held is given up for the new target: the plan starts from what is really there.
                self._restart(self._acknowledged() if held else self._current, self._target)
            elif len(self._steps) > 1:
                self._steps = self._steps[1:]
            else:
                if complete and not self._in_sync:
                    self._in_sync = True
                    events.append(InSync(snapshot=self._target))
                break
        return tuple(events)

    def _restart(self, current: Snapshot | None, target: Snapshot) -> None:
        """Plan anew; of a client that resumed, and is not known to have had any Snapshot, it is asked again what it has."""
        self._closing = False
        if current is None and self._resumed:
            self._steps = ()
        else:
            self._replan(current, target)

    def _send_closing(self, step: Snapshot) -> list[Send]:
        """What closes the way, and nothing else: the client keeps all that it has."""
        subscription = self._subscriptions[EXTENSION_CONFIG]
        return list(subscription.offer(step.of(EXTENSION_CONFIG)))

    def _send(self, step: Snapshot) -> list[Send]:
        """What the client is to be sent of this step now."""
        sends: list[Send] = []
        referred = [sub for sub in self._ordered if sub.type_url not in REFERRING]
        referring = [sub for sub in self._ordered if sub.type_url in REFERRING]
        for subscription in referred:
            sends += subscription.offer(step.of(subscription.type_url))
        lenient = self._first and not self._resumed
        if _wait_for(referred) or (_refuse(referred) and not lenient):
            return sends
        for subscription in referring:
            sends += subscription.replace(step.of(subscription.type_url))
        if _wait_for(referring) or _refuse(referring):
            return sends
        for subscription in reversed(referred):
            sends += subscription.withdraw(step.of(subscription.type_url))
        return sends

    def _has_all(self, step: Snapshot) -> bool:
        types = {*self._subscriptions, *(type_url for type_url, of_type in step.resources.items() if of_type)}
        return all(
            type_url in self._subscriptions and self._subscriptions[type_url].has_all(step.of(type_url))
            for type_url in types
        )

    def _acknowledged(self) -> Snapshot | None:
        """The current Snapshot, changed by what the client has acknowledged since; ``None`` if there is none.

        Also ``None`` if the client refused a part of the current Snapshot that it asked for later: a plan from there
        would lead through the refused part again.
        """
        if self._current is None or any(
            self._current.of(rejected.type_url).get(resource.name) == resource
            for rejected in self.rejections
            for resource in rejected.resources
        ):
            return None
        resources: dict[str, MappingProxyType[str, Resource]] = {}
        for type_url in {*self._current.resources, *self._subscriptions}:
            of_type = self._current.of(type_url)
            if subscription := self._subscriptions.get(type_url):
                unasked = {name: resource for name, resource in of_type.items() if not subscription.wants(name)}
                known = {name: resource for name, resource in subscription.acknowledged.items() if resource.wire}
                of_type = MappingProxyType({**unasked, **known})
            resources[type_url] = MappingProxyType(dict(of_type))
        return Snapshot(proxy=self._current.proxy, resources=MappingProxyType(resources))


def _place(subscription: Subscription) -> int:
    """Before all that refers to it; last of all, what no Snapshot has."""
    known = subscription.type_url in TYPE_URL_ORDER
    return TYPE_URL_ORDER.index(subscription.type_url) if known else len(TYPE_URL_ORDER)


def _wait_for(subscriptions: Sequence[Subscription]) -> bool:
    return any(subscription.outstanding for subscription in subscriptions)


def _refuse(subscriptions: Sequence[Subscription]) -> bool:
    return any(subscription.rejections for subscription in subscriptions)
