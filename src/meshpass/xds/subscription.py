"""Subscription: one client's view of one resource type, as a sans-IO machine of the incremental xDS protocol.

Envoy's "xDS REST and gRPC protocol" (Incremental xDS) forces most of what is here; where it leaves a choice:

- **A rejected response of several resources is sent again in halves** until each culprit stands alone. Envoy may have
  applied any part of a rejected response, so nothing of it counts as acknowledged, and its words name one culprit at
  most. A resource that was rejected alone is not sent again before it has a new version or is asked for anew.
- **An extension config is sent alone, and never twice after a rejection.** Envoy remembers the last one that it was
  sent for a name, refused or not, and acknowledges the same bytes at once without looking at them. After a rejection
  the next version is sent even if it is the one that the client acknowledged before: only then is the refused one
  looked at again, should it come back.
- **Names that do not exist.** For types that Envoy waits for while it warms a cluster or listener (endpoints, secrets,
  extension configs, routes) nothing is said: the name may come with the next Snapshot, and "removed" would end the
  warming with an empty cluster, a missing filter or no routes. For other types the answer is ``removed_resources``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import groupby
from types import MappingProxyType

from meshpass.envoy.snapshot import ENDPOINTS, EXTENSION_CONFIG, ROUTES, SECRET, Resource
from meshpass.errors import XdsProtocolError
from meshpass.xds.event import Acknowledged, Rejected, Send
from meshpass.xds.request import DeltaRequest

WILDCARD = "*"

WARMED = frozenset({ENDPOINTS, SECRET, EXTENSION_CONFIG, ROUTES})
"""Types whose absence is not told to a client that asks: it is waiting, and what it asks for may still come."""

REMEMBERED = frozenset({EXTENSION_CONFIG, SECRET})
"""Types of which Envoy remembers what it refused."""


class State(Enum):
    """What the client is subscribed to."""

    FRESH = "has said nothing yet"
    ALL = "everything of the type"
    ALL_AND_NAMES = "everything, and some names of it besides"
    NAMES = "the names that it gave"
    NOTHING = "nothing any more; an empty request no longer means everything"
    CLOSED = "the protocol was broken"


class Input(Enum):
    """What one part of a request does to the subscription."""

    EMPTY = "neither subscribes nor unsubscribes"
    ASK_ALL = "subscribes to *"
    ASK_NAMES = "subscribes to names"
    DROP_ALL = "unsubscribes from *"
    DROP_SOME = "unsubscribes from names, others remain"
    DROP_LAST = "unsubscribes from names, none remain"
    BREACH = "says what the protocol does not allow"


TRANSITIONS: Mapping[tuple[State, Input], State] = MappingProxyType(
    {
        (State.FRESH, Input.EMPTY): State.ALL,
        (State.FRESH, Input.ASK_ALL): State.ALL,
        (State.FRESH, Input.ASK_NAMES): State.NAMES,
        (State.FRESH, Input.DROP_ALL): State.NOTHING,
        (State.FRESH, Input.DROP_LAST): State.NOTHING,
        (State.FRESH, Input.BREACH): State.CLOSED,
        (State.ALL, Input.EMPTY): State.ALL,
        (State.ALL, Input.ASK_ALL): State.ALL,
        (State.ALL, Input.ASK_NAMES): State.ALL_AND_NAMES,
        (State.ALL, Input.DROP_ALL): State.NOTHING,
        (State.ALL, Input.DROP_LAST): State.ALL,
        (State.ALL, Input.BREACH): State.CLOSED,
        (State.ALL_AND_NAMES, Input.EMPTY): State.ALL_AND_NAMES,
        (State.ALL_AND_NAMES, Input.ASK_ALL): State.ALL_AND_NAMES,
        (State.ALL_AND_NAMES, Input.ASK_NAMES): State.ALL_AND_NAMES,
        (State.ALL_AND_NAMES, Input.DROP_ALL): State.NAMES,
        (State.ALL_AND_NAMES, Input.DROP_SOME): State.ALL_AND_NAMES,
        (State.ALL_AND_NAMES, Input.DROP_LAST): State.ALL,
        (State.ALL_AND_NAMES, Input.BREACH): State.CLOSED,
        (State.NAMES, Input.EMPTY): State.NAMES,
        (State.NAMES, Input.ASK_ALL): State.ALL_AND_NAMES,
        (State.NAMES, Input.ASK_NAMES): State.NAMES,
        (State.NAMES, Input.DROP_ALL): State.NAMES,
        (State.NAMES, Input.DROP_SOME): State.NAMES,
        (State.NAMES, Input.DROP_LAST): State.NOTHING,
        (State.NAMES, Input.BREACH): State.CLOSED,
        (State.NOTHING, Input.EMPTY): State.NOTHING,
        (State.NOTHING, Input.ASK_ALL): State.ALL,
        (State.NOTHING, Input.ASK_NAMES): State.NAMES,
        (State.NOTHING, Input.DROP_ALL): State.NOTHING,
        (State.NOTHING, Input.DROP_LAST): State.NOTHING,
        (State.NOTHING, Input.BREACH): State.CLOSED,
    }
)
"""Every legal move. CLOSED has none; where no name is subscribed, DROP_SOME cannot happen."""


class Subscription:
    """What one client wants of one type, what it has, and what is on its way to it.

    ``receive`` takes a request in; ``offer`` and ``withdraw``, or ``replace`` for both at once, then say what to send
    so that the client comes to have the given resources. Calling them again changes nothing.
    """

    def __init__(self, type_url: str, *, refused: Iterable[Rejected] = ()) -> None:
        """``refused`` is what the client refused of the type before, on another stream."""
        self.type_url = type_url
        self._state = State.FRESH
        self._names: set[str] = set()
        self._sent = 0
        self._in_flight: dict[int, Mapping[str, Resource | None]] = {}
        self._latest: dict[str, int] = {}
        """Name → number of the last send that had it, while that send is in flight."""
        self._settled: dict[str, int] = {}
        """Name → number of the last acknowledged send that had it."""
        self._acknowledged: dict[str, Resource] = {}
        self._rejected: dict[str, Rejected] = {}
        remembered = refused if type_url in REMEMBERED else ()
        self._remembered = {one.name: rejected for rejected in remembered for one in rejected.resources}
        """Name → what the client remembers that it refused, having been sent nothing of that name since."""
        self._apart: dict[str, int] = {}
        """Name → group: suspects of a rejected response, to be sent apart from each other."""
        self._owed: set[str] = set()
        """Names asked for by name since they were last sent: the answer is due whatever the client may have."""
        self._dropped: set[str] = set()
        """Names unsubscribed from while * remains: the client no longer knows whether it may keep them."""
        self._greeting_due = False
        self._offered: Mapping[str, Resource] | None = None
        self._withdrawn: Mapping[str, Resource] | None = None
        self._matched: Mapping[str, Resource] | None = None
        """What the last look at these resources found nothing to do about, for as long as that is still so. Snapshots
        share the parts that are equal: a change then costs its own size, not that of everything."""

    @property
    def state(self) -> State:
        """What the client is subscribed to."""
        return self._state

    @property
    def outstanding(self) -> bool:
        """True while a response waits for its ACK or NACK."""
        return bool(self._in_flight)

    @property
    def acknowledged(self) -> Mapping[str, Resource]:
        """What the client is known to have. ``wire`` is empty where only the client's word for the version is known."""
        return MappingProxyType(self._acknowledged)

    @property
    def rejections(self) -> tuple[Rejected, ...]:
        """What the client refuses of what was last offered, by name."""
        return tuple(self._rejected[name] for name in sorted(self._rejected))

    def wants(self, name: str) -> bool:
        """True when the client is subscribed to the name or to everything."""
        return self._wants_all or name in self._names

    def has_all(self, resources: Mapping[str, Resource]) -> bool:
        """True when the client has acknowledged exactly these resources."""
        if resources is self._matched:
            return True
        matches = self._acknowledged.keys() == resources.keys() and all(
            self._acknowledged[name].version == resource.version for name, resource in resources.items()
        )
        self._matched = resources if matches else None
        return matches

    def receive(self, request: DeltaRequest) -> tuple[Acknowledged | Rejected, ...]:
        """Take the request in. Raises XdsProtocolError, and is CLOSED, when the protocol does not allow it."""
        if self._state is State.CLOSED:
            raise XdsProtocolError(f"{self.type_url}: the subscription is closed")
        first, had_all = self._state is State.FRESH, self._wants_all
        if breach := self._breach(request, first=first):
            self._move(Input.BREACH)
            raise XdsProtocolError(f"{self.type_url}: {breach}")
        events = self._settle(request.nonce, request.error)
        if first or request.subscribe or request.unsubscribe:
            self._offered = self._withdrawn = self._matched = None
        self._subscribe(request, first=first)
        self._unsubscribe(request.unsubscribe)
        if not request.subscribe and not request.unsubscribe:
            self._move(Input.EMPTY)
        if self._wants_all and not had_all:
            self._greeting_due = not request.initial_versions
        for name, version in request.initial_versions.items():
            if self.wants(name):
                self._acknowledged[name] = Resource(type_url=self.type_url, name=name, version=version, wire=b"")
        return events

    def offer(self, resources: Mapping[str, Resource]) -> tuple[Send, ...]:
        """What to send so that the client gets the new and changed ones among these resources."""
        return self._send_apart(self._additions(resources))

    def withdraw(self, resources: Mapping[str, Resource]) -> tuple[Send, ...]:
        """What to send so that the client drops what it was told about and these resources do not have."""
        return self._send_apart(self._removals(resources))

    def replace(self, resources: Mapping[str, Resource]) -> tuple[Send, ...]:
        """What to send so that the client has exactly these resources, in one response.

        Listeners need that: Envoy removes the old one from an address before it adds another in the same response.
        """
        additions = self._additions(resources)
        return self._send_apart({**self._removals(resources), **additions})

    def _additions(self, resources: Mapping[str, Resource]) -> dict[str, Resource | None]:
        if resources is self._offered:
            return {}
        self._offered, self._withdrawn = resources, None
        for name, rejected in tuple(self._rejected.items()):
            refused = rejected.resources[0].version if rejected.resources else None
            if (resources[name].version if name in resources else None) != refused:
                del self._rejected[name]
        changed: dict[str, Resource | None] = {}
        for name in resources if self._wants_all else self._names & resources.keys():
            resource = resources[name]
            if name in self._owed or name in self._dropped:
                self._rejected.pop(name, None)
                changed[name] = resource
            elif self._version(name) != resource.version:
                if self._would_be_refused(name, resource):
                    self._rejected[name] = self._remembered[name]
                elif name not in self._rejected:
                    changed[name] = resource
            elif name in self._acknowledged and not self._acknowledged[name].wire:
                self._acknowledged[name] = resource
        return changed

    def _removals(self, resources: Mapping[str, Resource]) -> dict[str, Resource | None]:
        if resources is self._withdrawn:
            return {}
        self._withdrawn = resources
        gone = {
            name
            for name in (self._acknowledged.keys() | self._latest.keys()) - resources.keys()
            if self.wants(name) and self._version(name) is not None and name not in self._rejected
        }
        absent = self._owed - resources.keys()
        self._owed -= absent
        told = set() if self.type_url in WARMED else absent
        return dict.fromkeys(gone | told | (self._dropped - resources.keys()))

    def _would_be_refused(self, name: str, resource: Resource) -> bool:
        """True if the client has refused these bytes last: it would acknowledge them now, and use none of them."""
        refused = self._remembered.get(name)
        return refused is not None and resource.version in {one.version for one in refused.resources}

    @property
    def _wants_all(self) -> bool:
        return self._state in {State.ALL, State.ALL_AND_NAMES}

    def _move(self, given: Input) -> None:
        self._state = TRANSITIONS[self._state, given]

    def _breach(self, request: DeltaRequest, *, first: bool) -> str | None:
        """What the request does that no state allows."""
        if request.type_url != self.type_url:
            return f"a request for {request.type_url} reached this subscription"
        if "" in request.subscribe or "" in request.unsubscribe:
            return "a resource name is empty"
        if both := set(request.subscribe) & set(request.unsubscribe):
            return f"subscribes to and unsubscribes from {min(both)} at once"
        if request.initial_versions and not first:
            return "initial_resource_versions after the first request of the type"
        if request.error is not None and not request.nonce:
            return "error_detail without response_nonce"
        return None

    def _settle(self, nonce: str, error: str | None) -> tuple[Acknowledged | Rejected, ...]:
        """Note the ACK or NACK; a nonce that is not in flight is stale, and says nothing about what the client has."""
        number = next((number for number in self._in_flight if str(number) == nonce), 0)
        entries = self._in_flight.pop(number, None)
        if entries is None:
            return ()
        for name in entries:
            if self._latest.get(name) == number:
                del self._latest[name]
        # A later response that had the same name tells more; what this answer says about that name is history.
        counts = {
            name: entry
            for name, entry in entries.items()
            if self.wants(name) and name not in self._latest and self._settled.get(name, 0) < number
        }
        if error is None:
            return (self._accept(number, counts),)
        self._offered = self._withdrawn = None
        if len(entries) > 1:
            self._set_apart(tuple(counts))
            return ()
        return tuple(self._refuse(name, entry, error) for name, entry in counts.items())

    def _accept(self, number: int, entries: Mapping[str, Resource | None]) -> Acknowledged:
        self._matched = None
        versions: dict[str, str] = {}
        for name, resource in entries.items():
            self._settled[name] = number
            self._rejected.pop(name, None)
            if resource is None:
                self._acknowledged.pop(name, None)
            else:
                self._acknowledged[name] = resource
                versions[name] = resource.version
        if not self._in_flight:
            self._settled.clear()
        removed = tuple(name for name, resource in entries.items() if resource is None)
        return Acknowledged(type_url=self.type_url, versions=MappingProxyType(versions), removed=removed)

    def _set_apart(self, names: tuple[str, ...]) -> None:
        """Have each half of the names sent in a response of its own: among them are the culprits."""
        base = max(self._apart.values(), default=0)
        for index, name in enumerate(names):
            self._apart[name] = base + (1 if index < len(names) // 2 else 2)

    def _refuse(self, name: str, resource: Resource | None, message: str) -> Rejected:
        held = self._acknowledged.get(name)
        sources = resource.sources if resource else frozenset()
        rejected = Rejected(
            type_url=self.type_url,
            message=message,
            resources=(resource,) if resource else (),
            removed=() if resource else (name,),
            sources=(sources - held.sources if held else sources) or sources,
        )
        self._rejected[name] = rejected
        if self.type_url in REMEMBERED:
            self._remembered[name] = rejected
        return rejected

    def _subscribe(self, request: DeltaRequest, *, first: bool) -> None:
        names = [name for name in request.subscribe if name != WILDCARD]
        if WILDCARD in request.subscribe:
            self._move(Input.ASK_ALL)
        if names:
            self._move(Input.ASK_NAMES)
        self._names.update(names)
        # A client that asks again may have forgotten what it had; only a resume tells what it still has.
        self._owed.update(name for name in names if not first or name not in request.initial_versions)

    def _unsubscribe(self, names: tuple[str, ...]) -> None:
        dropped = set(names) - {WILDCARD}
        held = dropped & self._names
        self._names -= dropped
        if WILDCARD in names:
            self._move(Input.DROP_ALL)
            dropped |= {*self._acknowledged, *self._rejected, *self._dropped} - self._names
        if set(names) - {WILDCARD}:
            self._move(Input.DROP_SOME if self._names else Input.DROP_LAST)
        if self._wants_all:
            self._owed -= held
            self._dropped |= held
            return
        for name in dropped:
            self._owed.discard(name)
            self._dropped.discard(name)
            self._acknowledged.pop(name, None)
            self._rejected.pop(name, None)

    def _version(self, name: str) -> str | None:
        """The version that the client has or is being sent; ``None`` for nothing."""
        number = self._latest.get(name)
        if number is None and name in self._remembered:
            return None
        resource = self._acknowledged.get(name) if number is None else self._in_flight[number][name]
        return resource.version if resource else None

    def _send_apart(self, entries: Mapping[str, Resource | None]) -> tuple[Send, ...]:
        """One Send for all entries, but one each for the groups of suspects among them.

        The first answer to a client that wants everything is sent even if it is empty: Envoy waits for it to start.
        """
        if not entries and self._greeting_due:
            return (self._send({}),)

        alone = self.type_url in REMEMBERED

        def group(name: str) -> tuple[int, str]:
            return self._apart.get(name, 0), name if alone else ""

        names = sorted(entries, key=lambda name: (group(name), entries[name] is not None, name))
        parts = [tuple(part) for _, part in groupby(names, key=group)]
        return tuple(self._send({name: entries[name] for name in part}) for part in parts)

    def _send(self, entries: Mapping[str, Resource | None]) -> Send:
        self._sent += 1
        self._greeting_due = False
        self._in_flight[self._sent] = entries
        for name in entries:
            self._latest[name] = self._sent
            self._apart.pop(name, None)
            self._remembered.pop(name, None)
            self._owed.discard(name)
            self._dropped.discard(name)
        return Send(
            type_url=self.type_url,
            nonce=str(self._sent),
            resources=tuple(resource for resource in entries.values() if resource is not None),
            removed=tuple(name for name, resource in entries.items() if resource is None),
        )
