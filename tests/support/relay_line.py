"""The two machines of the relay and a connection between them, message by message, without IO."""

from __future__ import annotations

from meshpass.envoy.snapshot import Resource
from meshpass.errors import XdsProtocolError
from meshpass.relay.follower import Delivery, Follower
from meshpass.relay.message import read_request, read_response, write_request
from meshpass.relay.publisher import Publisher
from meshpass.relay.resource import Target, make_resource
from meshpass.relay.typeurl import REVISION, TYPE_ORDER
from meshpass.xds.event import Send
from meshpass.xds.wire import serialise_response

Held = dict[tuple[str, str], bytes]


class Follow:
    """A follower and what it holds, as a process that keeps it over its connections."""

    def __init__(self) -> None:
        self.held: Held = {}
        self.batches: list[Held] = []
        self.follower = Follower(self.accept, {})

    def accept(self, type_url: str, name: str, body: bytes) -> bytes:
        """What begins with ``bad`` is refused."""
        if body.startswith(b"bad"):
            raise XdsProtocolError("is bad")
        return body

    def connect(self, *, resume: bool = True) -> list[bytes]:
        """A new connection; what it writes first."""
        held: dict[str, dict[str, str]] = {}
        for (type_url, name), body in self.held.items():
            held.setdefault(type_url, {})[name] = make_resource(type_url, name, body).version
        self.follower = Follower(self.accept, held, resume=resume)
        return [write_request(request) for request in self.follower.start()]

    def receive(self, message: bytes) -> bytes:
        """The answer to a response, which is applied if its batch is whole."""
        answer, delivery = self.follower.receive(read_response(message))
        if delivery is not None:
            self.apply(delivery)
        return write_request(answer)

    def apply(self, delivery: Delivery) -> None:
        """Hold what the batch says."""
        for type_url, names in delivery.removed.items():
            for name in names:
                del self.held[type_url, name]  # a KeyError is a removal of what was never told
        for type_url, changed in delivery.changed.items():
            for name, body in changed.items():
                assert isinstance(body, bytes)
                self.held[type_url, name] = body
        self.batches.append(dict(self.held))


class Tell:
    """What is to be told, and the labels that go with it."""

    def __init__(self) -> None:
        self.wanted: Held = {}
        self.states: dict[bytes, Held] = {b"0": {}}
        self.count = 0
        self.publisher = Publisher()

    def target(self) -> Target:
        """All of it as it is now."""
        by_type: dict[str, dict[str, Resource]] = {type_url: {} for type_url in TYPE_ORDER}
        for (type_url, name), body in self.wanted.items():
            by_type[type_url][name] = make_resource(type_url, name, body)
        label = str(self.count).encode()
        self.states[label] = dict(self.wanted)
        by_type[REVISION] = {one: make_resource(REVISION, one, label) for one in ("cluster1", "cluster2")}
        return Target(resources=by_type)

    def edit(self, place: tuple[str, str], body: bytes | None) -> tuple[Send, ...]:
        """Something else under the name, or nothing; what is sent at once."""
        self.count += 1
        if body is None:
            self.wanted.pop(place, None)
        else:
            self.wanted[place] = body
        return self.publisher.retarget(self.target())


class Line:
    """The connection between them: messages on their way, each way in order."""

    def __init__(self, tell: Tell, follow: Follow) -> None:
        self.tell, self.follow = tell, follow
        self.up: list[bytes] = []
        self.down: list[bytes] = []
        self.connect()

    def connect(self, *, resume: bool = True) -> None:
        """The old connection is gone with all that was on its way."""
        self.tell.publisher = Publisher()
        self.down = []
        self.up = self.follow.connect(resume=resume)
        self.sent(self.tell.publisher.retarget(self.tell.target()))

    def sent(self, sends: tuple[Send, ...]) -> None:
        """These are on their way."""
        self.down += [serialise_response(send) for send in sends]

    def step_up(self) -> None:
        """One request arrives."""
        if self.up:
            self.sent(self.tell.publisher.receive(read_request(self.up.pop(0))))

    def step_down(self) -> None:
        """One response arrives."""
        if self.down:
            self.up.append(self.follow.receive(self.down.pop(0)))

    def settle(self) -> None:
        """Everything arrives, and all that is said to it."""
        for _ in range(10_000):
            if not self.up and not self.down:
                return
            self.step_up()
            self.step_down()
        raise AssertionError("never at rest")
