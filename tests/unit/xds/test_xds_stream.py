"""What goes out on one stream, in which order, and what holds it back."""

from __future__ import annotations

import pytest

from meshpass.envoy.snapshot import CLUSTER, ENDPOINTS, EXTENSION_CONFIG, LISTENER, ROUTES, SECRET, Resource, Snapshot
from meshpass.errors import XdsProtocolError
from meshpass.ir import Proxy
from meshpass.xds.event import Event, InSync, Rejected, Send
from meshpass.xds.memory import Memory, outline
from meshpass.xds.request import DeltaRequest
from meshpass.xds.stream import AdsStream

NODE = "sidecar~c~n~w"
SHORT = {SECRET: "S", CLUSTER: "C", ENDPOINTS: "E", EXTENSION_CONFIG: "X", LISTENER: "L", ROUTES: "R"}


def snap(**versions: str) -> Snapshot:
    """``snap(C="1", R="2")``: one resource ``r`` per type letter, in that version."""
    by_letter = {letter: type_url for type_url, letter in SHORT.items()}
    resources = {
        by_letter[letter]: {"r": Resource(type_url=by_letter[letter], name="r", version=version, wire=b"w")}
        for letter, version in versions.items()
    }
    return Snapshot(proxy=Proxy(node=NODE), resources=resources)


def straight(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
    return (target,)


def sent(events: tuple[Event, ...]) -> list[str]:
    """``C2`` for a cluster in version 2, ``-C`` for its removal, ``!`` for being in sync."""
    told = []
    for event in events:
        match event:
            case Send():
                told += [f"-{SHORT[event.type_url]}" for _ in event.removed]
                told += [f"{SHORT[event.type_url]}{resource.version}" for resource in event.resources]
            case InSync():
                told.append("!")
    return told


class Client:
    """Subscribed to types; remembers the nonces to answer with."""

    def __init__(self, stream: AdsStream, letters: str = "CEXLR") -> None:
        self.stream = stream
        self.nonces: dict[str, str] = {}
        for type_url, letter in SHORT.items():
            if letter in letters:
                names = ("*",) if letter in "CL" else ("r",)
                self.take(stream.receive(DeltaRequest(type_url=type_url, subscribe=names, node=NODE)))

    def take(self, events: tuple[Event, ...]) -> list[str]:
        self.nonces |= {SHORT[event.type_url]: event.nonce for event in events if isinstance(event, Send)}
        return sent(events)

    def retarget(self, snapshot: Snapshot) -> list[str]:
        return self.take(self.stream.retarget(snapshot))

    def answer(self, letter: str, error: str | None = None) -> list[str]:
        type_url = next(type_url for type_url, short in SHORT.items() if short == letter)
        return self.take(
            self.stream.receive(DeltaRequest(type_url=type_url, nonce=self.nonces.pop(letter), error=error))
        )

    def settle(self) -> list[str]:
        told = []
        while self.nonces:
            told += self.answer(next(iter(self.nonces)))
        return told


def test_nothing_is_sent_before_there_is_a_target() -> None:
    """A client that comes early waits; then it gets everything in order."""
    client = Client(AdsStream(straight))
    assert client.nonces == {}

    assert client.retarget(snap(C="1", L="1")) == ["C1"]
    assert client.answer("C") == ["L1"]
    assert client.answer("L") == ["!"]


def test_listeners_and_routes_wait_for_what_they_refer_to() -> None:
    """The last ACK of clusters, endpoints and extension configs, and nothing else, lets listeners and routes go."""
    client = Client(AdsStream(straight))
    assert client.retarget(snap(R="1", L="1", X="1", E="1", C="1")) == ["C1", "E1", "X1"]
    assert client.answer("X") == []
    assert client.answer("C") == []
    assert client.answer("E") == ["L1", "R1"]
    assert client.answer("R") == []
    assert client.answer("L") == ["!"]


def test_a_type_that_is_not_subscribed_holds_nothing_back() -> None:
    """An Envoy that has not asked for extension configs yet gets its listeners; in sync it is only with them."""
    client = Client(AdsStream(straight), "CL")
    assert client.retarget(snap(C="1", X="1", L="1")) == ["C1"]
    assert client.answer("C") == ["L1"]
    assert client.answer("L") == []
    assert not client.stream.in_sync

    request = DeltaRequest(type_url=EXTENSION_CONFIG, subscribe=("r",))
    assert client.take(client.stream.receive(request)) == ["X1"]
    assert client.answer("X") == ["!"]
    assert client.stream.in_sync


def test_what_is_referred_to_goes_last() -> None:
    """A cluster is removed only after the routes that used it are acknowledged, even within one step."""
    client = Client(AdsStream(straight))
    client.retarget(snap(C="1", R="1"))
    client.settle()
    assert client.retarget(snap(R="2")) == ["R2"]
    assert client.answer("R") == ["-C"]
    assert client.answer("C") == ["!"]


def test_steps_follow_each_other() -> None:
    """Each step of the plan begins when the one before is acknowledged; only the last one ends in sync."""
    steps = (snap(X="2", R="1"), snap(X="2", R="2"))
    target = snap(X="3", R="2")
    client = Client(AdsStream(lambda current, wanted: (*steps, wanted) if current else (wanted,)))
    client.retarget(snap(X="1", R="1"))
    client.settle()
    assert client.retarget(target) == ["X2"]
    assert client.answer("X") == ["R2"]
    assert client.stream.current is steps[0]
    assert client.answer("R") == ["X3"]
    assert client.answer("X") == ["!"]
    assert client.stream.current is target


def test_targets_in_between_are_skipped() -> None:
    """New targets wait for the step in progress; only the newest is planned for, from that step."""
    planned = []

    def plan(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
        planned.append((current, target))
        return (target,)

    first, second, third, fourth = (snap(R=version) for version in "1234")
    client = Client(AdsStream(plan))
    client.retarget(first)
    client.settle()
    assert client.retarget(second) == ["R2"]
    assert client.retarget(third) == []
    assert client.retarget(fourth) == []
    assert client.answer("R") == ["R4"]
    assert client.answer("R") == ["!"]
    assert planned == [(None, first), (first, second), (second, fourth)]


def test_a_rejection_holds_the_stream_until_a_new_target() -> None:
    """The routes that need the rejected config are not sent; a new target is planned from what is acknowledged."""
    bases = []

    def plan(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
        bases.append(current and {SHORT[t]: of["r"].version for t, of in current.resources.items() if of})
        return (target,)

    client = Client(AdsStream(plan))
    client.retarget(snap(C="1", X="1", R="1"))
    client.settle()
    assert client.retarget(snap(C="2", X="2", R="2")) == ["C2", "X2"]
    assert client.answer("C") == []
    assert client.answer("X", "bad") == []
    assert [rejected.message for rejected in client.stream.rejections] == ["bad"]
    assert not client.stream.in_sync

    assert client.retarget(snap(C="2", X="3", R="3")) == ["X3"]
    assert client.answer("X") == ["R3"]
    assert client.answer("R") == ["!"]
    assert client.stream.rejections == ()
    assert bases == [None, {"C": "1", "X": "1", "R": "1"}, {"C": "2", "X": "1", "R": "1"}]


def test_what_is_rejected_is_not_tried_again_while_it_is_the_target() -> None:
    """The same bad resource in a new target is not sent a second time, and still holds."""
    client = Client(AdsStream(straight))
    client.retarget(snap(X="1", R="1"))
    client.settle()
    client.retarget(snap(X="2", R="1"))
    client.answer("X", "bad")

    assert client.retarget(snap(X="2", R="2")) == []
    assert len(client.stream.rejections) == 1


def test_a_client_with_nothing_goes_on_past_a_rejection() -> None:
    """One bad cluster does not keep a starting Envoy from serving the rest."""
    client = Client(AdsStream(straight))
    client.retarget(snap(C="1", X="1", L="1", R="1"))
    client.answer("X")
    assert client.answer("C", "bad") == ["L1", "R1"]
    client.settle()
    assert not client.stream.in_sync

    assert client.retarget(snap(C="2", X="1", L="1", R="1")) == ["C2"]
    assert client.answer("C") == ["!"]


def test_a_resuming_client_does_not_go_on_past_a_rejection() -> None:
    """It has a last good configuration to keep."""
    stream = AdsStream(straight)
    for type_url, letter in SHORT.items():
        names = ("*",) if letter in "CL" else ("r",)
        stream.receive(DeltaRequest(type_url=type_url, subscribe=names, node=NODE, initial_versions={"r": "0"}))
    events = stream.retarget(snap(C="1", E="0", X="0", L="0", R="1"))
    assert sent(events) == ["C1"]

    assert sent(stream.receive(DeltaRequest(type_url=CLUSTER, nonce="1", error="bad"))) == []


def test_a_plan_never_starts_from_what_was_refused() -> None:
    """A resource of the current Snapshot that is refused when it is asked for anew is no base for the next plan."""
    bases = []

    def plan(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
        bases.append(current)
        return (target,)

    client = Client(AdsStream(plan))
    client.retarget(snap(X="1"))
    client.settle()
    client.take(client.stream.receive(DeltaRequest(type_url=EXTENSION_CONFIG, subscribe=("r",))))
    client.answer("X", "bad")
    client.retarget(snap(X="2"))

    assert bases == [None, None]


def test_the_current_snapshot_keeps_what_was_never_asked_for() -> None:
    """What is planned from has the acknowledged resources, and those that the client does not know of."""
    bases = []

    def plan(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
        bases.append(current)
        return (target,)

    client = Client(AdsStream(plan), "CX")
    client.retarget(snap(C="1", X="1"))
    client.settle()
    client.take(client.stream.receive(DeltaRequest(type_url=ENDPOINTS, subscribe=("other",))))
    client.retarget(snap(C="1", X="1", E="1", R="1"))
    client.retarget(snap(C="1", X="2", E="1", R="1"))
    client.answer("X", "bad")
    client.retarget(snap(C="1", X="3", E="1", R="1"))

    assert bases[-1] == snap(C="1", X="1", E="1", R="1")


def test_secrets_come_before_the_endpoints_that_need_them() -> None:
    """Envoy takes responses in the order in which they come: an identity is accepted before its endpoint is called."""
    client = Client(AdsStream(straight), "SCEXLR")
    client.retarget(snap(S="1", E="1", C="1"))
    client.settle()
    assert client.retarget(snap(S="2", E="2", C="2")) == ["S2", "C2", "E2"]
    client.settle()
    assert client.stream.in_sync


def test_what_is_referred_to_goes_after_what_refers_to_it() -> None:
    """Endpoints go before their cluster, and a secret last of all."""
    client = Client(AdsStream(straight), "SCEXLR")
    client.retarget(snap(S="1", E="1", C="1", R="1"))
    client.settle()
    assert client.retarget(snap()) == ["-R"]
    assert client.answer("R") == ["-E", "-C", "-S"]


def resume(stream: AdsStream, letters: str, version: str = "1") -> list[str]:
    """What is sent when a client asks for these types that it has something of, one after the other."""
    told = []
    for letter in letters:
        type_url = next(type_url for type_url, short in SHORT.items() if short == letter)
        names = ("*",) if letter in "CL" else ("r",)
        request = DeltaRequest(type_url=type_url, subscribe=names, node=NODE, initial_versions={"r": version})
        told += sent(stream.receive(request))
    return told


def test_a_client_that_resumes_is_sent_nothing_before_it_has_said_what_it_has() -> None:
    """It names one type after the other; what it never names is not waited for when the shell says so."""
    stream = AdsStream(straight)
    stream.retarget(snap(C="2", E="2", X="2", L="2", R="1"))
    assert resume(stream, "CELX") == []
    assert resume(stream, "R") == ["C2", "E2", "X2"]

    stream = AdsStream(straight)
    assert resume(stream, "CE") == []
    stream.retarget(snap(C="2", E="1"))
    assert sent(stream.settle()) == ["C2"]
    assert sent(stream.settle()) == []


def test_what_looked_like_a_start_is_taken_back_when_the_client_says_what_it_has() -> None:
    """A client that has no clusters says so first: it looks like one that has nothing."""
    bases = []

    def plan(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
        bases.append(current)
        return (target,)

    had, target = snap(X="1", L="1", R="1"), snap(X="2", L="1", R="2")
    stream = AdsStream(plan, lambda _: Memory(given=(had,)))
    stream.retarget(target)
    stream.receive(DeltaRequest(type_url=CLUSTER, subscribe=("*",), node=NODE))
    stream.receive(DeltaRequest(type_url=CLUSTER, nonce="1"))
    assert bases == [None]
    assert resume(stream, "LXR") == ["X2"]
    assert bases == [None, had]


def test_a_client_resumes_from_the_snapshot_that_it_was_given() -> None:
    """The versions of filters, listeners and routes tell which; those of other types need not be the same."""
    bases = []

    def plan(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
        bases.append(current)
        return (snap(C="3", X="2", L="1", R="1"), target)

    older, newer = outline(snap(X="1", L="1", R="1")), outline(snap(X="2", L="1", R="1"))
    target = snap(C="3", X="3", L="1", R="3")
    stream = AdsStream(plan, lambda _: Memory(given=(older, newer)))
    resume(stream, "CLXR")
    events = stream.retarget(target)
    assert sent(events) == ["C3", "X2"]
    assert bases == [older]
    assert stream.current is older
    assert stream.left == (older, snap(C="3", X="2", L="1", R="1"))


def test_a_client_resumes_from_the_middle_of_a_step() -> None:
    """Some of its resources are of what it had when its last stream ended, the others of what was on its way."""
    bases = []

    def plan(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
        bases.append(current)
        return (target,)

    had = snap(X="1", L="0", R="1")
    memory = Memory(left=(had, snap(X="2", L="1", R="2")))
    stream = AdsStream(plan, lambda _: memory)
    resume(stream, "CLXR")
    stream.retarget(snap(X="3", L="1", R="3"))
    (base,) = bases
    assert base is not None
    assert base.proxy is had.proxy
    assert {SHORT[t]: one["r"].version for t, one in base.resources.items()} == {"X": "1", "L": "1", "R": "1"}


def test_what_was_refused_on_the_last_stream_still_is() -> None:
    """Envoy would acknowledge the same filter now without looking at it. Another one it looks at, and then this one."""
    (bad,) = snap(X="2").of(EXTENSION_CONFIG).values()
    rejected = Rejected(type_url=EXTENSION_CONFIG, message="bad", resources=(bad,), removed=(), sources=frozenset())
    stream = AdsStream(straight, lambda _: Memory(refused=(rejected,)))
    resume(stream, "CELXR")
    assert sent(stream.retarget(snap(C="1", E="1", X="2", L="1", R="2"))) == []
    assert stream.rejections == (rejected,)
    assert not stream.in_sync

    assert sent(stream.retarget(snap(C="1", E="1", X="1", L="1", R="1"))) == ["X1"]
    assert sent(stream.receive(DeltaRequest(type_url=EXTENSION_CONFIG, nonce="1"))) == ["!"]
    assert sent(stream.retarget(snap(C="1", E="1", X="2", L="1", R="1"))) == ["X2"]


def test_unknown_types_are_answered() -> None:
    """A client that asks for a type that no Snapshot has is told that there is nothing, and stays usable."""
    stream = AdsStream(straight)
    stream.retarget(snap())
    (send,) = stream.receive(DeltaRequest(type_url="type.googleapis.com/x", subscribe=("n",), node=NODE))

    assert isinstance(send, Send)
    assert send.removed == ("n",)
    assert sent(stream.receive(DeltaRequest(type_url="type.googleapis.com/x", nonce=send.nonce))) == []
    assert stream.in_sync


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        pytest.param([DeltaRequest(type_url=CLUSTER)], "no node id", id="no-node"),
        pytest.param([DeltaRequest(type_url="", node=NODE)], "no type_url", id="no-type"),
        pytest.param(
            [DeltaRequest(type_url=CLUSTER, node=NODE), DeltaRequest(type_url=CLUSTER, node="other")],
            "says that it is other",
            id="another-node",
        ),
    ],
)
def test_breaches(requests: list[DeltaRequest], words: str) -> None:
    """The stream names what is wrong."""
    stream = AdsStream(straight)
    for request in requests[:-1]:
        stream.receive(request)

    with pytest.raises(XdsProtocolError, match=words):
        stream.receive(requests[-1])


def test_later_requests_may_omit_the_node() -> None:
    """Only the first request has to carry it."""
    stream = AdsStream(straight)
    stream.receive(DeltaRequest(type_url=CLUSTER, node=NODE))
    stream.receive(DeltaRequest(type_url=LISTENER))

    assert stream.node == NODE
    assert stream.target is None
