"""Options: the query parameters of reads and writes, checked as Kubernetes checks them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from meshpass.apiserver import cause
from meshpass.apiserver.cause import Cause
from meshpass.apiserver.managedfields import manager_name, name_causes
from meshpass.apiserver.resource import Resource
from meshpass.apiserver.selector import Selector, parse_selector
from meshpass.apiserver.status import bad_request, invalid

LARGEST_INTEGER = 2**63 - 1
_MATCH = "resourceVersionMatch"
_PROPAGATION = ("Background", "Foreground", "Orphan")


class FieldValidation(Enum):
    """What happens to fields that the schema does not know."""

    STRICT = "Strict"
    WARN = "Warn"
    IGNORE = "Ignore"


class Match(Enum):
    """resourceVersionMatch: which state of a collection is good enough."""

    UNSET = ""
    EXACT = "Exact"
    NOT_OLDER_THAN = "NotOlderThan"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How a write is done."""

    dry_run: bool = False
    field_validation: FieldValidation = FieldValidation.WARN
    manager: str = "unknown"
    """Who writes, as ``metadata.managedFields`` names it."""
    force: bool = False
    """True when an apply may take fields from others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """Which part of a collection, in which state, and for watches how long and with what at the start."""

    selector: Selector = field(default_factory=Selector)
    limit: int = 0
    token: str = ""
    resource_version: int | None = None
    match: Match = Match.UNSET
    watch: bool = False
    bookmarks: bool = False
    timeout_seconds: float | None = None
    send_initial_events: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """How an object is deleted; from the body, or else the query."""

    dry_run: bool = False
    propagation: str = "Background"
    uid: str | None = None
    resource_version: str | None = None


def parse_write_options(
    query: Mapping[str, str], kind: str, *, user_agent: str = "", applies: bool = False
) -> WriteOptions:
    """``kind`` is the options' own kind, for the error text; ``applies`` is of a server-side apply. Raises StatusError 422."""
    dry_run = query.get("dryRun", "")
    if dry_run not in {"", "All"}:
        raise _unsupported(kind, "dryRun", dry_run, ("All",))
    validation = query.get("fieldValidation") or FieldValidation.WARN.value
    if validation not in {member.value for member in FieldValidation}:
        raise _unsupported(kind, "fieldValidation", validation, ("", "Ignore", "Strict", "Warn"))
    name = query.get("fieldManager", "")
    problems = [*name_causes(name, "fieldManager")]
    if applies and not name:
        problems.append(cause.required("fieldManager", "is required for apply patch"))
    if kind == "PatchOptions" and not applies and query.get("force") is not None:
        problems.append(cause.forbidden("force", "may not be specified for non-apply patch"))
    if problems:
        raise invalid("meta.k8s.io", kind, "", problems)
    return WriteOptions(
        dry_run=dry_run == "All",
        field_validation=FieldValidation(validation),
        manager=manager_name(name, user_agent),
        force=applies and _boolean(query.get("force", "")),
    )


def parse_list_options(resource: Resource, query: Mapping[str, str], *, name: str = "") -> ListOptions:
    """``name`` narrows a watch of one object's URL. Raises StatusError: 400 for what cannot be read, 422 for what contradicts itself."""
    fields = query.get("fieldSelector", "")
    if name:
        fields = f"{fields},metadata.name={name}" if fields else f"metadata.name={name}"
    send_initial_events = query.get("sendInitialEvents")
    options = ListOptions(
        selector=parse_selector(resource, query.get("labelSelector", ""), fields),
        limit=_integer(query, "limit"),
        token=query.get("continue", ""),
        resource_version=_resource_version(query.get("resourceVersion", "")),
        match=_match(query.get("resourceVersionMatch", "")),
        watch=_boolean(query.get("watch", "")),
        bookmarks=_boolean(query.get("allowWatchBookmarks", "")),
        timeout_seconds=float(_integer(query, "timeoutSeconds")) or None,
        send_initial_events=None if send_initial_events is None else _boolean(send_initial_events),
    )
    problem = _contradiction(options)
    if problem:
        raise invalid("meta.k8s.io", "ListOptions", "", [problem])
    return options


def parse_delete_options(query: Mapping[str, str], body: Any) -> DeleteOptions:
    """Raises StatusError: 400 for a body that is none, 422 for unsupported values."""
    if body is not None and not isinstance(body, Mapping):
        raise bad_request("the body of a DELETE must be DeleteOptions")
    sent = body or {}
    if sent.get("kind", "DeleteOptions") != "DeleteOptions":
        raise bad_request(f"the body of a DELETE must be DeleteOptions, not {sent['kind']!r}")
    dry_run = sent.get("dryRun") or ([query["dryRun"]] if query.get("dryRun") else [])
    if dry_run not in ([], ["All"]):
        raise _unsupported("DeleteOptions", "dryRun", str(dry_run), ("All",))
    propagation = sent.get("propagationPolicy") or query.get("propagationPolicy")
    orphan = sent.get("orphanDependents", query.get("orphanDependents") == "true" or None)
    if propagation is None:
        propagation = "Orphan" if orphan else "Background"
    if propagation not in _PROPAGATION:
        raise _unsupported("DeleteOptions", "propagationPolicy", str(propagation), _PROPAGATION)
    preconditions = sent.get("preconditions") or {}
    if not isinstance(preconditions, Mapping):
        raise bad_request("preconditions must be an object")
    return DeleteOptions(
        dry_run=bool(dry_run),
        propagation=propagation,
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
    )


def _unsupported(kind: str, name: str, value: str, supported: tuple[str, ...]) -> Exception:
    return invalid("meta.k8s.io", kind, "", [cause.not_supported(name, value, supported)])


def _integer(query: Mapping[str, str], name: str) -> int:
    text = query.get(name) or "0"
    try:
        number = int(text)
    except ValueError as error:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error
    if abs(number) > LARGEST_INTEGER:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return max(0, number)


def _boolean(text: str) -> bool:
    """As Kubernetes' query conversion: present and neither ``false`` nor ``0``."""
    return text not in {"", "false", "0", "False", "FALSE"}


def _resource_version(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise bad_request(f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)


def _match(text: str) -> Match:
    try:
        return Match(text)
    except ValueError as error:
        raise _unsupported("ListOptions", "resourceVersionMatch", text, ("Exact", "NotOlderThan")) from error


def _contradiction(options: ListOptions) -> Cause | None:
    """The first rule of ``ValidateListOptions`` (k8s.io/apimachinery) that the options break."""
    return _watch_contradiction(options) if options.watch else _list_contradiction(options)


def _watch_contradiction(options: ListOptions) -> Cause | None:
    if options.send_initial_events is None:
        if options.match is Match.UNSET:
            return None
        return cause.forbidden(_MATCH, f"{_MATCH} is forbidden for watch unless sendInitialEvents is provided")
    if options.match is not Match.NOT_OLDER_THAN:
        return cause.forbidden(_MATCH, f"sendInitialEvents requires setting {_MATCH} to NotOlderThan")
    if not options.bookmarks and options.send_initial_events:
        return cause.forbidden("allowWatchBookmarks", "sendInitialEvents requires setting allowWatchBookmarks to true")
    return None


def _list_contradiction(options: ListOptions) -> Cause | None:
    if options.send_initial_events is not None:
        return cause.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
    if options.match is Match.UNSET:
        return None
    if options.resource_version is None:
        return cause.forbidden(_MATCH, f"{_MATCH} is forbidden unless resourceVersion is provided")
    if options.token:
        return cause.forbidden(_MATCH, f"{_MATCH} is forbidden when continue is provided")
    if options.match is Match.EXACT and options.resource_version == 0:
        return cause.forbidden(_MATCH, f'{_MATCH} "Exact" is forbidden for resourceVersion "0"')
    return None
