"""Rotation: from one set of roots to another while every certificate in use is believed by everyone. Pure.

Bundle and signer differ from each phase to the next, and a phase ends when everyone has been seen with exactly those of
it. So what was seen of somebody is never older than the phase before, and a late word from an earlier rotation cannot
be taken for one from this. That is why a rotation, once begun, goes on to its end, and the next one waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

import msgspec

from meshpass.identity.trust import IntermediateState, NodeTrust, Phase


class RootSet(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who signs, and who is believed, by fingerprint."""

    signing: str
    trusts: tuple[str, ...]
    """Sorted."""


class Rotation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A moment of a rotation, or of the rest between two. To be on disk before anything follows from it."""

    current: RootSet
    target: RootSet | None = None
    """None in STEADY."""
    phase: Phase = Phase.STEADY

    @property
    def wanted(self) -> NodeTrust:
        """What everyone is to believe and to show in this phase."""
        target = self.target or self.current
        both = tuple(sorted({*self.current.trusts, *target.trusts}))
        match self.phase:
            case Phase.STEADY:
                return NodeTrust(trusts=self.current.trusts, issuer=self.current.signing)
            case Phase.TRUST_BOTH:
                return NodeTrust(trusts=both, issuer=self.current.signing)
            case Phase.SIGN_NEW:
                return NodeTrust(trusts=both, issuer=target.signing)
            case Phase.DROP_OLD:
                return NodeTrust(trusts=target.trusts, issuer=target.signing)
            case _:
                assert_never(self.phase)


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """Somebody who is waited for."""

    cluster: str
    nodes: tuple[str, ...] = ()
    """The proxies; empty: the process that issues the cluster's certificates itself."""


def begin(rotation: Rotation, target: RootSet) -> Rotation:
    """The first phase on the way to the target; only from STEADY. The same rotation if the target is there already."""
    if rotation.phase is not Phase.STEADY:
        raise AssertionError("a rotation goes on to its end")
    return (
        rotation
        if target == rotation.current
        else Rotation(current=rotation.current, target=target, phase=Phase.TRUST_BOTH)
    )


def find_late(rotation: Rotation, states: Mapping[str, IntermediateState | None]) -> tuple[Late, ...]:
    """Who has not been seen with what this phase wants. None: nothing is known of the cluster. Nobody in STEADY."""
    if rotation.phase is Phase.STEADY:
        return ()
    wanted = rotation.wanted
    late = []
    for cluster, state in sorted(states.items()):
        if state is None or (state.trusts, state.issuer) != (wanted.trusts, wanted.issuer):
            late.append(Late(cluster=cluster))
        elif state.late:
            late.append(Late(cluster=cluster, nodes=state.late))
    return tuple(late)


def advance(rotation: Rotation, states: Mapping[str, IntermediateState | None]) -> Rotation:
    """The next phase, if nobody is late; else the same object."""
    if rotation.target is None or find_late(rotation, states):
        return rotation
    match rotation.phase:
        case Phase.STEADY:
            return rotation
        case Phase.TRUST_BOTH:
            return msgspec.structs.replace(rotation, phase=Phase.SIGN_NEW)
        case Phase.SIGN_NEW:
            return msgspec.structs.replace(rotation, phase=Phase.DROP_OLD)
        case Phase.DROP_OLD:
            return Rotation(current=rotation.target)
        case _:
            assert_never(rotation.phase)
