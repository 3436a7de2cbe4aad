"""Metadata: what the server itself decides about an object's ``metadata``, and what clients may put there."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from meshpass.apiserver import cause
from meshpass.apiserver.resource import Resource
from meshpass.apiserver.status import bad_request, conflict, invalid

_TYPES: Mapping[str, type] = {
    "name": str,
    "generateName": str,
    "namespace": str,
    "selfLink": str,
    "uid": str,
    "resourceVersion": str,
    "generation": int,
    "creationTimestamp": str,
    "deletionTimestamp": str,
    "deletionGracePeriodSeconds": int,
    "labels": dict,
    "annotations": dict,
    "finalizers": list,
    "ownerReferences": list,
    "managedFields": list,
}
_GO_TYPES: Mapping[type, str] = {str: "string", int: "int64", dict: "map[string]string", list: "slice"}
SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
"""Set by the server alone; what a client sends for them is dropped or must be what is stored."""
_GENERATED = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' alphabet for generated names: no vowels, so no words."""
_GENERATED_LENGTH = 5
_MAX_BASE = 63 - _GENERATED_LENGTH


def now() -> str:
    """The time as Kubernetes writes it: RFC 3339, whole seconds, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def generate_name(base: str) -> str:
    """``base`` (shortened so that the whole fits a DNS label) followed by five random characters."""
    return base[:_MAX_BASE] + "".join(secrets.choice(_GENERATED) for _ in range(_GENERATED_LENGTH))


def check_shape(resource: Resource, value: Any) -> dict[str, Any]:
    """``value`` is an object with metadata whose fields have the right types. Raises StatusError 400 otherwise.

    apiserver decodes metadata into a Go struct before it validates anything; these are that decoder's complaints.
    """
    if not isinstance(value, dict):
        raise bad_request("the object provided is unrecognized (must be of type " + resource.kind + ")")
    metadata = value.get("metadata")
    if metadata is None:
        metadata = value["metadata"] = {}
    if not isinstance(metadata, dict):
        raise _cannot_decode(resource, "json: cannot unmarshal into Go struct field .metadata of type v1.ObjectMeta")
    for name in [name for name, held in metadata.items() if held is None]:
        del metadata[name]
    for name, wanted in _TYPES.items():
        held = metadata.get(name)
        if held is not None and (not isinstance(held, wanted) or isinstance(held, bool)):
            raise _cannot_decode(
                resource,
                f"json: cannot unmarshal {_json_type(held)} into Go struct field ObjectMeta.metadata.{name}"
                f" of type {_GO_TYPES[wanted]}",
            )
    _check_members(resource, metadata)
    # Go encodes neither an empty map nor an empty list of ObjectMeta (``omitempty``); of managedFields it means a reset.
    for name in [name for name, held in metadata.items() if held in ({}, []) and name != "managedFields"]:
        del metadata[name]
    return value


def _check_members(resource: Resource, metadata: Mapping[str, Any]) -> None:
    for name in ("labels", "annotations"):
        for held in metadata.get(name, {}).values():
            if not isinstance(held, str):
                raise _cannot_decode(
                    resource,
                    f"json: cannot unmarshal {_json_type(held)} into Go struct field ObjectMeta.metadata.{name}"
                    " of type string",
                )
    for item in metadata.get("finalizers", ()):
        if not isinstance(item, str):
            raise _cannot_decode(resource, "json: cannot unmarshal into Go struct field ObjectMeta.metadata.finalizers")
    for name in ("ownerReferences", "managedFields"):
        for item in metadata.get(name, ()):
            if not isinstance(item, dict):
                raise _cannot_decode(resource, f"json: cannot unmarshal into Go struct field ObjectMeta.{name}")


def check_type(resource: Resource, value: dict[str, Any]) -> None:
    """ApiVersion and kind are the URL's, filled in where a built-in kind leaves them out. Raises StatusError 400."""
    version, kind = value.get("apiVersion"), value.get("kind")
    if resource.builtin:
        version = version or resource.group_version
        kind = kind or resource.kind
    if not kind or not isinstance(kind, str):
        raise bad_request("Object 'Kind' is missing in the body of the request")
    if not version or not isinstance(version, str):
        raise bad_request("Object 'apiVersion' is missing in the body of the request")
    if version != resource.group_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match"
            f" the expected API version ({resource.group_version})"
        )
    if kind != resource.kind:
        raise bad_request(
            f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}:'
            f" the kind in the data ({kind}) does not match the expected kind ({resource.kind})"
        )
    rest = {name: held for name, held in value.items() if name not in {"apiVersion", "kind", "metadata"}}
    metadata = value["metadata"]
    value.clear()
    # This order is what lists and watches are rendered from without decoding.
    value.update({"apiVersion": version, "kind": kind, "metadata": metadata, **rest})


def check_namespace(resource: Resource, metadata: dict[str, Any], namespace: str) -> None:
    """The object's namespace is the URL's. Raises StatusError 400 when the object says another one."""
    said = metadata.pop("namespace", "")
    if said and said != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
            if resource.namespaced
            else f"namespace should be empty for the cluster-scoped kind {resource.kind}"
        )
    if namespace:
        metadata["namespace"] = namespace


def stamp_new(resource: Resource, metadata: dict[str, Any]) -> None:
    """The metadata of a new object: name completed, uid, creationTimestamp and generation set, the rest of ours gone."""
    if metadata.get("resourceVersion") not in {None, "", "0"}:
        raise bad_request("resourceVersion should not be set on objects to be created")
    base = metadata.get("generateName")
    if not metadata.get("name") and base:
        metadata["name"] = generate_name(base)
    for name in (*SERVER_OWNED, "resourceVersion", "selfLink"):
        metadata.pop(name, None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = now()
    if has_generation(resource):
        metadata["generation"] = 1


def stamp_update(resource: Resource, name: str, metadata: dict[str, Any], held: Mapping[str, Any]) -> None:
    """The metadata of an update carries what the server owns from the stored object.

    Raises StatusError: 409 when uid is another object's, 422 for new finalizers on an object that is being deleted.
    """
    uid = metadata.get("uid")
    if uid and uid != held["uid"]:
        raise conflict(
            resource, name, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {held['uid']}"
        )
    for field in (*SERVER_OWNED, "selfLink"):
        metadata.pop(field, None)
        if field in held:
            metadata[field] = held[field]
    if "deletionTimestamp" in held:
        added = [item for item in metadata.get("finalizers", ()) if item not in held.get("finalizers", ())]
        if added:
            text = ", ".join(f'"{item}"' for item in added)
            why = (
                "no new finalizers can be added if the object is being deleted,"
                f" found new finalizers []string{{{text}}}"
            )
            raise invalid(resource.group, resource.kind, name, [cause.forbidden("metadata.finalizers", why)])


def has_generation(resource: Resource) -> bool:
    """True for kinds with a desired state of which ``metadata.generation`` counts the versions."""
    return not resource.builtin or "spec" in resource.schema.get("properties", {})


def _cannot_decode(resource: Resource, why: str) -> Exception:
    return bad_request(f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {why}')


def _json_type(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
