"""What there is to say about the imports and exports of settings: where the other side is missing, and what is for nothing."""

from __future__ import annotations

from collections.abc import Iterator

from meshpass.api.admin import WorkspaceObjectSelector, WorkspaceSelector
from meshpass.api.objectset import ObjectKey
from meshpass.translate.finding import Finding, Reason, Severity
from meshpass.translate.sharedobject import SharedCounts
from meshpass.translate.sharing import EVERYTHING, Agreement, Place, Sharing, selects_workspace, shared_kinds

_MAX_NAMES = 3


def sharing_findings(  # noqa: PLR0917
    key: ObjectKey,
    import_from: tuple[WorkspaceObjectSelector, ...],
    export_to: tuple[WorkspaceObjectSelector, ...],
    workspace: str | None,
    sharing: Sharing,
    counts: SharedCounts,
) -> tuple[Finding, ...]:
    """What is said to the settings of a workspace; None: to those of all workspaces, of which each is the others' other."""
    found: list[Finding] = []
    for path, entries, importing in (("spec.importFrom", import_from, True), ("spec.exportTo", export_to, False)):
        for index, entry in enumerate(entries):
            found.extend(_of_entry(key, f"{path}[{index}]", entry, sharing, workspace))
            if workspace is not None:
                found.extend(_of_sharing(key, f"{path}[{index}]", index, entry, workspace, sharing, counts, importing))
    return tuple(dict.fromkeys(found))


def _of_entry(
    key: ObjectKey, path: str, entry: WorkspaceObjectSelector, sharing: Sharing, workspace: str | None
) -> Iterator[Finding]:
    """What is wrong with an entry by itself."""
    if not entry.workspaces:
        yield _finding(key, f"{path}.workspaces", "names no workspace; the name * is every one")
    for index, selector in enumerate(entry.workspaces):
        where = f"{path}.workspaces[{index}]"
        if not selector.name and not selector.selector:
            yield _finding(key, where, "is for no workspace, without a name and labels; the name * is every one")
        elif not _others(selector, workspace, sharing):
            yield _finding(key, where, f"there is no other workspace {_describe(selector)}")
    for index, resource in enumerate(entry.resources):
        if not shared_kinds(resource):
            message = f"objects of kind {resource.kind} are not shared"
            yield _finding(key, f"{path}.resources[{index}].kind", message, reason=Reason.NO_EFFECT)


def _of_sharing(  # noqa: PLR0917
    key: ObjectKey,
    path: str,
    index: int,
    entry: WorkspaceObjectSelector,
    workspace: str,
    sharing: Sharing,
    counts: SharedCounts,
    importing: bool,
) -> Iterator[Finding]:
    """What an entry shares with the others that it is for."""
    agreed: set[Place] = set()
    for number, selector in enumerate(entry.workspaces):
        others = _others(selector, workspace, sharing)
        places = {
            place
            for other in others
            for agreement in sharing.agreements.get((other, workspace) if importing else (workspace, other), ())
            if (place := _place(agreement, importing)).entry == index
        }
        agreed |= places
        if others and not places:
            yield _finding(key, f"{path}.workspaces[{number}]", _one_sided(others, workspace, importing))
    used = counts.imports if importing else counts.exports
    for number, resource in enumerate(entry.resources or EVERYTHING):
        place = Place(index, number)
        where = f"{path}.resources[{number}]" if entry.resources else path
        if not agreed or not shared_kinds(resource):
            continue
        if place not in agreed:
            what = f"exports such objects to workspace {workspace}" if importing else "imports such objects"
            yield _finding(key, where, f"none of these workspaces {what}")
        elif (workspace, place) not in used:
            what = (
                "these workspaces export no such object" if importing else f"workspace {workspace} has no such object"
            )
            yield _finding(key, where, what, Severity.NOTE)


def _place(agreement: Agreement, importing: bool) -> Place:
    return agreement.imported if importing else agreement.exported


def _one_sided(others: list[str], workspace: str, importing: bool) -> str:
    """The missing side, by name."""
    names = ", ".join(others[:_MAX_NAMES])
    more = f" and {len(others) - _MAX_NAMES} more" if len(others) > _MAX_NAMES else ""
    if len(others) == 1:
        verb = "exports nothing of this to" if importing else "imports nothing of this from"
        return f"workspace {names} {verb} workspace {workspace}"
    verb = "exports anything of this to" if importing else "imports anything of this from"
    return f"none of the workspaces {names}{more} {verb} workspace {workspace}"


def _others(selector: WorkspaceSelector, workspace: str | None, sharing: Sharing) -> list[str]:
    return sorted(
        name
        for name, side in sharing.sides.items()
        if name != workspace and selects_workspace(selector, name, side.labels)
    )


def _describe(selector: WorkspaceSelector) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in sorted(selector.selector.items()))
    if not labels:
        return selector.name
    return f"{selector.name} with the labels {labels}" if selector.name else f"with the labels {labels}"


def _finding(
    key: ObjectKey,
    path: str,
    message: str,
    severity: Severity = Severity.WARNING,
    reason: Reason = Reason.TARGET_NOT_FOUND,
) -> Finding:
    return Finding(key=key, severity=severity, reason=reason, path=path, message=message)
