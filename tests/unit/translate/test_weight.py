"""The arithmetic of weights."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.translate.weight import share_weights


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        pytest.param([None], (100,), id="alone"),
        pytest.param([100], (100,), id="all"),
        pytest.param([None, None], (50, 50), id="halves"),
        pytest.param([None, None, None], (34, 33, 33), id="thirds"),
        pytest.param([40, None], (40, 60), id="rest"),
        pytest.param([None, 35, None], (33, 35, 32), id="rest-shared"),
        pytest.param([0, 100], (0, 100), id="zero"),
        pytest.param([99, None], (99, 1), id="one-left"),
    ],
)
def test_shares(weights: list[int | None], shares: tuple[int, ...]) -> None:
    """Those without a weight share what is left, earlier ones one more."""
    assert share_weights(weights) == shares


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        pytest.param([50], "sum to 50, not 100", id="under"),
        pytest.param([60, 60], "sum to 120, over 100", id="over"),
        pytest.param([100, None], "leave 0 for 1", id="nothing-left"),
        pytest.param([99, None, None], "leave 1 for 2", id="too-little-left"),
        pytest.param([0, 0], "sum to 0, not 100", id="zeros"),
        pytest.param([2**32 - 1], "over 100", id="huge"),
    ],
)
def test_weights_that_do_not_work(weights: list[int | None], words: str) -> None:
    """What is wrong is said with its numbers."""
    shares = share_weights(weights)

    assert isinstance(shares, str)
    assert words in shares


@given(st.lists(st.none() | st.integers(0, 120), min_size=1, max_size=100))
def test_shares_always_come_to_100(weights: list[int | None]) -> None:
    """Shares sum to 100, keep what was given, and are at least 1 where nothing was; or there is a reason."""
    shares = share_weights(weights)
    if isinstance(shares, str):
        return
    assert sum(shares) == 100
    for weight, share in zip(weights, shares, strict=True):
        assert share >= 1 if weight is None else share == weight
