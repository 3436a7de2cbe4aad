"""One client's view of one type: what it is sent for what it says."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from meshpass.envoy.snapshot import CLUSTER, ENDPOINTS, EXTENSION_CONFIG, ROUTES, SECRET, Resource
from meshpass.errors import XdsProtocolError
from meshpass.ir import ObjectRef
from meshpass.xds.event import Acknowledged, Rejected, Send
from meshpass.xds.request import DeltaRequest
from meshpass.xds.subscription import TRANSITIONS, Input, State, Subscription

OLD = ObjectRef("JWTPolicy", "mgmt", "default", "old")
NEW = ObjectRef("JWTPolicy", "mgmt", "default", "new")


def ask(*subscribe: str, type_url: str = CLUSTER, **fields: object) -> DeltaRequest:
    return DeltaRequest(type_url=type_url, subscribe=subscribe, **fields)  # type: ignore[arg-type]


def offer(type_url: str = CLUSTER, sources: Mapping[str, frozenset[ObjectRef]] | None = None, **versions: str):
    return {
        name: Resource(
            type_url=type_url, name=name, version=version, wire=b"wire", sources=(sources or {}).get(name, frozenset())
        )
        for name, version in versions.items()
    }


def step(subscription: Subscription, resources: Mapping[str, Resource]) -> list[tuple[str, dict, list]]:
    """What is sent to come to have these resources: nonce, name → version, removed names."""
    sends = (*subscription.offer(resources), *subscription.withdraw(resources))
    return [(s.nonce, {r.name: r.version for r in s.resources}, list(s.removed)) for s in sends]


def settled(subscription: Subscription, resources: Mapping[str, Resource]) -> Subscription:
    """The subscription after everything was sent and acknowledged."""
    while sends := step(subscription, resources):
        for nonce, _, _ in sends:
            subscription.receive(ask(nonce=nonce, type_url=subscription.type_url))
    return subscription


def subscribed(*names: str, type_url: str = CLUSTER, **fields: object) -> Subscription:
    subscription = Subscription(type_url)
    subscription.receive(ask(*names, type_url=type_url, **fields))
    return subscription


@pytest.mark.parametrize(
    ("requests", "state", "sent"),
    [
        pytest.param([ask()], State.ALL, {"a", "b"}, id="empty-first-request-is-the-legacy-wildcard"),
        pytest.param([ask("*")], State.ALL, {"a", "b"}, id="explicit-wildcard"),
        pytest.param([ask("a")], State.NAMES, {"a"}, id="named"),
        pytest.param([ask("*", "a")], State.ALL_AND_NAMES, {"a", "b"}, id="wildcard-and-name"),
        pytest.param([ask(), ask("a")], State.ALL_AND_NAMES, {"a", "b"}, id="legacy-wildcard-survives-a-name"),
        pytest.param(
            [ask(), ask("a"), ask(unsubscribe=("*",))], State.NAMES, {"a"}, id="unsubscribe-wildcard-keeps-name"
        ),
        pytest.param([ask("*"), ask(unsubscribe=("*",))], State.NOTHING, set(), id="unsubscribe-wildcard"),
        pytest.param([ask("a"), ask(unsubscribe=("a",))], State.NOTHING, set(), id="unsubscribe-last-name"),
        pytest.param([ask("a", "b"), ask(unsubscribe=("a",))], State.NAMES, {"b"}, id="unsubscribe-one-of-two"),
        pytest.param([ask("a"), ask(unsubscribe=("a",)), ask()], State.NOTHING, set(), id="empty-again-is-not-legacy"),
        pytest.param([ask("a"), ask(unsubscribe=("x",))], State.NAMES, {"a"}, id="phantom-unsubscribe"),
        pytest.param([ask("*"), ask(unsubscribe=("x",))], State.ALL, {"a", "b"}, id="phantom-unsubscribe-of-wildcard"),
        pytest.param([ask(unsubscribe=("x",))], State.NOTHING, set(), id="first-request-only-unsubscribes"),
        pytest.param([ask("a"), ask(unsubscribe=("a",)), ask("*")], State.ALL, {"a", "b"}, id="back-to-wildcard"),
    ],
)
def test_interest(requests: list[DeltaRequest], state: State, sent: set[str]) -> None:
    """Which requests lead to which interest, and so to which resources."""
    subscription = Subscription(CLUSTER)
    for request in requests:
        subscription.receive(request)

    assert subscription.state is state
    assert {name for _, resources, _ in step(subscription, offer(a="1", b="1")) for name in resources} == sent


def test_the_first_answer_to_a_wildcard_is_sent_even_if_empty() -> None:
    """Envoy waits for it to start; a second one is not sent."""
    subscription = subscribed()

    assert step(subscription, {}) == [("1", {}, [])]
    assert step(subscription, {}) == []


def test_no_empty_answer_to_names() -> None:
    """What is asked for by name, and is not there for a type that Envoy warms with, is waited for in silence."""
    assert step(subscribed("a", type_url=ROUTES), {}) == []


@pytest.mark.parametrize("type_url", [ENDPOINTS, SECRET, EXTENSION_CONFIG, ROUTES])
def test_a_missing_name_of_a_warmed_type_is_sent_when_it_comes(type_url: str) -> None:
    """Silence first, then the resource."""
    subscription = subscribed("a", type_url=type_url)
    assert step(subscription, {}) == []

    assert step(subscription, offer(type_url, a="1")) == [("1", {"a": "1"}, [])]


def test_a_missing_name_of_another_type_is_told_once() -> None:
    """Nobody warms with a cluster asked for by name: its absence is told, and its coming too."""
    subscription = subscribed("a")

    assert step(subscription, {}) == [("1", {}, ["a"])]
    assert step(subscription, {}) == []
    assert step(subscription, offer(a="1")) == [("2", {"a": "1"}, [])]


def test_only_changes_are_sent() -> None:
    """The second offer costs its difference: a changed, a new and a removed resource."""
    subscription = settled(subscribed("*"), offer(a="1", b="1", c="1"))

    assert step(subscription, offer(a="1", b="2", d="1")) == [("2", {"b": "2", "d": "1"}, []), ("3", {}, ["c"])]


def test_replace_sends_one_response() -> None:
    """Removed and added resources of one replace go out together."""
    subscription = settled(subscribed("*"), offer(a="1"))

    (send,) = subscription.replace(offer(b="1"))
    assert (send.removed, [r.name for r in send.resources]) == (("a",), ["b"])


def test_resume_sends_only_what_differs() -> None:
    """Equal versions are not sent, other versions are, names that are gone are removed; also for a wildcard."""
    had = {"same": "1", "changed": "1", "gone": "1"}
    for names in (("*",), ("same", "changed", "gone", "new"), ()):
        subscription = subscribed(*names, initial_versions=had)
        now = offer(same="1", changed="2", new="1")

        assert step(subscription, now) == [("1", {"changed": "2", "new": "1"}, []), ("2", {}, ["gone"])]


def test_resume_with_everything_sends_nothing_and_is_complete() -> None:
    """The client's word counts as an acknowledgement."""
    now = offer(a="1", b="1")
    subscription = subscribed(initial_versions={"a": "1", "b": "1"})

    assert step(subscription, now) == []
    assert subscription.has_all(now)


def test_resume_ignores_what_the_client_does_not_ask_for() -> None:
    """A version of a name that is not subscribed to leads to no removal."""
    assert step(subscribed("a", initial_versions={"b": "1"}), offer(a="1")) == [("1", {"a": "1"}, [])]


def test_asking_again_by_name_forces_a_resend() -> None:
    """The client may have forgotten the resource: it gets the same version again."""
    subscription = settled(subscribed("a"), offer(a="1"))
    subscription.receive(ask("a"))

    assert step(subscription, offer(a="1")) == [("2", {"a": "1"}, [])]


def test_a_name_beside_the_wildcard_is_sent_again() -> None:
    """A newly named resource is sent although the wildcard had brought it."""
    subscription = settled(subscribed("*"), offer(a="1", b="1"))
    subscription.receive(ask("a"))

    assert step(subscription, offer(a="1", b="1")) == [("2", {"a": "1"}, [])]


@pytest.mark.parametrize(
    ("now", "sent"),
    [
        pytest.param({"a": "1"}, [("2", {"a": "1"}, [])], id="still-in-the-wildcard"),
        pytest.param({}, [("2", {}, ["a"])], id="not-in-the-wildcard"),
    ],
)
def test_unsubscribing_beside_the_wildcard_is_answered(now: dict[str, str], sent: list) -> None:
    """The client cannot know whether it may keep the resource: it is told."""
    subscription = settled(subscribed("*", "a"), offer(a="1"))
    subscription.receive(ask(unsubscribe=("a",)))

    assert step(subscription, offer(**now)) == sent


def test_what_was_unsubscribed_is_not_removed() -> None:
    """A name that the client gave up is forgotten, not told as removed."""
    subscription = settled(subscribed("a", "b"), offer(a="1", b="1"))
    subscription.receive(ask(unsubscribe=("a",)))

    assert step(subscription, offer(b="1")) == []


def test_an_ack_is_told() -> None:
    """Acknowledged carries versions and removals of exactly that response."""
    subscription = settled(subscribed("*"), offer(a="1", b="1"))
    subscription.replace(offer(a="2"))

    assert subscription.receive(ask(nonce="2")) == (
        Acknowledged(type_url=CLUSTER, versions={"a": "2"}, removed=("b",)),
    )
    assert subscription.acknowledged == offer(a="2")


def test_a_stale_nonce_acknowledges_nothing_but_subscribes() -> None:
    """The subscriptions of a request with an unknown nonce count; its ACK or NACK does not."""
    subscription = subscribed("a")
    step(subscription, offer(a="1", b="1"))

    assert subscription.receive(ask("b", nonce="77", error="no")) == ()
    assert subscription.outstanding
    assert step(subscription, offer(a="1", b="1")) == [("2", {"b": "1"}, [])]
    assert subscription.receive(ask(nonce="1"))
    assert subscription.receive(ask(nonce="1")) == ()


def test_a_rejected_version_is_not_sent_again() -> None:
    """The acknowledged version stays; the rejected one is offered in vain until there is a new one."""
    subscription = settled(subscribed("a"), offer(a="1"))
    step(subscription, offer(a="2"))
    (rejected,) = subscription.receive(ask(nonce="2", error="bad"))

    assert rejected == Rejected(
        type_url=CLUSTER, message="bad", resources=(offer(a="2")["a"],), removed=(), sources=frozenset()
    )
    assert step(subscription, offer(a="2")) == []
    assert subscription.rejections == (rejected,)
    assert subscription.acknowledged["a"].version == "1"
    assert step(subscription, offer(a="3")) == [("3", {"a": "3"}, [])]
    assert subscription.rejections == ()


def test_going_back_after_a_rejection_sends_nothing() -> None:
    """The client still has the acknowledged version."""
    subscription = settled(subscribed("a"), offer(a="1"))
    step(subscription, offer(a="2"))
    subscription.receive(ask(nonce="2", error="bad"))

    assert step(subscription, offer(a="1")) == []
    assert subscription.rejections == ()


def test_asking_for_a_rejected_name_sends_it_once_more() -> None:
    """A new subscription by name is answered, whatever was rejected."""
    subscription = subscribed("a")
    step(subscription, offer(a="1"))
    subscription.receive(ask(nonce="1", error="bad"))
    subscription.receive(ask("a"))

    assert step(subscription, offer(a="1")) == [("2", {"a": "1"}, [])]
    assert step(subscription, offer(a="1")) == []


def test_a_rejected_group_is_split_until_the_culprit_stands_alone() -> None:
    """Good neighbours of a bad resource arrive; it alone is rejected, and the number of tries is small."""
    now = offer(**dict.fromkeys("abcdefgh", "1"))
    subscription = subscribed("*")
    tries = 0
    while sends := step(subscription, now):
        for nonce, resources, _ in sends:
            tries += 1
            subscription.receive(ask(nonce=nonce, error="bad" if "d" in resources else None))

    assert [r.resources[0].name for r in subscription.rejections] == ["d"]
    assert set(subscription.acknowledged) == set("abcefgh")
    assert tries == 7


def test_a_neighbour_sent_anew_takes_no_blame_on_the_rest() -> None:
    """When one of a rejected pair was sent again meanwhile, the other is tried alone before it is blamed."""
    subscription = subscribed("a", "b")
    step(subscription, offer(a="1", b="1"))
    subscription.receive(ask("b"))
    step(subscription, offer(a="1", b="1"))

    assert subscription.receive(ask(nonce="1", error="bad")) == ()
    assert step(subscription, offer(a="1", b="1")) == [("3", {"a": "1"}, [])]


def test_a_rejected_removal_is_told_by_name() -> None:
    """Refusing a removal is a rejection too, and it is not repeated."""
    subscription = settled(subscribed("*"), offer(a="1"))
    step(subscription, {})
    (rejected,) = subscription.receive(ask(nonce="2", error="in use"))

    assert isinstance(rejected, Rejected)
    assert rejected.removed == ("a",)
    assert step(subscription, {}) == []


@pytest.mark.parametrize(
    ("before", "after", "blamed"),
    [
        pytest.param({OLD}, {OLD, NEW}, {NEW}, id="the-newcomer"),
        pytest.param({OLD, NEW}, {OLD}, {OLD}, id="nobody-new-so-all"),
        pytest.param(None, {OLD, NEW}, {OLD, NEW}, id="never-accepted-so-all"),
    ],
)
def test_blame(before: set[ObjectRef] | None, after: set[ObjectRef], blamed: set[ObjectRef]) -> None:
    """Sources that the acknowledged version did not have are to blame; without such, all."""
    subscription = subscribed("a")
    if before is not None:
        settled(subscription, offer(sources={"a": frozenset(before)}, a="1"))
    ((nonce, _, _),) = step(subscription, offer(sources={"a": frozenset(after)}, a="2"))
    (rejected,) = subscription.receive(ask(nonce=nonce, error="bad"))

    assert isinstance(rejected, Rejected)
    assert rejected.sources == blamed


def test_answers_out_of_order_leave_the_newest_version() -> None:
    """An ACK of an older response than the one acknowledged before changes nothing."""
    subscription = subscribed("a")
    step(subscription, offer(a="1"))
    subscription.receive(ask("a"))
    step(subscription, offer(a="2"))
    subscription.receive(ask(nonce="2"))
    subscription.receive(ask(nonce="1"))

    assert subscription.acknowledged["a"].version == "2"


@pytest.mark.parametrize(
    "illegal",
    [
        pytest.param(ask("a", type_url=ROUTES), id="another-type"),
        pytest.param(ask(""), id="empty-name"),
        pytest.param(ask(unsubscribe=("",)), id="empty-name-unsubscribed"),
        pytest.param(ask("a", unsubscribe=("a",)), id="both-at-once"),
        pytest.param(ask(initial_versions={"a": "1"}), id="late-initial-versions"),
        pytest.param(ask(error="bad"), id="error-without-nonce"),
    ],
)
def test_breaches_close_the_subscription(illegal: DeltaRequest) -> None:
    """XdsProtocolError, then CLOSED for good."""
    subscription = subscribed("*")
    with pytest.raises(XdsProtocolError, match=r"type\.googleapis\.com"):
        subscription.receive(illegal)

    assert subscription.state is State.CLOSED
    with pytest.raises(XdsProtocolError, match="closed"):
        subscription.receive(ask())


def test_the_table_is_complete() -> None:
    """Every state but CLOSED takes every input, except that the last of no names cannot leave some."""
    nameless = {State.FRESH, State.ALL, State.NOTHING}
    impossible = {(state, Input.DROP_SOME) for state in nameless} | {(State.CLOSED, given) for given in Input}

    assert set(TRANSITIONS) == {(state, given) for state in State for given in Input} - impossible


def test_sends_are_values() -> None:
    """Equal sends are equal."""
    (send,) = subscribed("a").offer(offer(a="1"))

    assert send == Send(type_url=CLUSTER, nonce="1", resources=(offer(a="1")["a"],), removed=())


def test_extension_configs_are_sent_one_by_one() -> None:
    """Envoy would acknowledge the good and the bad of a refused response when they come again."""
    subscription = subscribed("a", "b", type_url=EXTENSION_CONFIG)

    assert step(subscription, offer(EXTENSION_CONFIG, a="1", b="1")) == [("1", {"a": "1"}, []), ("2", {"b": "1"}, [])]


def test_after_a_refused_extension_config_the_good_one_is_sent_again() -> None:
    """Or Envoy would acknowledge the bad one, unseen, when it comes back."""
    subscription = settled(subscribed("a", type_url=EXTENSION_CONFIG), offer(EXTENSION_CONFIG, a="good"))
    ((nonce, _, _),) = step(subscription, offer(EXTENSION_CONFIG, a="bad"))
    subscription.receive(ask(nonce=nonce, type_url=EXTENSION_CONFIG, error="no"))
    assert step(subscription, offer(EXTENSION_CONFIG, a="bad")) == []

    ((nonce, sent, _),) = step(subscription, offer(EXTENSION_CONFIG, a="good"))
    assert sent == {"a": "good"}
    subscription.receive(ask(nonce=nonce, type_url=EXTENSION_CONFIG))
    ((_, sent, _),) = step(subscription, offer(EXTENSION_CONFIG, a="bad"))

    assert sent == {"a": "bad"}
