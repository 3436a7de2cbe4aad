"""Writer: create, update, patch and delete, each one transaction, with all that Kubernetes checks on the way.

Nothing in here awaits: between reading the stored object and storing its successor nobody else writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from meshpass.apiserver import cause
from meshpass.apiserver.admission import NAMESPACE_KIND, forbid_deletion, mark_deleted
from meshpass.apiserver.comparison import is_same
from meshpass.apiserver.configuration import apply_configuration, check_configuration, managed_entries, told_duplicates
from meshpass.apiserver.defaulting import apply_defaults
from meshpass.apiserver.definitions import CLEANUP_FINALIZER, Definitions
from meshpass.apiserver.fieldmanager import FieldManager
from meshpass.apiserver.managedfields import Managers, without_times
from meshpass.apiserver.metadata import (
    check_namespace,
    check_shape,
    check_type,
    has_generation,
    now,
    stamp_new,
    stamp_update,
)
from meshpass.apiserver.options import DeleteOptions, FieldValidation, ListOptions, WriteOptions
from meshpass.apiserver.patch import PatchType, apply_patch
from meshpass.apiserver.pruning import prune_and_tell
from meshpass.apiserver.reader import get_object
from meshpass.apiserver.registry import Registry
from meshpass.apiserver.resource import Resource
from meshpass.apiserver.revision import Key, Stored
from meshpass.apiserver.status import (
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    success,
)
from meshpass.apiserver.storage import Storage
from meshpass.apiserver.target import Target
from meshpass.apiserver.unknownfields import describe_unknown
from meshpass.apiserver.validation import Cause, validate, validate_update

FOREGROUND_FINALIZER = "foregroundDeletion"
_MOST_MESSAGES = 100
"""Strict-decoding messages of one kind, as many as Kubernetes' decoder (sigs.k8s.io/json) keeps."""


@dataclass(frozen=True, slots=True)
class Written:
    """The object as it is stored (or would be, in a dry run), and what the client should be warned of."""

    body: bytes
    warnings: tuple[str, ...] = ()


class Writer:
    """The write verbs."""

    def __init__(self, storage: Storage, registry: Registry, definitions: Definitions) -> None:
        self._storage = storage
        self._registry = registry
        self._definitions = definitions

    # ── create ───────────────────────────────────────────────────────────────────────────────

    def create(self, target: Target, value: Any, options: WriteOptions, duplicates: Sequence[str] = ()) -> Written:
        """The object exists. Raises StatusError 400, 403, 404 (namespace), 409, 413, 422."""
        value = check_shape(target.resource, value)
        check_type(target.resource, value)
        return self._add(target, value, options, duplicates=duplicates)

    def _add(
        self,
        target: Target,
        value: dict[str, Any],
        options: WriteOptions,
        *,
        duplicates: Sequence[str] = (),
        managers: Managers | None = None,
    ) -> Written:
        """``managers`` are those that an apply has found; None: whoever creates the object manages it."""
        resource = target.resource
        check_namespace(resource, value["metadata"], target.namespace or "")
        sent = value["metadata"].pop("managedFields", None)
        value, warnings = self._decode(resource, value, options, duplicates)
        metadata = value["metadata"]
        stamp_new(resource, metadata)
        if resource.namespaced:
            self._check_namespace_is_open(resource, metadata.get("name", ""), target.namespace or "")
        if resource.status_subresource:
            value.pop("status", None)
        value = apply_defaults(resource, value)
        name = value["metadata"].get("name") or ""
        self._refuse(resource, name, validate(resource, value))
        key = Key(target.kind, target.namespace or "", name)
        if self._storage.get(key) is not None:
            raise already_exists(resource, key.name)
        if managers is None:
            fields = FieldManager(resource=resource)
            managers = fields.update(None, value, sent=sent, name=options.manager, moment=now())
        value = self._definitions.prepared(resource, value)
        _set_or_drop(value["metadata"], "managedFields", managed_entries(resource, managers))
        return Written(self._store(resource, key, value, options), warnings)

    def _check_namespace_is_open(self, resource: Resource, name: str, namespace: str) -> None:
        held = self._storage.get(Key(NAMESPACE_KIND, "", namespace))
        if held is None:
            found = self._registry.of_kind(NAMESPACE_KIND)
            if found is not None:
                raise not_found(found, namespace)
            return
        if "deletionTimestamp" in held.decode()["metadata"]:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            terminating = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            raise forbidden(resource, name, why, causes=[terminating])

    # ── update and patch ─────────────────────────────────────────────────────────────────────

    def update(self, target: Target, value: Any, options: WriteOptions, duplicates: Sequence[str] = ()) -> Written:
        """The object (or its status alone) is as in ``value``. Raises StatusError 400, 404, 409, 422."""
        resource = target.resource
        value = check_shape(resource, value)
        check_type(resource, value)
        name = value["metadata"].get("name")
        if not name:
            value["metadata"]["name"] = name = target.name
        if name != target.name:
            raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({target.name})")
        current = get_object(self._storage, target)
        if not value["metadata"].get("resourceVersion") and not resource.builtin:
            must = cause.invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(resource.group, resource.kind, name, [must])
        return self._replace(target, current, value, options, duplicates=duplicates)

    def patch(self, target: Target, kind: PatchType, patch: Any, options: WriteOptions) -> Written:
        """The object is as the patch makes it. Raises StatusError 400, 404, 409, 413, 422."""
        resource = target.resource
        current = get_object(self._storage, target)
        base = {**current.decode(), "apiVersion": resource.group_version}
        value = check_shape(resource, apply_patch(resource, kind, base, patch))
        check_type(resource, value)
        name = value["metadata"].get("name")
        if name != target.name:
            raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({target.name})")
        return self._replace(target, current, value, options)

    def apply(
        self, target: Target, value: Any, options: WriteOptions, duplicates: Sequence[str] = ()
    ) -> tuple[Written, bool]:
        """The object is as its managers want it, ``value`` being all that this one wants; and whether it is new.

        Raises StatusError 400, 403, 404, 409, 413, 422.
        """
        config = check_configuration(target, value)
        warnings = told_duplicates(options, duplicates)
        current = self._storage.get(target.key)
        if current is None and target.subresource:
            raise not_found(target.resource, target.name)
        merged, managers = apply_configuration(target, None if current is None else current.decode(), config, options)
        # Unknown fields of the configuration are refused already, whatever the client wanted.
        options = replace(options, field_validation=FieldValidation.IGNORE)
        if current is None:
            written = self._add(target, merged, options, managers=managers)
        else:
            written = self._replace(target, current, merged, options, managers=managers)
        return Written(written.body, warnings), current is None

    def _replace(
        self,
        target: Target,
        current: Stored,
        value: dict[str, Any],
        options: WriteOptions,
        *,
        duplicates: Sequence[str] = (),
        managers: Managers | None = None,
    ) -> Written:
        """``managers`` are those that an apply has found; None: whoever writes manages what it changes."""
        resource, held = target.resource, current.decode()
        recorded = held["metadata"].pop("managedFields", None)
        sent = value["metadata"].pop("managedFields", None)
        check_namespace(resource, value["metadata"], target.namespace or "")
        revision = held["metadata"]["resourceVersion"]
        if value["metadata"].pop("resourceVersion", None) not in {None, "", revision}:
            raise conflict(resource, target.name)
        value, warnings = self._decode(resource, value, options, duplicates)
        if target.subresource == "status":
            status = {"status": value["status"]} if "status" in value else {}
            rest = {name: entry for name, entry in held.items() if name != "status"}
            value = {**rest, "apiVersion": value["apiVersion"], **status}
        else:
            stamp_update(resource, target.name, value["metadata"], held["metadata"])
            if resource.status_subresource:
                value.pop("status", None)
                value |= {"status": held["status"]} if "status" in held else {}
        value = apply_defaults(resource, value)
        value["metadata"] = {**value["metadata"], "resourceVersion": revision}
        self._refuse(resource, target.name, validate_update(resource, value, held))
        if managers is None and not (is_same(value, held) and sent == recorded):
            fields = FieldManager(resource=resource, subresource=target.subresource)
            live = held if recorded is None else {**held, "metadata": {**held["metadata"], "managedFields": recorded}}
            managers = fields.update(live, value, sent=sent, name=options.manager, moment=now())
        entries = recorded or [] if managers is None else managed_entries(resource, managers)
        value = self._definitions.prepared(resource, value, held)
        if has_generation(resource) and not is_same(_desired(resource, value), _desired(resource, held)):
            value["metadata"]["generation"] = held["metadata"].get("generation", 0) + 1
        if is_same(value, held) and without_times(entries) == without_times(recorded or []):
            return Written(current.body, warnings)  # nothing changes, so there is no new revision
        _set_or_drop(value["metadata"], "managedFields", entries)
        if "deletionTimestamp" in value["metadata"] and not self._is_held(target.key, value):
            return Written(self._finish(resource, target.key, value, options), warnings)
        return Written(self._store(resource, target.key, value, options), warnings)

    # ── delete ───────────────────────────────────────────────────────────────────────────────

    def delete(self, target: Target, options: DeleteOptions) -> tuple[Mapping[str, Any], bool]:
        """The object is gone, or marked and waiting for its finalizers; the answer's body, and whether it is gone.

        Raises StatusError 403, 404, 409.
        """
        current = get_object(self._storage, target)
        with self._storage.transaction():
            value, gone = self._delete(target.resource, current, options)
        if gone:
            return success(target.resource, target.name, value["metadata"]["uid"]), True
        return value, False

    def delete_collection(self, target: Target, selection: ListOptions, options: DeleteOptions) -> list[Stored]:
        """Every object of the collection that the selector matches is deleted; all in one transaction."""
        chosen = [
            stored
            for stored in self._storage.list(target.kind, target.namespace)
            if not selection.selector or selection.selector.matches(stored.decode())
        ]
        with self._storage.transaction():
            for stored in chosen:
                self._delete(target.resource, stored, options)
        return chosen

    def delete_stored(self, stored: Stored) -> None:
        """What the server itself deletes: garbage and the contents of namespaces and definitions that go away."""
        resource = self._registry.of_kind(stored.key.kind)
        if resource is None:
            self._storage.remove(stored.key)
        else:
            self._delete(resource, stored, DeleteOptions())

    def finish_if_free(self, stored: Stored) -> None:
        """A marked object is gone when nothing holds it any more."""
        resource = self._registry.of_kind(stored.key.kind)
        value = stored.decode()
        if resource is not None and not self._is_held(stored.key, value):
            self._finish(resource, stored.key, value, WriteOptions())

    def release(self, stored: Stored, finalizer: str) -> None:
        """The object is without that finalizer, and gone when nothing else holds it."""
        resource = self._registry.of_kind(stored.key.kind)
        if resource is None:
            return
        value = stored.decode()
        left = [item for item in value["metadata"].get("finalizers", ()) if item != finalizer]
        _set_or_drop(value["metadata"], "finalizers", left)
        if self._is_held(stored.key, value):
            self._store(resource, stored.key, value, WriteOptions())
        else:
            self._finish(resource, stored.key, value, WriteOptions())

    def disown(self, stored: Stored, uids: frozenset[str]) -> None:
        """The object has no ownerReference to any of these uids."""
        value = stored.decode()
        left = [entry for entry in value["metadata"].get("ownerReferences", ()) if entry["uid"] not in uids]
        _set_or_drop(value["metadata"], "ownerReferences", left)
        self._storage.put(stored.key, value)

    def _delete(self, resource: Resource, current: Stored, options: DeleteOptions) -> tuple[dict[str, Any], bool]:
        value = current.decode()
        metadata = value["metadata"]
        name = metadata["name"]
        _check_preconditions(resource, metadata, options)
        forbid_deletion(resource, name)
        dependents = self._storage.dependents(metadata["uid"])
        if options.propagation == "Orphan" and not options.dry_run:
            for dependent in dependents:
                self.disown(dependent, frozenset({metadata["uid"]}))
        finalizers = list(metadata.get("finalizers", ()))
        if options.propagation == "Foreground" and dependents and FOREGROUND_FINALIZER not in finalizers:
            finalizers.append(FOREGROUND_FINALIZER)
        if self._definitions.defines(resource) and CLEANUP_FINALIZER not in finalizers:
            finalizers.append(CLEANUP_FINALIZER)
        before = msgspec.json.encode(value)
        _set_or_drop(metadata, "finalizers", finalizers)
        write = WriteOptions(dry_run=options.dry_run)
        marked = "deletionTimestamp" in metadata
        if not self._is_held(current.key, value):
            self._finish(resource, current.key, value, write)
            return value, True
        if not marked:
            metadata["deletionTimestamp"] = now()
            metadata["deletionGracePeriodSeconds"] = 0
            if has_generation(resource):
                metadata["generation"] = metadata.get("generation", 0) + 1
            mark_deleted(resource, value)
        if msgspec.json.encode(value) == before:
            return value, False
        decoded: dict[str, Any] = msgspec.json.decode(self._store(resource, current.key, value, write))
        return decoded, False

    # ── shared ───────────────────────────────────────────────────────────────────────────────

    def _is_held(self, key: Key, value: Mapping[str, Any]) -> bool:
        """True while finalizers, or a namespace's contents, keep a deleted object."""
        if value["metadata"].get("finalizers"):
            return True
        if key.kind != NAMESPACE_KIND:
            return False
        return "deletionTimestamp" not in value["metadata"] or self._storage.has_content(key.name)

    def _store(self, resource: Resource, key: Key, value: Mapping[str, Any], options: WriteOptions) -> bytes:
        if options.dry_run:
            return msgspec.json.encode(value)
        stored = self._storage.put(key, value)
        self._definitions.stored(resource, value)
        return stored.body

    def _finish(self, resource: Resource, key: Key, value: Mapping[str, Any], options: WriteOptions) -> bytes:
        if options.dry_run:
            return msgspec.json.encode(value)
        removed = self._storage.remove(key)
        self._definitions.removed(resource, key.name)
        return msgspec.json.encode(
            {**value, "metadata": {**value["metadata"], "resourceVersion": str(removed.revision)}}
        )

    def _decode(
        self, resource: Resource, value: dict[str, Any], options: WriteOptions, duplicates: Sequence[str]
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The object without unknown fields, and the messages about them; refused under Strict, not told under Ignore."""
        pruned, unknown = prune_and_tell(resource, value)
        messages: tuple[str, ...] = ()
        if options.field_validation is not FieldValidation.IGNORE:
            messages = (*duplicates[:_MOST_MESSAGES], *map(describe_unknown, unknown[:_MOST_MESSAGES]))
        if messages and options.field_validation is FieldValidation.STRICT:
            raise bad_request(
                f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}:'
                f" strict decoding error: {', '.join(messages)}"
            )
        return pruned, messages

    @staticmethod
    def _refuse(resource: Resource, name: str, causes: Sequence[Cause]) -> None:
        if causes:
            raise invalid(resource.group, resource.kind, name, causes)


def _check_preconditions(resource: Resource, metadata: Mapping[str, Any], options: DeleteOptions) -> None:
    for label, name, wanted in (
        ("UID", "uid", options.uid),
        ("ResourceVersion", "resourceVersion", options.resource_version),
    ):
        if wanted and wanted != metadata[name]:
            why = f"Precondition failed: {label} in precondition: {wanted}, {label} in object meta: {metadata[name]}"
            raise conflict(resource, metadata["name"], why)


def _desired(resource: Resource, value: Mapping[str, Any]) -> dict[str, Any]:
    ignored = {"apiVersion", "kind", "metadata"} | ({"status"} if resource.status_subresource else set())
    return {name: held for name, held in value.items() if name not in ignored}


def _set_or_drop(metadata: dict[str, Any], name: str, values: list[Any]) -> None:
    if values:
        metadata[name] = values
    else:
        metadata.pop(name, None)
