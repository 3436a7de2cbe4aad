"""Patches: JSON patch (RFC 6902), JSON merge patch (RFC 7386) and the choice among them by media type."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import jsonpatch
import msgspec
from jsonpointer import JsonPointerException, resolve_pointer

from meshpass.apiserver.body import check_depth
from meshpass.apiserver.resource import Resource
from meshpass.apiserver.status import StatusError, bad_request, too_large, unsupported_media_type
from meshpass.apiserver.strategic import strategic_merge

_MAX_OPERATIONS = 10_000
_COPY_LIMIT = 3 * 1024 * 1024
"""Bytes that all copies of one patch may add up to. Both limits are kube-apiserver's: a small patch must not cost much."""


APPLY: Final = "application/apply-patch+yaml"
"""The media type of a configuration that is to be applied: no patch, though PATCH is its method."""


class PatchType(Enum):
    """The media types of patches."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"


def parse_patch_type(media_type: str, resource: Resource) -> PatchType:
    """The kind of patch in the body. Raises StatusError 415 for one that this resource does not take."""
    accepted = [kind for kind in PatchType if resource.builtin or kind is not PatchType.STRATEGIC]
    for kind in accepted:
        if kind.value == media_type:
            return kind
    raise unsupported_media_type([*(kind.value for kind in accepted), APPLY])


def apply_patch(resource: Resource, kind: PatchType, current: Mapping[str, Any], patch: Any) -> dict[str, Any]:
    """The patched copy of ``current``, an object of ``resource``. Raises StatusError: 400 for what is no patch, 422 for one that does not apply."""
    match kind:
        case PatchType.JSON:
            result = _json_patch(current, patch)
        case PatchType.MERGE:
            result = merge_patch(current, _mapping(patch))
        case PatchType.STRATEGIC:
            result = strategic_merge(resource.schema, current, _mapping(patch))
    if not isinstance(result, dict) or not isinstance(result.get("metadata"), dict):
        raise bad_request("the patch leaves no object")
    check_depth(result)  # a JSON patch can build level upon level
    return result


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386 section 2, without changing either argument."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def _mapping(patch: Any) -> Mapping[str, Any]:
    if not isinstance(patch, Mapping):
        raise bad_request("error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}")
    return patch


def _json_patch(current: Mapping[str, Any], patch: Any) -> Any:
    if not isinstance(patch, list) or not all(isinstance(operation, dict) for operation in patch):
        raise bad_request("error decoding patch: a JSON patch is a list of operations")
    if len(patch) > _MAX_OPERATIONS:
        raise StatusError(
            f"The allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, got {len(patch)}",
            code=413,
            reason="RequestEntityTooLarge",
        )
    try:
        operations = [jsonpatch.JsonPatch([operation]) for operation in patch]
    except (jsonpatch.InvalidJsonPatch, JsonPointerException, TypeError, ValueError) as error:
        raise bad_request(f"error decoding patch: {error}") from error
    value: Any = copy.deepcopy(dict(current))
    copied = 0
    try:
        for operation, parsed in zip(patch, operations, strict=True):
            if operation["op"] == "copy":
                copied += len(msgspec.json.encode(resolve_pointer(value, operation["from"])))
                if copied > _COPY_LIMIT:
                    raise too_large(_COPY_LIMIT)
            value = parsed.apply(value, in_place=True)
    except (
        jsonpatch.JsonPatchException,
        JsonPointerException,
        TypeError,
        ValueError,
        LookupError,
        RecursionError,
    ) as error:
        raise StatusError(
            f"the server rejected our request due to an error in our request: {error}", code=422, reason="Invalid"
        ) from error
    return value
