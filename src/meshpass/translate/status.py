"""ObjectReport and what the proxies acknowledged → the object's status (decision 29)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.report import ObjectReport

APPROVAL = {
    Severity.NOTE: "ACCEPTED",
    Severity.WARNING: "WARNING",
    Severity.FAILED: "FAILED",
    Severity.INVALID: "INVALID",
}
UNRESOLVED = frozenset({Reason.BACKEND_NOT_FOUND, Reason.JWKS_SOURCE_MISSING})
MAX_MESSAGE = 2048
MAX_FINDINGS = 20
_TRUTH = {True: "True", False: "False", None: "Unknown"}


class Programming(NamedTuple):
    """How far the proxies are with an object."""

    waiting: tuple[str, ...] = ()
    """Proxies that have not acknowledged yet."""
    rejections: tuple[str, ...] = ()
    """What Envoy said against something that was made from the object."""


class FurtherCondition(NamedTuple):
    """An aspect of an object that translation knows nothing of, such as whether a cluster's agent is connected."""

    type: str
    status: bool | None
    """None: unknown."""
    reason: str
    """One CamelCase word."""
    message: str = ""


def build_status(
    report: ObjectReport, programming: Programming, further: tuple[FurtherCondition, ...] = ()
) -> dict[str, Any]:
    """The status as it goes on the wire, without times; ``further`` conditions follow those that every object has."""
    worst = max((finding.severity for finding in report.findings), default=Severity.NOTE)
    approval = APPROVAL[worst]
    return {
        "common": {
            "State": {
                "observedGeneration": report.generation,
                "approval": approval,
                "message": _join(str(finding) for finding in _worst_first(report.findings)),
            },
            "workspaceConditions": {approval: 1},
        },
        **report.counts,
        "conditions": [
            _accepted(report, worst),
            _resolved(report),
            _programmed(report, programming, worst),
            *(
                _condition(one.type, _TRUTH[one.status], one.reason, one.message[:MAX_MESSAGE], report.generation)
                for one in further
            ),
        ],
    }


def _worst_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: -finding.severity)


def _join(messages: Iterable[str]) -> str:
    unique = list(dict.fromkeys(messages))
    more = [f"and {len(unique) - MAX_FINDINGS} more"] if len(unique) > MAX_FINDINGS else []
    text = "; ".join([*unique[:MAX_FINDINGS], *more])
    return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 1]}…"


def _condition(kind: str, status: str, reason: str, message: str, generation: int) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    }


def _accepted(report: ObjectReport, worst: Severity) -> Mapping[str, Any]:
    wrong = [finding for finding in _worst_first(report.findings) if finding.severity is worst]
    if worst < Severity.FAILED:
        reason = wrong[0].reason if wrong and worst is Severity.WARNING else Reason.ACCEPTED
        message = _join(map(str, wrong)) if worst is Severity.WARNING else ""
        return _condition("Accepted", "True", reason, message, report.generation)
    return _condition("Accepted", "False", wrong[0].reason, _join(map(str, wrong)), report.generation)


def _resolved(report: ObjectReport) -> Mapping[str, Any]:
    missing = [finding for finding in report.findings if finding.reason in UNRESOLVED]
    if missing:
        message = _join(map(str, missing))
        return _condition("ResolvedRefs", "False", missing[0].reason, message, report.generation)
    return _condition("ResolvedRefs", "True", "ResolvedRefs", "", report.generation)


def _programmed(report: ObjectReport, programming: Programming, worst: Severity) -> Mapping[str, Any]:
    if programming.rejections:
        message = _join(programming.rejections)
        return _condition("Programmed", "False", Reason.REJECTED, message, report.generation)
    if programming.waiting:
        message = f"waiting for {', '.join(programming.waiting[:5])}"
        return _condition("Programmed", "False", Reason.PENDING, message, report.generation)
    if worst is Severity.INVALID:
        message = "the object is invalid; what it selects is denied or left out"
        return _condition("Programmed", "False", Reason.INVALID, message, report.generation)
    return _condition("Programmed", "True", Reason.PROGRAMMED, "", report.generation)
