from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.jwks.schedule import TokenBucket, failure_delay, refresh_delay, retry_delay

RANDOM = st.floats(0, 1, exclude_max=True)
SECONDS = st.floats(0, 1e12)


@pytest.mark.parametrize(
    ("cache", "server", "most"),
    [
        (300, None, 300),
        (300, 60, 60),
        (300, 3600, 300),
        (300, 0, 10),
        (300, 3, 10),
        (5, 0, 5),
        (0, None, 1),
        (1e9, None, 86400),
        (1e9, 1e9, 86400),
    ],
)
def test_keys_are_asked_for_before_the_shorter_wish_is_over(cache, server, most):
    """The server cannot ask for less than 10 s, the policy not for less than 1 s, and both not for more than a day."""
    assert refresh_delay(cache, server, 0.0) == pytest.approx(most * 0.9)
    assert refresh_delay(cache, server, 0.999) == pytest.approx(most * 0.8, rel=0.01)


@given(SECONDS, st.none() | SECONDS, RANDOM)
def test_no_source_is_asked_without_pause_or_never_again(cache, server, random):
    assert 0.79 <= refresh_delay(cache, server, random) <= 86400


def test_retries_double_up_to_their_longest():
    assert [retry_delay(1, 10, retry, 0.0) for retry in range(6)] == [1, 2, 4, 8, 10, 10]


def test_failures_double_up_to_a_minute_or_what_the_policy_says():
    assert [failure_delay(1, failures, 0.0) for failures in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert failure_delay(600, 5, 0.9) == 600


@given(SECONDS, SECONDS, st.integers(0, 10**6), RANDOM)
def test_delays_after_failures_are_never_short(base, longest, number, random):
    assert retry_delay(base, longest, number, random) >= 0.1
    assert failure_delay(base, number + 1, random) >= 1


def test_a_bucket_allows_a_burst_and_then_its_rate():
    bucket = TokenBucket(capacity=2, refill_seconds=30, spacing=5)
    now, times = 100.0, []
    for _ in range(5):
        now = bucket.next_time(now)
        bucket.take(now)
        bucket.space(now)
        times.append(now)
    assert times == [100, 105, 130, 160, 190]
