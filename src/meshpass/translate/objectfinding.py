"""What is said alike of objects of every kind."""

from __future__ import annotations

from collections.abc import Mapping

from meshpass.api.objectset import ObjectKey
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.workspace import WorkspaceIndex

Problems = Mapping[ObjectKey, tuple[str, ...]]
"""What was wrong with each manifest."""


def find_misplaced(key: ObjectKey, workspaces: WorkspaceIndex) -> tuple[Finding, ...]:
    """A finding for an object that counts in no workspace."""
    if workspaces.owner(key) is not None:
        return ()
    message = f"namespace {key.namespace} of cluster {key.cluster} belongs to no workspace that reads from it"
    return (Finding(key=key, severity=Severity.WARNING, reason=Reason.NO_WORKSPACE, message=message),)


def find_unreadable(key: ObjectKey, problems: Problems) -> tuple[Finding, ...]:
    """A finding for each part of a manifest that could not be read."""
    return tuple(
        Finding(key=key, severity=Severity.INVALID, reason=Reason.INVALID, message=problem)
        for problem in problems.get(key, ())
    )
