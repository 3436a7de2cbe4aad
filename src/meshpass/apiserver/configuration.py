"""Applied configurations: checked, laid over the stored object, and refused when fields are others'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from meshpass.apiserver.body import BODY_LIMIT
from meshpass.apiserver.fieldmanager import ConflictError, FieldManager
from meshpass.apiserver.fieldpath import show_path
from meshpass.apiserver.fieldset import FieldSet
from meshpass.apiserver.lastapplied import KUBECTL, fields_last_applied, remember_applied
from meshpass.apiserver.managedfields import Manager, Managers, encode_managers, manager_causes
from meshpass.apiserver.metadata import SERVER_OWNED, check_namespace, check_shape, check_type, now
from meshpass.apiserver.options import FieldValidation, WriteOptions
from meshpass.apiserver.pruning import prune_and_tell
from meshpass.apiserver.resource import Resource
from meshpass.apiserver.status import StatusError, apply_conflict, bad_request, conflict, invalid, too_large
from meshpass.apiserver.structuredmerge import type_faults
from meshpass.apiserver.target import Target

_MOST_MESSAGES: Final = 100


def check_configuration(target: Target, value: Any) -> dict[str, Any]:
    """``value`` as a configuration of the target, with its name and namespace. Raises StatusError 400."""
    resource = target.resource
    if isinstance(value, dict):
        for field, spelled in (("kind", "Kind"), ("apiVersion", "apiVersion")):
            if not value.get(field):
                raise bad_request(f"Object '{spelled}' is missing in the body of the request")
    config = check_shape(resource, value)
    check_type(resource, config)
    metadata = config["metadata"]
    if "managedFields" in metadata:
        raise bad_request("metadata.managedFields must be nil")
    name = metadata.setdefault("name", target.name)
    if name != target.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({target.name})")
    check_namespace(resource, metadata, target.namespace or "")
    pruned, unknown = prune_and_tell(resource, config)
    faults = [f".{found.path}: field not declared in schema" for found in unknown[:_MOST_MESSAGES]]
    faults += islice(type_faults(resource.fields, pruned), _MOST_MESSAGES)
    if faults:
        told = faults[0] if len(faults) == 1 else "\n  ".join(["errors:", *faults])
        kind = f"{resource.group}/{resource.version}, Kind={resource.kind}"
        raise bad_request(f"failed to create typed patch object ({target.namespace or ''}/{name}; {kind}): {told}")
    return pruned


def told_duplicates(options: WriteOptions, duplicates: Sequence[str]) -> tuple[str, ...]:
    """The warnings about fields that the text of a configuration has twice. Raises StatusError 400 under Strict."""
    if options.field_validation is FieldValidation.IGNORE:
        return ()
    if duplicates and options.field_validation is FieldValidation.STRICT:
        raise bad_request(f"error strict decoding YAML: {', '.join(duplicates[:_MOST_MESSAGES])}")
    return tuple(duplicates[:_MOST_MESSAGES])


def apply_configuration(
    target: Target, live: dict[str, Any] | None, config: Mapping[str, Any], options: WriteOptions
) -> tuple[dict[str, Any], Managers]:
    """The object as the configuration makes it of ``live`` (None: there is none), and its managers.

    Raises StatusError 409 for a uid or resourceVersion of another object, and for conflicts.
    """
    _check_preconditions(target, live, config["metadata"])
    manager = FieldManager(resource=target.resource, subresource=target.subresource)
    metadata = {name: held for name, held in config["metadata"].items() if name not in _SERVERS}
    wanted = {**config, "metadata": metadata}
    if live is not None:
        live["apiVersion"] = target.resource.group_version
    try:
        merged, managers = manager.apply(live, wanted, name=options.manager, force=options.force, moment=now())
    except ConflictError as error:
        conflicts = error.conflicts
        if live is not None and options.manager == KUBECTL:
            known = fields_last_applied(manager, live)
            conflicts = {who: fields - known for who, fields in conflicts.items()}
        conflicts = {who: fields for who, fields in conflicts.items() if fields}
        if conflicts:
            raise _conflict(conflicts) from error
        merged, managers = manager.apply(live, wanted, name=options.manager, force=True, moment=now())
    if options.manager == KUBECTL:
        remember_applied(merged, config)
    return merged, managers


def managed_entries(resource: Resource, managers: Managers) -> list[dict[str, Any]]:
    """``metadata.managedFields`` for these managers. Raises StatusError 413 when it is too long, 422 for a bad name."""
    if causes := manager_causes(managers):
        raise invalid(resource.group, resource.kind, "", causes)
    entries = encode_managers(managers)
    if len(msgspec.json.encode(entries)) > BODY_LIMIT:
        raise too_large(BODY_LIMIT)
    return entries


_SERVERS: Final = frozenset({*SERVER_OWNED, "resourceVersion", "selfLink"})


def _check_preconditions(target: Target, live: Mapping[str, Any] | None, metadata: Mapping[str, Any]) -> None:
    uid, revision = metadata.get("uid"), metadata.get("resourceVersion")
    if live is None:
        if uid:
            why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise conflict(target.resource, target.name, why)
        if revision not in {None, "", "0"}:
            raise conflict(target.resource, target.name)
        return
    held = live["metadata"]
    if uid and uid != held["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {held['uid']}"
        raise conflict(target.resource, target.name, why)
    if revision and revision != held["resourceVersion"]:
        raise conflict(target.resource, target.name)


def _conflict(conflicts: Mapping[Manager, FieldSet]) -> StatusError:
    ordered = sorted(conflicts.items(), key=lambda item: (item[0].name, not item[0].applies, str(item[0])))
    found = [(manager, show_path(path)) for manager, fields in ordered for path in fields.paths()]
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
        for manager, path in found
    ]
    if len(found) == 1:
        manager, path = found[0]
        return apply_conflict(f"Apply failed with 1 conflict: conflict with {manager}: {path}", causes)
    lines: list[str] = []
    for manager, fields in ordered:
        lines.append(f"conflicts with {manager}:")
        lines += (f"- {show_path(path)}" for path in fields.paths())
    told = "\n".join(lines)
    return apply_conflict(f"Apply failed with {len(found)} conflicts: {told}", causes)
