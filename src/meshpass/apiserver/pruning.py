"""Fields that a schema does not specify: found by strict decoding, dropped before an object is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from meshpass.apiserver.modelschema import OBJECT_META
from meshpass.apiserver.resource import Resource

_PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED: Final = "x-kubernetes-embedded-resource"
_TYPE_META: Final[Mapping[str, Any]] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": OBJECT_META,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownField:
    """A field that no schema specifies, at its path, and the names that were possible in its place."""

    path: str
    name: str
    known: tuple[str, ...]


@dataclass(slots=True)
class _Pruner:
    unknown: list[UnknownField] = field(default_factory=list)

    def prune(self, schema: Mapping[str, Any], value: Any, path: str, *, drop_nulls: bool = False) -> Any:
        if isinstance(value, dict):
            return self._prune_object(schema, value, path, drop_nulls)
        if isinstance(value, list):
            items = schema.get("items")
            if isinstance(items, Mapping):
                return [
                    self.prune(items, item, f"{path}[{index}]", drop_nulls=drop_nulls)
                    for index, item in enumerate(value)
                ]
        return value

    def _prune_object(
        self, schema: Mapping[str, Any], value: dict[str, Any], path: str, drop_nulls: bool
    ) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties") or {}
        if schema.get(_EMBEDDED):
            properties = {**properties, **_TYPE_META}
        others = schema.get("additionalProperties")
        kept: dict[str, Any] = {}
        for key, item in value.items():
            place = f"{path}.{key}" if path else key
            if key in properties:
                # Kubernetes decodes its own types from JSON, where null is the same as nothing.
                decoded = drop_nulls or properties[key] is OBJECT_META
                if item is not None or not drop_nulls:
                    kept[key] = self.prune(properties[key], item, place, drop_nulls=decoded)
            elif isinstance(others, Mapping):
                kept[key] = self.prune(others, item, place, drop_nulls=drop_nulls)
            elif others is True or schema.get(_PRESERVE):
                kept[key] = item
            else:
                self.unknown.append(UnknownField(path=place, name=key, known=tuple(properties)))
        return kept


def prune(resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
    """The object without the fields that its schema does not specify, and without nulls where Kubernetes decodes types.

    What stands under ``x-kubernetes-preserve-unknown-fields`` stays. The argument is unchanged; the result shares
    what it did not have to change.
    """
    return prune_and_tell(resource, obj)[0]


def prune_and_tell(resource: Resource, obj: Mapping[str, Any]) -> tuple[dict[str, Any], list[UnknownField]]:
    """What ``prune`` returns, and every field that it dropped for being unknown, in the order of the object."""
    pruner = _Pruner()
    schema = {**resource.schema, "properties": {**_TYPE_META, **(resource.schema.get("properties") or {})}}
    schema["properties"]["metadata"] = OBJECT_META
    kept: dict[str, Any] = pruner.prune(schema, dict(obj), "", drop_nulls=resource.builtin)
    return kept, pruner.unknown
