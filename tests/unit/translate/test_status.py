"""Statuses: approval, conditions and bounded messages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.api.objectset import ObjectKey
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.report import ObjectReport
from meshpass.translate.status import MAX_FINDINGS, MAX_MESSAGE, FurtherCondition, Programming, build_status

KEY = ObjectKey("JWTPolicy", "cluster1", "httpbin", "policy")


def finding(severity: Severity, message: str = "words", reason: Reason = Reason.INVALID, path: str = "") -> Finding:
    return Finding(key=KEY, severity=severity, reason=reason, message=message, path=path)


def status(*findings: Finding, programming: Programming | None = None) -> dict[str, Any]:
    report = ObjectReport(generation=7, findings=findings, counts={"numSelectedRoutes": 3})
    return build_status(report, programming or Programming())


def condition(of: dict[str, Any], kind: str) -> tuple[str, str, str]:
    (found,) = (one for one in of["conditions"] if one["type"] == kind)
    assert found["observedGeneration"] == 7
    return found["status"], found["reason"], found["message"]


@pytest.mark.parametrize(
    ("severities", "approval", "accepted"),
    [
        pytest.param([], "ACCEPTED", "True", id="nothing"),
        pytest.param([Severity.NOTE], "ACCEPTED", "True", id="note"),
        pytest.param([Severity.NOTE, Severity.WARNING], "WARNING", "True", id="warning"),
        pytest.param([Severity.WARNING, Severity.FAILED], "FAILED", "False", id="failed"),
        pytest.param([Severity.INVALID, Severity.FAILED, Severity.NOTE], "INVALID", "False", id="invalid"),
    ],
)
def test_the_worst_finding_decides(severities: list[Severity], approval: str, accepted: str) -> None:
    """State, workspace condition and condition say the same."""
    found = status(*(finding(severity) for severity in severities))

    assert found["common"]["State"]["approval"] == approval
    assert found["common"]["workspaceConditions"] == {approval: 1}
    assert condition(found, "Accepted")[0] == accepted
    assert found["numSelectedRoutes"] == 3
    assert found["common"]["State"]["observedGeneration"] == 7


def test_the_worst_comes_first_and_repeats_are_told_once() -> None:
    """The message names each thing once, with its path."""
    found = status(
        finding(Severity.NOTE, "small"),
        finding(Severity.INVALID, "big", path="spec.a"),
        finding(Severity.INVALID, "big", path="spec.a"),
    )

    assert found["common"]["State"]["message"] == "spec.a: big; small"
    assert condition(found, "Accepted") == ("False", "Invalid", "spec.a: big")


def test_many_findings_are_cut() -> None:
    """Some, and how many more."""
    found = status(*(finding(Severity.WARNING, f"thing {number:03}") for number in range(100)))

    assert found["common"]["State"]["message"].endswith(f"; and {100 - MAX_FINDINGS} more")
    assert found["common"]["State"]["message"].count("thing") == MAX_FINDINGS


@given(st.lists(st.text(max_size=MAX_MESSAGE * 2), max_size=30), st.lists(st.text(max_size=5000), max_size=5))
def test_no_message_is_longer_than_its_bound(messages: list[str], rejections: list[str]) -> None:
    """Whatever was found, and whatever Envoy said."""
    found = status(
        *(finding(Severity.WARNING, message) for message in messages),
        programming=Programming(rejections=tuple(rejections), waiting=("n" * 3000,)),
    )

    assert len(found["common"]["State"]["message"]) <= MAX_MESSAGE
    assert all(len(one["message"]) <= 32768 for one in found["conditions"])


@pytest.mark.parametrize(
    ("programming", "findings", "expected"),
    [
        pytest.param(Programming(), (), ("True", "Programmed", ""), id="all-have-it"),
        pytest.param(Programming(waiting=("a", "b")), (), ("False", "Pending", "waiting for a, b"), id="waiting"),
        pytest.param(
            Programming(waiting=("a",), rejections=("a refuses it: no",)),
            (),
            ("False", "Rejected", "a refuses it: no"),
            id="rejected-beats-waiting",
        ),
        pytest.param(
            Programming(),
            (finding(Severity.INVALID),),
            ("False", "Invalid", "the object is invalid; what it selects is denied or left out"),
            id="invalid",
        ),
    ],
)
def test_programmed(programming: Programming, findings: tuple[Finding, ...], expected: tuple[str, str, str]) -> None:
    """True only for a sound object that every proxy has."""
    assert condition(status(*findings, programming=programming), "Programmed") == expected


@pytest.mark.parametrize("reason", [Reason.BACKEND_NOT_FOUND, Reason.JWKS_SOURCE_MISSING])
def test_references_that_lead_nowhere(reason: Reason) -> None:
    """ResolvedRefs is False with the reason; of other findings it knows nothing."""
    assert condition(status(finding(Severity.WARNING, "gone", reason)), "ResolvedRefs") == ("False", reason, "gone")
    assert condition(status(finding(Severity.INVALID)), "ResolvedRefs")[0] == "True"


def test_further_conditions_follow_those_of_every_object() -> None:
    """What is not known is neither true nor false."""
    report = ObjectReport(generation=3, findings=())
    further = (
        FurtherCondition("AgentConnected", False, "Disconnected", "for 3 s"),
        FurtherCondition("AgentReady", None, "Unknown"),
    )
    found = build_status(report, Programming(), further)["conditions"]
    assert [one["type"] for one in found[:3]] == ["Accepted", "ResolvedRefs", "Programmed"]
    assert [
        (one["type"], one["status"], one["reason"], one["message"], one["observedGeneration"]) for one in found[3:]
    ] == [
        ("AgentConnected", "False", "Disconnected", "for 3 s", 3),
        ("AgentReady", "Unknown", "Unknown", "", 3),
    ]
