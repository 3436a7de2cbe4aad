"""What a follower makes of what it is told."""

from __future__ import annotations

import pytest
from tests.support.relay_line import Follow

from meshpass.errors import XdsProtocolError
from meshpass.relay import follower as module
from meshpass.relay.follower import DivergedError, Follower
from meshpass.relay.message import DeltaResponse, Received
from meshpass.relay.resource import digest, make_resource
from meshpass.relay.typeurl import REVISION, TYPE_ORDER, object_type

SERVICE = object_type("Service")
NAME = "cluster1/apps/one"


def response(type_url: str, removed: tuple[str, ...] = (), **bodies: bytes) -> DeltaResponse:
    resources = tuple(
        Received(name=name, version=make_resource(type_url, name, body).version, body=body)
        for name, body in bodies.items()
    )
    return DeltaResponse(type_url=type_url, nonce="1", resources=resources, removed=removed)


def end(*held: tuple[str, str, bytes]) -> DeltaResponse:
    """The end of a batch after which these are held."""
    number = digest((type_url, name, make_resource(type_url, name, body).version) for type_url, name, body in held)
    return response(REVISION, **{"*": str(number).encode()})


def make_follower(**held: str) -> Follower:
    return Follower(Follow().accept, {SERVICE: held})


def test_it_asks_for_everything_of_every_type_and_says_what_it_has() -> None:
    """The last type comes last: what answers it ends a batch."""
    requests = make_follower(**{NAME: "v1"}).start()

    assert tuple(request.type_url for request in requests) == TYPE_ORDER
    assert all(request.subscribe == ("*",) for request in requests)
    said = {request.type_url: dict(request.initial_versions) for request in requests if request.initial_versions}
    assert said == {SERVICE: {NAME: "v1"}}


def test_nothing_counts_before_the_end_of_the_batch() -> None:
    """A response is acknowledged at once; what is in it is delivered with the end."""
    follower = make_follower()
    answer, delivery = follower.receive(response(SERVICE, **{NAME: b"1"}))
    assert (answer.nonce, answer.error, delivery) == ("1", None, None)
    _, delivery = follower.receive(end((SERVICE, NAME, b"1")))

    assert delivery is not None
    assert delivery.changed == {SERVICE: {NAME: b"1"}}


def test_a_version_that_is_not_that_of_the_content_is_refused() -> None:
    """Or a resource could come with the version of another, and would never be told again."""
    follower = make_follower()
    wrong = Received(name=NAME, version="0" * 16, body=b"1")
    answer, _ = follower.receive(DeltaResponse(type_url=SERVICE, nonce="1", resources=(wrong,)))

    assert answer.error == f"{NAME}: the version is not that of the content"


def test_holding_anything_else_than_the_peer_believes_is_noticed() -> None:
    """Whatever the cause is: the next connection begins from nothing."""
    follower = make_follower(**{NAME: "v1"})

    with pytest.raises(DivergedError):
        follower.receive(end((SERVICE, NAME, b"1")))


def test_beginning_from_nothing_drops_what_is_not_told() -> None:
    """The peer, which was not told what we hold, cannot say that it is gone."""
    follower = Follower(Follow().accept, {SERVICE: {NAME: "v1", "cluster1/apps/two": "v1"}}, resume=False)
    assert not any(request.initial_versions for request in follower.start())
    follower.receive(response(SERVICE, **{NAME: b"1"}))
    _, delivery = follower.receive(end((SERVICE, NAME, b"1")))

    assert delivery is not None
    assert delivery.removed == {SERVICE: frozenset({"cluster1/apps/two"})}


def test_what_nobody_asked_for_ends_the_stream() -> None:
    """A type that is not ours is no part of a batch."""
    with pytest.raises(XdsProtocolError, match="nobody asked"):
        make_follower().receive(response("type.meshpass.dev/later"))


def test_a_batch_without_an_end_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above a bound of bytes the stream ends; a place counts too, or resources without content would be free."""
    monkeypatch.setattr(module, "MAX_STAGED_BYTES", 2000)
    follower = make_follower()
    follower.receive(response(SERVICE, a=b"1" * 1000))

    with pytest.raises(XdsProtocolError, match="more than 2000 bytes"):
        follower.receive(response(SERVICE, b=b"2" * 1500))
    with pytest.raises(XdsProtocolError, match="more than 2000 bytes"):
        make_follower().receive(response(SERVICE, **{str(number): b"" for number in range(11)}))


def test_what_was_never_told_is_not_remembered_as_removed() -> None:
    """A peer that removes names without end, and never ends a batch, takes no memory."""
    follower = make_follower()
    for number in range(3):
        follower.receive(response(SERVICE, removed=(f"cluster1/apps/{number}",)))

    assert not follower._staged


def test_names_are_made_up_only_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of what is refused outlive the batch: there is a bound of how many, and of how long they are."""
    monkeypatch.setattr(module, "MAX_REFUSED", 3)
    follower = make_follower()
    follower.receive(response(SERVICE, **{f"{n}": b"bad" for n in range(3)}))
    with pytest.raises(XdsProtocolError, match="more than 3 resources"):
        follower.receive(response(SERVICE, **{"4": b"bad"}))

    with pytest.raises(XdsProtocolError, match="more than 1024 bytes"):
        make_follower().receive(response(SERVICE, **{"x" * 1025: b"bad"}))


def test_of_many_refusals_some_are_named() -> None:
    """The words stay short however large the response."""
    answer, _ = make_follower().receive(response(SERVICE, **{f"{n}": b"bad" for n in range(9)}))

    assert answer.error == "0: is bad; 1: is bad; 2: is bad (and 6 more)"
