"""What a peer is sent, and what not."""

from __future__ import annotations

import pytest
from tests.support.relay_line import Follow, Line, Tell

from meshpass.errors import XdsProtocolError
from meshpass.relay.message import read_response
from meshpass.relay.publisher import Publisher
from meshpass.relay.resource import Target, make_resource
from meshpass.relay.typeurl import REVISION, TYPE_ORDER, object_type
from meshpass.xds.request import DeltaRequest

SERVICE = object_type("Service")
ONE, TWO = (SERVICE, "cluster1/apps/one"), (SERVICE, "cluster2/apps/two")


def make_line(**wanted: bytes) -> tuple[Tell, Follow, Line]:
    tell, follow = Tell(), Follow()
    for place, body in zip((ONE, TWO), wanted.values(), strict=False):
        tell.wanted[place] = body
    line = Line(tell, follow)
    line.settle()
    return tell, follow, line


def named(line: Line) -> set[str]:
    """The names in what is on its way."""
    responses = [read_response(message) for message in line.down]
    return {resource.name for one in responses for resource in one.resources} | {
        name for one in responses for name in one.removed
    }


def test_what_was_refused_is_removed_like_anything_else() -> None:
    """A name of which the peer refused the last version is gone when it is gone, though nothing else of its type changed."""
    tell, follow, line = make_line(one=b"1")
    line.sent(tell.edit(ONE, b"bad"))
    line.settle()
    assert follow.held[ONE] == b"1"
    line.sent(tell.edit(ONE, None))
    line.settle()

    assert ONE not in follow.held


def test_what_was_refused_is_not_sent_again_with_other_edits() -> None:
    """It is held back until it has another version."""
    tell, follow, line = make_line(one=b"1", two=b"1")
    line.sent(tell.edit(ONE, b"bad"))
    line.settle()
    line.sent(tell.edit(TWO, b"2"))

    assert named(line) == {TWO[1], "cluster1", "cluster2", "*"}
    line.settle()
    line.sent(tell.edit(ONE, b"3"))
    line.settle()
    assert follow.held[ONE] == b"3"


def test_the_label_of_a_cluster_waits_for_what_was_refused_of_it() -> None:
    """While an object of a cluster is refused, that cluster's label stays; the other's goes on."""
    tell, follow, line = make_line(one=b"1", two=b"1")
    before = follow.held[REVISION, "cluster1"]
    line.sent(tell.edit(ONE, b"bad"))
    line.settle()

    assert follow.held[REVISION, "cluster1"] == before
    assert follow.held[REVISION, "cluster2"] == str(tell.count).encode() != before
    line.sent(tell.edit(ONE, b"2"))
    line.settle()
    assert follow.held[REVISION, "cluster1"] == str(tell.count).encode()


def test_one_batch_is_on_its_way_at_most() -> None:
    """Edits while a batch is not acknowledged are sent afterwards, as one."""
    tell, _, line = make_line(one=b"1")
    line.sent(tell.edit(ONE, b"2"))
    first = len(line.down)
    for body in (b"3", b"4", b"5"):
        line.sent(tell.edit(ONE, body))

    assert len(line.down) == first
    line.settle()
    assert len([batch for batch in line.follow.batches if batch.get(ONE) in {b"3", b"4"}]) == 0
    assert line.follow.held[ONE] == b"5"


def test_nothing_is_sent_before_the_peer_has_asked_for_the_last_type() -> None:
    """A batch has every type that the peer asks for."""
    publisher = Publisher()
    publisher.retarget(Target(resources={SERVICE: {ONE[1]: make_resource(*ONE, b"1")}}))
    for type_url in TYPE_ORDER[:-1]:
        assert publisher.receive(DeltaRequest(type_url=type_url, subscribe=("*",))) == ()

    sends = publisher.receive(DeltaRequest(type_url=REVISION, subscribe=("*",)))
    assert [send.type_url for send in sends] == [SERVICE, REVISION]


def test_a_peer_that_holds_nothing_is_told_nothing_before_it_is_everything() -> None:
    """One that holds something is told what there is: it knows the rest already, and keeps it."""
    kept = make_resource(*TWO, b"1")
    target = Target(
        resources={SERVICE: {ONE[1]: make_resource(*ONE, b"1")}}, keeps=frozenset({"cluster2"}), complete=False
    )
    fresh, resumed = Publisher(), Publisher()
    for publisher in (fresh, resumed):
        publisher.retarget(target)
    sends = []
    for type_url in TYPE_ORDER:
        assert fresh.receive(DeltaRequest(type_url=type_url, subscribe=("*",))) == ()
        held = {TWO[1]: kept.version} if type_url == SERVICE else {}
        sends += resumed.receive(DeltaRequest(type_url=type_url, subscribe=("*",), initial_versions=held))

    assert [(send.type_url, [one.name for one in send.resources], send.removed) for send in sends] == [
        (SERVICE, [ONE[1]], ()),
        (REVISION, ["*"], ()),
    ]
    assert fresh.retarget(Target(resources=target.resources)) != ()


def test_a_cluster_that_comes_later_keeps_nobody_waiting() -> None:
    """Who has been told everything once is told every edit, though of another cluster nothing is known yet."""
    publisher = Publisher()
    publisher.retarget(Target(resources={SERVICE: {ONE[1]: make_resource(*ONE, b"1")}}))
    for type_url in TYPE_ORDER:
        publisher.receive(DeltaRequest(type_url=type_url, subscribe=("*",)))
    for type_url in (SERVICE, REVISION):
        publisher.receive(DeltaRequest(type_url=type_url, nonce="1"))
    resources = {SERVICE: {ONE[1]: make_resource(*ONE, b"2")}}

    sends = publisher.retarget(Target(resources=resources, keeps=frozenset({"cluster2"}), complete=False))
    assert [send.type_url for send in sends] == [SERVICE, REVISION]


def test_a_peer_asks_for_everything_or_is_cut() -> None:
    """Names would have to be remembered, as many as the peer likes."""
    with pytest.raises(XdsProtocolError, match="nothing is told by name"):
        Publisher().receive(DeltaRequest(type_url=SERVICE, subscribe=("a",)))


def test_types_that_are_not_known_are_passed_over() -> None:
    """A peer of a later version gets what there is."""
    assert Publisher().receive(DeltaRequest(type_url="type.meshpass.dev/later", subscribe=("*",))) == ()


def test_a_label_that_goes_away_goes_within_the_batch() -> None:
    """Of a cluster that is deregistered while its agent's peers are connected, or were not: nobody begins from nothing."""
    for connected in (True, False):
        tell, follow, line = make_line(one=b"1", two=b"1")
        target = tell.target()
        labels = {"cluster1": target.of(REVISION)["cluster1"]}
        after = Target(resources={**target.resources, SERVICE: {ONE[1]: make_resource(*ONE, b"1")}, REVISION: labels})
        if not connected:
            tell.publisher, line.down, line.up = Publisher(), [], follow.connect()
        line.sent(tell.publisher.retarget(after))
        line.settle()

        assert set(follow.held) == {ONE, (REVISION, "cluster1")}
