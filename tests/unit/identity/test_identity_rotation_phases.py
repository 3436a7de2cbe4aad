"""Phases of a rotation: each ends when everyone has been seen with exactly what it wants."""

from __future__ import annotations

import pytest

from meshpass.errors import MeshpassError
from meshpass.identity.rotation import Late, RootSet, Rotation, advance, begin, find_late
from meshpass.identity.trust import (
    IntermediateState,
    NodeTrust,
    Phase,
    TrustBundle,
    decode_bundle,
    decode_intermediate_state,
    decode_node_trust,
    encode_trust,
)

A, B = RootSet(signing="a", trusts=("a",)), RootSet(signing="b", trusts=("b",))
BOTH = ("a", "b")
STEADY = Rotation(current=A)


def seen(trusts: tuple[str, ...], issuer: str, *late: str) -> dict[str, IntermediateState | None]:
    return {"c": IntermediateState(cluster="c", trusts=trusts, issuer=issuer, late=late)}


def test_a_rotation_goes_through_its_phases() -> None:
    """Both believed, then the new one signs, then the old one is forgotten; and it is at rest again."""
    wanted = []
    rotation = begin(STEADY, B)
    while rotation.phase is not Phase.STEADY:
        wanted.append((rotation.phase, rotation.wanted.trusts, rotation.wanted.issuer))
        rotation = advance(rotation, seen(rotation.wanted.trusts, rotation.wanted.issuer))

    assert wanted == [
        (Phase.TRUST_BOTH, BOTH, "a"),
        (Phase.SIGN_NEW, BOTH, "b"),
        (Phase.DROP_OLD, ("b",), "b"),
    ]
    assert rotation == Rotation(current=B)


def test_nothing_goes_on_without_a_target() -> None:
    """At rest nobody is late, whatever they show."""
    assert advance(STEADY, seen((), "")) is STEADY
    assert find_late(STEADY, {"c": None}) == ()
    assert begin(STEADY, A) is STEADY
    with pytest.raises(AssertionError):
        begin(begin(STEADY, B), A)


@pytest.mark.parametrize(
    ("phase", "trusts", "issuer"),
    [
        (Phase.TRUST_BOTH, ("a",), "a"),
        (Phase.TRUST_BOTH, ("a", "b", "x"), "a"),
        (Phase.TRUST_BOTH, BOTH, "b"),
        (Phase.SIGN_NEW, BOTH, "a"),
        (Phase.SIGN_NEW, BOTH, ""),
        (Phase.SIGN_NEW, ("b",), "b"),
        (Phase.DROP_OLD, BOTH, "b"),
        (Phase.DROP_OLD, ("a",), "b"),
    ],
)
def test_nearly_is_not_enough(phase: Phase, trusts: tuple[str, ...], issuer: str) -> None:
    """More than what is wanted is the word of an earlier moment, as much as less is."""
    rotation = Rotation(current=A, target=B, phase=phase)

    assert advance(rotation, seen(trusts, issuer)) is rotation
    assert find_late(rotation, seen(trusts, issuer)) == (Late(cluster="c"),)


def test_a_word_of_the_rotation_before_is_not_taken_for_one_of_this() -> None:
    """Back to the old root right away: who has not yet forgotten it would be taken for one who believes it again."""
    stale = seen(BOTH, "b")
    rotation = Rotation(current=A, target=B, phase=Phase.DROP_OLD)

    assert advance(rotation, stale) is rotation, "so that the way back cannot begin"


def test_late_proxies_are_named() -> None:
    """And unknown processes are late themselves, each by its cluster."""
    rotation = begin(STEADY, B)
    states = {**seen(BOTH, "a", "x", "y"), "d": None}

    assert find_late(rotation, states) == (Late(cluster="c", nodes=("x", "y")), Late(cluster="d"))


def test_messages_come_back_as_they_were() -> None:
    """And what is none is an error, whatever its bytes are."""
    bundle = TrustBundle(
        trust_domain="x", roots="PEM", trusts=("a",), signing="a", signing_root="a", phase=Phase.SIGN_NEW
    )
    state = IntermediateState(cluster="c", late=("n",))
    trust = NodeTrust(trusts=BOTH, issuer="a")

    assert decode_bundle(encode_trust(bundle)) == bundle
    assert decode_intermediate_state(encode_trust(state)) == state
    assert decode_node_trust(encode_trust(trust)) == trust
    for decode in (decode_bundle, decode_intermediate_state):
        for data in (b"", b"{}", b"[]", b"\xff", b'{"cluster": 1}'):
            with pytest.raises(MeshpassError):
                decode(data)
