"""Precedence: of several policies that select one route or destination, the oldest holds (decision 4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from meshpass.api.objectset import ObjectKey
from meshpass.translate.finding import Finding, Reason, Severity

Target = TypeVar("Target", bound=Hashable)

MAX_PLACES = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Winners(Generic[Target]):
    """Which policy holds on each target of a workspace, and what that means for each policy."""

    by_target: Mapping[Target, ObjectKey]
    """Target → the one policy that holds. Targets that no policy selects are not in it."""
    won: Mapping[ObjectKey, tuple[Target, ...]]
    lost: Mapping[ObjectKey, Mapping[ObjectKey, tuple[Target, ...]]]
    """Policy → older policy → the targets that it lost to that one."""


def decide(selected: Iterable[tuple[ObjectKey, frozenset[Target]]]) -> Winners[Target]:
    """The winners among policies given in the order that decides, oldest first, each with the targets that it selects.

    A policy may be given more than once, with targets that it claims less strongly the later time.
    """
    by_target: dict[Target, ObjectKey] = {}
    won: dict[ObjectKey, list[Target]] = {}
    lost: dict[ObjectKey, dict[ObjectKey, list[Target]]] = {}
    for key, targets in selected:
        taken = won.setdefault(key, [])
        losses: dict[ObjectKey, list[Target]] = lost.get(key) or defaultdict(list)
        for target in targets:
            winner = by_target.get(target)
            if winner is None:
                by_target[target] = key
                taken.append(target)
            elif winner != key:
                losses[winner].append(target)
        if losses:
            lost[key] = losses
    return Winners(
        by_target=by_target,
        won={key: tuple(targets) for key, targets in won.items()},
        lost={key: {winner: tuple(targets) for winner, targets in losses.items()} for key, losses in lost.items()},
    )


def conflict_findings(
    key: ObjectKey, winners: Winners[Target], noun: str, places: Callable[[Target], Iterable[str]], *, any_won: bool
) -> tuple[Finding, ...]:
    """What a policy is told about the routes or destinations that it lost; it FAILED if it holds nowhere."""
    return tuple(
        Finding(
            key=key,
            severity=Severity.WARNING if any_won else Severity.FAILED,
            reason=Reason.CONFLICTED,
            message=f"conflicts with existing policy applied to {noun}. Skipping applying {key.name} "
            f"({_join(targets, places)}; {winner.namespace}/{winner.name} of cluster {winner.cluster} comes first)",
        )
        for winner, targets in sorted(winners.lost.get(key, {}).items())
    )


def _join(targets: Iterable[Target], places: Callable[[Target], Iterable[str]]) -> str:
    named = sorted({place for target in targets for place in places(target)})
    more = f" and {len(named) - MAX_PLACES} more" if len(named) > MAX_PLACES else ""
    return ", ".join(named[:MAX_PLACES]) + more
