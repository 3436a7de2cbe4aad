"""Reading records takes a bounded share of time."""

from __future__ import annotations

import pytest

from meshpass.audit.budget import TimeBudget


def test_budget():
    """A burst, then a share of the time that passes, and never more than a burst."""
    now = 0.0
    budget = TimeBudget(lambda: now, share=0.25, burst=1.0)

    def work(seconds: float) -> None:
        nonlocal now
        with budget.spend():
            now += seconds

    assert not budget.is_spent
    work(1.2)
    assert not budget.is_spent  # 1.0 - 1.2 + 0.25 * 1.2
    work(0.5)
    assert budget.is_spent
    now += 2.0
    assert not budget.is_spent
    now += 1000.0
    assert not budget.is_spent
    work(1.4)
    assert budget.is_spent


def test_failed_work_is_paid_for_too():
    """Time that passed is gone, whatever came of it."""
    now = 0.0
    budget = TimeBudget(lambda: now, share=0.0, burst=1.0)

    def fail() -> None:
        nonlocal now
        with budget.spend():
            now += 1.0
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert budget.is_spent
