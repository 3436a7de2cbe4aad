"""FieldManager: whose the fields of an object are after a write, and what a server-side apply makes of it.

The rules are those of k8s.io/apimachinery ``util/managedfields`` and of structured-merge-diff's ``Updater``. One
difference: all versions of a kind have the same fields here, so paths of one version are read as those of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from meshpass.apiserver.comparison import Comparison, compare, field_set
from meshpass.apiserver.fieldset import EMPTY, FieldSet
from meshpass.apiserver.fieldtype import FieldType
from meshpass.apiserver.managedfields import (
    Manager,
    Managers,
    Ownership,
    capped,
    decode_managers,
    is_reset,
)
from meshpass.apiserver.resource import Resource
from meshpass.apiserver.structuredmerge import collapsed, merge, remove, with_named_fields

_BEFORE_FIRST_APPLY: Final = "before-first-apply"
_NOBODYS: Final = FieldSet(
    frozenset({"f:apiVersion", "f:kind", "f:metadata"}),
    {
        "f:metadata": FieldSet(
            frozenset(
                f"f:{name}"
                for name in (
                    "clusterName",
                    "creationTimestamp",
                    "generation",
                    "managedFields",
                    "name",
                    "namespace",
                    "resourceVersion",
                    "selfLink",
                    "uid",
                )
            )
        )
    },
)
"""What identifies an object, and what the server alone sets."""
_EMPTY_OBJECTS: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    ("", "Event"): {"involvedObject": {}, "source": {}},
    ("", "Namespace"): {"spec": {}},
    ("", "Pod"): {"spec": {"containers": None}},
    ("", "Service"): {"spec": {}},
    ("apiextensions.k8s.io", "CustomResourceDefinition"): {"spec": {"names": {}, "versions": None}},
    ("apps", "Deployment"): {
        "spec": {"strategy": {}, "template": {"metadata": {}, "spec": {"containers": None}}},
    },
    ("coordination.k8s.io", "Lease"): {"spec": {}},
    ("discovery.k8s.io", "EndpointSlice"): {"endpoints": None, "ports": None},
}
"""What Kubernetes' types encode when nothing is set: these fields are there before anybody sets one, so they are nobody's."""


class ConflictError(Exception):
    """Fields that an apply would change belong to others."""

    def __init__(self, conflicts: Mapping[Manager, FieldSet]) -> None:
        super().__init__()
        self.conflicts = conflicts


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldManager:
    """Keeps the managers of the objects of one kind, for writes to a subresource or to the object itself."""

    resource: Resource
    subresource: str = ""

    @property
    def _kind(self) -> FieldType:
        return self.resource.fields

    def update(
        self, live: Mapping[str, Any] | None, new: Mapping[str, Any], *, sent: Any, name: str, moment: str
    ) -> Managers:
        """The managers of ``new`` after an ordinary write by ``name`` made it from ``live`` (None: created it).

        ``sent`` is the managedFields that the client sent, None for none. What it holds counts if it can be read; an
        object of which nothing is tracked stays untracked until somebody applies.
        """
        managers = self._known(live, sent)
        if not managers and live is not None:
            return managers
        return capped(self._update(managers, self._bare(live), self._bare(new), name, moment))

    def apply(
        self, live: Mapping[str, Any] | None, config: Mapping[str, Any], *, name: str, force: bool, moment: str
    ) -> tuple[dict[str, Any], Managers]:
        """The object with what ``name`` applies, and without what it applied before, and the managers after that.

        Raises ConflictError when fields of others would change and ``force`` is false; no argument is changed.
        """
        before, kind = self._bare(live), self._kind
        managers = dict(self._known(live, None))
        if not managers and live is not None:
            managers = dict(self._update({}, self._bare(None), before, _BEFORE_FIRST_APPLY, moment))
        myself = Manager(name=name, applies=True, subresource=self.subresource)
        last = managers.get(myself)
        stated = self._tracked(field_set(kind, config))
        managers[myself] = Ownership(fields=stated, version=self.resource.group_version, time=moment)
        merged = merge(kind, before, config)
        if last is not None and last.fields - stated:
            merged = self._pruned(merged, managers, last.fields)
        result = self._taken(managers, self._compare(before, merged), myself, force=force)
        return merged, self._stripped(result, myself)

    def fields_as_applied(self, live: Mapping[str, Any], applied: Mapping[str, Any]) -> FieldSet:
        """The fields of an earlier configuration that are still as it said."""
        difference = compare(self._kind, applied, self._bare(live))
        return field_set(self._kind, applied) - difference.modified - difference.added - difference.removed

    # ── inside ───────────────────────────────────────────────────────────────────────────────

    def _known(self, live: Mapping[str, Any] | None, sent: Any) -> Managers:
        """The managers before a write: those that the client sent, or else those that are stored."""
        held = None if live is None else live["metadata"].get("managedFields")
        if sent is not None and not self.subresource:
            if is_reset(sent):
                return {}
            managers = self._decoded(sent)
            if managers:
                return managers
        return self._decoded(held) if held is not None else {}

    def _decoded(self, entries: Any) -> Managers:
        try:
            managers = decode_managers(entries)
        except ValueError:
            return {}
        if self.resource.builtin:
            return managers
        # A definition may have made one field of what was many since.
        return {who: replace(held, fields=collapsed(self._kind, held.fields)) for who, held in managers.items()}

    def _bare(self, value: Mapping[str, Any] | None) -> dict[str, Any]:
        """The object without managedFields; for one that does not exist, what its type encodes when nothing is set."""
        found = self.resource
        if value is None:
            # Kubernetes' own kinds are of types whose parts exist before they are set; custom ones are just JSON.
            empty = _EMPTY_OBJECTS.get((found.group, found.kind), {}) if found.builtin else {}
            return {"apiVersion": found.group_version, "kind": found.kind, "metadata": {}, **empty}
        metadata = {name: held for name, held in value["metadata"].items() if name != "managedFields"}
        return {**value, "metadata": metadata}

    def _compare(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Comparison:
        found = compare(self._kind, old, new)
        return Comparison(
            added=self._tracked(found.added),
            removed=self._tracked(found.removed),
            modified=self._tracked(found.modified),
        )

    def _tracked(self, fields: FieldSet) -> FieldSet:
        """The fields that a write can set: a subresource sets its own, and the object all others."""
        if self.subresource:
            return fields.only_field(self.subresource)
        return fields.without_field("status") if self.resource.status_subresource else fields

    def _update(
        self, managers: Managers, live: Mapping[str, Any], new: Mapping[str, Any], name: str, moment: str
    ) -> Managers:
        difference = self._compare(live, new)
        result = self._taken(managers, difference, None, force=True)
        version = self.resource.group_version
        myself = Manager(name=name, applies=False, version=version, subresource=self.subresource)
        written = difference.written - _NOBODYS
        if written:
            before = result.get(myself)
            fields = written if before is None else before.fields | written
            result[myself] = Ownership(fields=fields, version=version, time=moment)
        return result

    @staticmethod
    def _taken(
        managers: Managers, difference: Comparison, writer: Manager | None, *, force: bool
    ) -> dict[Manager, Ownership]:
        """The managers without what ``writer`` took from them. Raises ConflictError when it may not."""
        written = difference.written
        conflicts = {who: held.fields & written for who, held in managers.items() if who != writer}
        conflicts = {who: fields for who, fields in conflicts.items() if fields}
        if conflicts and not force:
            raise ConflictError(conflicts)
        result = {}
        for who, held in managers.items():
            fields = held.fields
            if who != writer:
                fields = fields - conflicts.get(who, EMPTY) - difference.removed
            if fields:
                result[who] = held if fields is held.fields else replace(held, fields=fields)
        return result

    @staticmethod
    def _stripped(managers: dict[Manager, Ownership], myself: Manager) -> Managers:
        mine = managers.pop(myself, None)
        fields = EMPTY if mine is None else mine.fields - _NOBODYS
        if mine is not None and fields:
            managers[myself] = replace(mine, fields=fields)
        return managers

    def _pruned(self, merged: dict[str, Any], managers: Managers, last: FieldSet) -> dict[str, Any]:
        """``merged`` without the fields of ``last`` that no manager owns any more."""
        kind = self._kind
        last = with_named_fields(kind, last)
        everything = with_named_fields(kind, field_set(kind, merged))
        left = with_named_fields(kind, field_set(kind, remove(kind, merged, last)))
        owned = EMPTY
        for held in managers.values():
            owned = owned | held.fields
        # What others own comes back, with what it is in; what nobody owned before, and so was not ours to remove, too.
        kept = remove(kind, merged, everything - (left | with_named_fields(kind, owned)))
        gone = everything - with_named_fields(kind, field_set(kind, kept))
        pruned: dict[str, Any] = remove(kind, merged, gone & last)
        return pruned
