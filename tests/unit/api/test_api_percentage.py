"""Fields that are numbers, whole or not."""

from __future__ import annotations

from typing import Any

import pytest

from meshpass.api.manifest import parse_object
from meshpass.api.resilience import FaultInjectionPolicy


def parse(percentage: Any) -> tuple[FaultInjectionPolicy, tuple[str, ...]]:
    """A policy with this percentage beside something else that is wrong, so that it has to be repaired."""
    abort = {"httpStatus": 503, "percentage": percentage}
    parsed = parse_object(
        {
            "apiVersion": "resilience.policy.gloo.solo.io/v2",
            "kind": "FaultInjectionPolicy",
            "metadata": {"name": "policy"},
            "spec": {"config": {"abort": abort, "unknown": 1}},
        }
    )
    assert isinstance(parsed.object, FaultInjectionPolicy)
    return parsed.object, tuple(problem for problem in parsed.problems if "unknown" not in problem)


@pytest.mark.parametrize("percentage", [0, 50, 0.5, None])
def test_a_number_is_kept(percentage: float | None) -> None:
    """Whole or not; none is none."""
    policy, problems = parse(percentage)

    assert problems == ()
    assert policy.spec.config.abort is not None
    assert policy.spec.config.abort.percentage == percentage


@pytest.mark.parametrize(
    ("percentage", "got"), [("50", "string"), (True, "boolean"), ([5], "list"), (10**400, "one out of range")]
)
def test_anything_else_is_taken_out_and_named(percentage: Any, got: str) -> None:
    """By the field's path; true is no number."""
    policy, problems = parse(percentage)

    assert problems == (f"spec.config.abort.percentage: expected number, got {got}",)
    assert policy.spec.config.abort is not None
    assert policy.spec.config.abort.percentage is None
