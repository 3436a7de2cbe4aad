"""PolicyOptions: what one policy for routes comes to, and the words for what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from meshpass.api.objectset import ObjectKey
from meshpass.ir import RouteOptions
from meshpass.translate.finding import Finding, Reason, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOptions:
    """What one policy comes to."""

    key: ObjectKey
    options: RouteOptions | None
    """The part that policies of its kind fill. None: the policy is wrong, and what it wins is denied."""
    findings: tuple[Finding, ...]


def invalid(key: ObjectKey, path: str, message: str) -> Finding:
    """What makes a policy deny its routes."""
    return Finding(key=key, severity=Severity.INVALID, reason=Reason.INVALID, path=path, message=message)


def without_effect(key: ObjectKey, path: str, message: str) -> Finding:
    """What is said of a value that changes nothing."""
    return Finding(key=key, severity=Severity.WARNING, reason=Reason.NO_EFFECT, path=path, message=message)


def unreadable(key: ObjectKey, problems: Iterable[str]) -> Iterator[Finding]:
    """What could not be read of a policy's manifest: each is enough to deny."""
    return (invalid(key, "", problem) for problem in problems)


def is_sound(findings: Iterable[Finding]) -> bool:
    """True if nothing that was found makes the policy deny."""
    return all(finding.severity is not Severity.INVALID for finding in findings)
