"""The arithmetic of weights (behaviour §5.5)."""

from __future__ import annotations

from collections.abc import Sequence

TOTAL = 100


def share_weights(weights: Sequence[int | None]) -> tuple[int, ...] | str:
    """Weights that sum to 100: those without one share what is left, at least 1 each. Text says what is wrong."""
    given = sum(weight for weight in weights if weight is not None)
    open_places = sum(weight is None for weight in weights)
    rest = TOTAL - given
    if rest < 0:
        return f"the weights sum to {given}, over {TOTAL}"
    if open_places == 0:
        return tuple(weight or 0 for weight in weights) if rest == 0 else f"the weights sum to {given}, not {TOTAL}"
    if rest < open_places:
        return f"the weights leave {rest} for {open_places} destinations without one"
    each, extra = divmod(rest, open_places)
    shares = iter([each + (place < extra) for place in range(open_places)])
    return tuple(next(shares) if weight is None else weight for weight in weights)
