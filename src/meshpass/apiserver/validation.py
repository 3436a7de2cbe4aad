"""Is an object what its kind demands? Everything that a Kubernetes API server answers 422 for, and nothing raised.

``validate`` puts together the rules of ``objectmeta`` (every object), ``schemavalidation`` (the kind's schema),
``ruletree`` (the expressions of a kind's definition) and ``corerules`` (what Kubernetes demands of its own kinds beyond
their schema).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from meshpass.apiserver.cause import NO_FIELD, Cause, CauseReason, aggregate_message, invalid, type_invalid
from meshpass.apiserver.corerules import validate_core, validate_core_update
from meshpass.apiserver.modelschema import OBJECT_META
from meshpass.apiserver.objectmeta import validate_metadata
from meshpass.apiserver.resource import Resource
from meshpass.apiserver.ruletree import MISSING
from meshpass.apiserver.schemavalidation import DECODED, STRICT, json_type, validate_schema

_BLOCKING: Final = frozenset(
    {
        CauseReason.NOT_SUPPORTED,
        CauseReason.REQUIRED,
        CauseReason.TOO_LONG,
        CauseReason.TOO_MANY,
        CauseReason.TYPE_INVALID,
    }
)
_NOT_CHECKED: Final = (
    "some validation rules were not checked because the object was invalid;"
    " correct the existing errors to complete validation"
)

__all__ = ["NO_FIELD", "Cause", "CauseReason", "aggregate_message", "validate", "validate_update"]


def validate(resource: Resource, obj: Any) -> tuple[Cause, ...]:
    """Every fault of an object that is about to be stored, none twice; empty when it may be.

    Expects what the server adds to be there already: the name made from ``generateName``, the namespace of the URL,
    defaults applied, unknown fields pruned. Any JSON value may be passed.
    """
    return _validate(resource, obj, MISSING)


def validate_update(resource: Resource, obj: Any, old: Mapping[str, Any]) -> tuple[Cause, ...]:
    """Every fault of an object that is about to replace ``old``: those of ``validate``, and changes that are not allowed."""
    changes = tuple(validate_core_update(resource, obj, old)) if isinstance(obj, Mapping) else ()
    return (*_validate(resource, obj, old), *changes)


def _validate(resource: Resource, obj: Any, old: Any) -> tuple[Cause, ...]:
    if not isinstance(obj, Mapping):
        kind = json_type(obj)
        return (type_invalid(NO_FIELD, kind, f'{NO_FIELD} in body must be of type object: "{kind}"'),)
    causes = dict.fromkeys(_causes(resource, obj))
    if resource.rules is None:
        return tuple(causes)
    # Expressions read the object as its schema has it; with something else in place they would only fail.
    if any(cause.reason in _BLOCKING for cause in causes):
        return (*causes, invalid(NO_FIELD, "null", _NOT_CHECKED))
    return (*causes, *resource.rules.judge(obj, old))


def _causes(resource: Resource, obj: Mapping[str, Any]) -> Iterator[Cause]:
    metadata = obj.get("metadata")
    if isinstance(metadata, Mapping):
        yield from validate_metadata(resource, metadata)
        yield from validate_schema(OBJECT_META, metadata, "metadata", DECODED)
    elif metadata is None:
        yield from validate_metadata(resource, {})
    else:
        kind = json_type(metadata)
        yield type_invalid("metadata", kind, f'metadata in body must be of type object: "{kind}"')
    body = {key: value for key, value in obj.items() if key != "metadata"}
    if not resource.builtin:
        schema = {
            **resource.schema,
            "required": [key for key in resource.schema.get("required", ()) if key != "metadata"],
        }
        yield from validate_schema(schema, body, "", STRICT)
        return
    faults = validate_schema(resource.schema, body, "", DECODED)
    yield from faults
    if not faults:
        # The rules below read the object as its kind's type; with another one in place they would guess.
        yield from validate_core(resource, obj)
