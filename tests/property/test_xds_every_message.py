"""Every state and message: a legal state or a protocol error, and what is sent is what is needed."""

from __future__ import annotations

from hypothesis import event, given, settings
from hypothesis import strategies as st

from meshpass.envoy.snapshot import CLUSTER, ROUTES, Resource
from meshpass.errors import XdsProtocolError
from meshpass.xds.event import Acknowledged, Send
from meshpass.xds.request import DeltaRequest
from meshpass.xds.subscription import State, Subscription

NAMES = ("a", "b", "c", "d")
VERSIONS = ("1", "2", "3")
TYPES = (CLUSTER, ROUTES)

names = st.lists(st.sampled_from((*NAMES, "*")), unique=True, max_size=3).map(tuple)
offers = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VERSIONS))
requests = st.builds(
    DeltaRequest,
    type_url=st.sampled_from((CLUSTER, CLUSTER, CLUSTER, ROUTES, "")),
    subscribe=st.one_of(names, names, st.just(("",))),
    unsubscribe=names,
    initial_versions=st.one_of(st.just({}), offers),
    nonce=st.sampled_from(("", "0", "1", "2", "3", "4", "5", "x", "-1", "²", "9" * 30)),
    error=st.none() | st.just("bad"),
)
inputs = st.lists(st.one_of(requests, requests, offers), max_size=25)


def resources(versions: dict[str, str], type_url: str = CLUSTER) -> dict[str, Resource]:
    return {n: Resource(type_url=type_url, name=n, version=v, wire=b"w") for n, v in versions.items()}


class Interest:
    """What the protocol's text says that a client is subscribed to, as a set."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.started = False

    def change(self, request: DeltaRequest) -> None:
        if not self.started and not request.subscribe and not request.unsubscribe:
            self.asked = {"*"}
        self.asked = (self.asked | set(request.subscribe)) - set(request.unsubscribe)
        self.started = True

    @property
    def state(self) -> State:
        if not self.asked:
            return State.NOTHING if self.started else State.FRESH
        if "*" not in self.asked:
            return State.NAMES
        return State.ALL if self.asked == {"*"} else State.ALL_AND_NAMES


@settings(max_examples=400)
@given(inputs)
def test_every_message_in_every_state(steps: list[DeltaRequest | dict[str, str]]) -> None:
    """A request either moves along the table or raises and closes; nothing else is ever raised."""
    subscription = Subscription(CLUSTER)
    interest = Interest()
    nonces = set()
    for given_step in steps:
        before = subscription.state
        if isinstance(given_step, dict):
            for send in subscription.replace(resources(given_step)):
                assert send.nonce not in nonces
                nonces.add(send.nonce)
                told = [*send.removed, *(r.name for r in send.resources)]
                assert len(told) == len(set(told))
                assert all(given_step.get(r.name) == r.version for r in send.resources)
                assert not set(send.removed) & given_step.keys()
            assert subscription.replace(resources(given_step)) == ()
            assert subscription.state is before
            continue
        try:
            events = subscription.receive(given_step)
        except XdsProtocolError:
            assert subscription.state is State.CLOSED
            event("closed")
            return
        interest.change(given_step)
        assert subscription.state is interest.state
        assert not events or given_step.nonce in nonces


class ModelClient:
    """What an Envoy keeps of one type: it applies a response, or refuses all of it if it has a bad version."""

    def __init__(self) -> None:
        self.has: dict[str, str] = {}
        self.names: set[str] = set()
        self.all = False
        self.seen_bad: dict[tuple[str, str], int] = {}

    def wants(self, name: str) -> bool:
        return self.all or name in self.names

    def answer(self, send: Send, bad: set[tuple[str, str]]) -> DeltaRequest:
        refused = [(r.name, r.version) for r in send.resources if (r.name, r.version) in bad]
        if refused:
            if len(send.resources) + len(send.removed) == 1:
                self.seen_bad[refused[0]] = self.seen_bad.get(refused[0], 0) + 1
            return DeltaRequest(type_url=send.type_url, nonce=send.nonce, error="bad")
        for resource in send.resources:
            if self.wants(resource.name):
                self.has[resource.name] = resource.version
        for name in send.removed:
            self.has.pop(name, None)
        return DeltaRequest(type_url=send.type_url, nonce=send.nonce)

    def change(self, subscribe: tuple[str, ...], unsubscribe: tuple[str, ...]) -> None:
        self.all = (self.all or "*" in subscribe) and "*" not in unsubscribe
        self.names = (self.names | set(subscribe)) - set(unsubscribe) - {"*"}
        if self.all:
            return
        self.has = {name: version for name, version in self.has.items() if name in self.names}


@settings(max_examples=400)
@given(
    type_url=st.sampled_from(TYPES),
    has=offers,
    first=names,
    rounds=st.lists(st.tuples(offers, names, names), min_size=1, max_size=6),
    bad=st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(VERSIONS)), max_size=3),
)
def test_a_client_comes_to_have_what_it_wants(
    type_url: str,
    has: dict[str, str],
    first: tuple[str, ...],
    rounds: list[tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]],
    bad: set[tuple[str, str]],
) -> None:
    """After any exchange the client has exactly the offered resources that it wants and accepts.

    What it refuses it keeps in its old version, and it is not bothered with the same version in a loop.
    """
    client = ModelClient()
    client.change(first or ("*",), ())
    client.has = {name: version for name, version in has.items() if client.wants(name)}
    subscription = Subscription(type_url)
    subscription.receive(DeltaRequest(type_url=type_url, subscribe=first, initial_versions=has))
    for versions, subscribe, unsubscribe in rounds:
        unsubscribe = tuple(set(unsubscribe) - set(subscribe))  # noqa: PLW2901
        client.change(subscribe, unsubscribe)
        subscription.receive(DeltaRequest(type_url=type_url, subscribe=subscribe, unsubscribe=unsubscribe))
        before = dict(client.has)
        client.seen_bad.clear()
        offered = resources(versions, type_url)
        while sends := subscription.replace(offered):
            for send in sends:
                for told in subscription.receive(client.answer(send, bad)):
                    assert isinstance(told, Acknowledged) or (told.resources[0].name, told.resources[0].version) in bad

        refused = {name for name, version in versions.items() if (name, version) in bad and client.wants(name)}
        wanted = {name: version for name, version in versions.items() if client.wants(name)}
        kept = {name: before[name] for name in refused if name in before}
        assert client.has == {n: v for n, v in wanted.items() if n not in refused} | kept
        assert client.has == {name: r.version for name, r in subscription.acknowledged.items()}
        assert all(times <= 1 for times in client.seen_bad.values())
        told_refused = {r.resources[0].name for r in subscription.rejections}
        assert {name for name in refused if client.has.get(name) != versions[name]} <= told_refused <= refused
