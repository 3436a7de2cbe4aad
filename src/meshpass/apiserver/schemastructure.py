"""The rules that make a CRD's schema structural (apiextensions ``schema/validation.go``).

In short: each field is specified once, outside of allOf, anyOf, oneOf and not, so that unknown fields can be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from meshpass.apiserver.cause import Cause, forbidden, invalid, not_supported, required, type_invalid
from meshpass.apiserver.ruledefinition import RULES_SCHEMA, rule_causes
from meshpass.apiserver.schemavalidation import STRICT, json_type, validate_schema
from meshpass.regex import RegexError, compile_regex

_TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED: Final = (
    "$ref",
    "definitions",
    "dependencies",
    "patternProperties",
    "additionalItems",
    "deprecated",
    "id",
)
_INT_OR_STRING_ANY_OF: Final = [{"type": "integer"}, {"type": "string"}]
_EMPTY_IN_JUNCTORS: Final[Mapping[str, str]] = {
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "externalDocs": "must be undefined to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}

_BOOLEAN: Final = {"type": "boolean"}
_COUNT: Final = {"type": "integer", "format": "int64", "minimum": 0}
_NUMBER: Final = {"type": "number"}
_OBJECT: Final = {"type": "object"}
_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_SCHEMAS: Final = {"type": "array", "items": _OBJECT}
_KEYWORDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "allOf": _SCHEMAS,
    "anyOf": _SCHEMAS,
    "description": _TEXT,
    "enum": {"type": "array"},
    "exclusiveMaximum": _BOOLEAN,
    "exclusiveMinimum": _BOOLEAN,
    "format": _TEXT,
    "maxItems": _COUNT,
    "maxLength": _COUNT,
    "maxProperties": _COUNT,
    "maximum": _NUMBER,
    "minItems": _COUNT,
    "minLength": _COUNT,
    "minProperties": _COUNT,
    "minimum": _NUMBER,
    "multipleOf": _NUMBER,
    "not": _OBJECT,
    "nullable": _BOOLEAN,
    "oneOf": _SCHEMAS,
    "pattern": _TEXT,
    "properties": {"type": "object", "additionalProperties": _OBJECT},
    "required": _TEXTS,
    "title": _TEXT,
    "type": _TEXT,
    "uniqueItems": _BOOLEAN,
    "x-kubernetes-embedded-resource": _BOOLEAN,
    "x-kubernetes-int-or-string": _BOOLEAN,
    "x-kubernetes-list-map-keys": _TEXTS,
    "x-kubernetes-list-type": _TEXT,
    "x-kubernetes-map-type": _TEXT,
    "x-kubernetes-preserve-unknown-fields": _BOOLEAN,
    "x-kubernetes-validations": RULES_SCHEMA,
}
"""The words of the schema language that this server reads, and what their values must be."""


def validate_structure(schema: Mapping[str, Any], field: str, *, status_subresource: bool) -> tuple[Cause, ...]:
    """Every fault of the schema of one version, which stands at ``field``; sorted, as Kubernetes sorts them."""
    causes = set(_root_causes(schema, field, status_subresource))
    # Rules are read by the types of a sound schema.
    return tuple(sorted(causes or set(rule_causes(schema, field)), key=str))


def _root_causes(schema: Mapping[str, Any], field: str, status_subresource: bool) -> Iterator[Cause]:
    if status_subresource:
        allowed = {
            "properties",
            "required",
            "type",
            "description",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-validations",
        }
        if set(schema) - allowed:
            text = (
                "only [description example properties required title type X-Kubernetes-Preserve-Unknown-Fields X-Kubernetes-Validations] "
                "fields are allowed at the root of the schema if the status subresource is enabled"
            )
            yield invalid(field, sorted(schema), text)
    if schema.get("type") not in {None, "object"}:
        yield invalid(f"{field}.type", schema.get("type"), "must be object at the root")
    if "additionalProperties" in schema:
        yield forbidden(f"{field}.additionalProperties", "must not be used at the root")
    yield from _node_causes(schema, field, "must not be empty at the root")
    metadata = _map(_map(schema.get("properties")).get("metadata"))
    text = "must not specify anything other than name and generateName, but metadata is implicitly specified"
    if set(metadata) - {"type", "properties"} or set(_map(metadata.get("properties"))) - {"name", "generateName"}:
        yield forbidden(f"{field}.properties[metadata]", text)


def _node_causes(schema: Any, field: str, type_text: str) -> Iterator[Cause]:
    faults = tuple(_keyword_causes(schema, field)) or tuple(_specified_causes(schema, field, type_text))
    yield from faults
    if not faults and "default" in schema:
        yield from validate_schema(schema, schema["default"], f"{field}.default", STRICT)


def _keyword_causes(schema: Any, field: str) -> Iterator[Cause]:
    """Words of the schema language with values of a wrong JSON type; a schema that has none is safe to read."""
    if not isinstance(schema, Mapping):
        yield _wrong_type(schema, field, "object")
        return
    for keyword, expected in _KEYWORDS.items():
        if keyword in schema:
            yield from validate_schema(expected, schema[keyword], f"{field}.{keyword}", STRICT)


def _wrong_type(value: Any, field: str, expected: str) -> Cause:
    actual = json_type(value)
    return type_invalid(field, actual, f'{field} in body must be of type {expected}: "{actual}"')


def _specified_causes(schema: Mapping[str, Any], field: str, type_text: str) -> Iterator[Cause]:
    yield from _type_causes(schema, field, type_text)
    yield from (forbidden(f"{field}.{key}", f"{key} is not supported") for key in _UNSUPPORTED if key in schema)
    if schema.get("uniqueItems"):
        yield forbidden(
            f"{field}.uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        )
    items = schema.get("items")
    if isinstance(items, Mapping):
        yield from _node_causes(items, f"{field}.items", "must not be empty for specified array items")
    elif items is not None:
        yield forbidden(f"{field}.items", "items must be a schema object and not an array")
    elif schema.get("type") == "array":
        yield required(f"{field}.items", "must be specified")
    for key, child in _map(schema.get("properties")).items():
        yield from _node_causes(child, f"{field}.properties[{key}]", "must not be empty for specified object fields")
    others = schema.get("additionalProperties")
    if others is not None and not isinstance(others, bool | Mapping):
        yield _wrong_type(others, f"{field}.additionalProperties", "object,boolean")
    if others is not None and schema.get("properties") and others is not True:
        yield forbidden(f"{field}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    if isinstance(others, Mapping):
        place = f"{field}.additionalProperties"
        yield from _node_causes(others, place, "must not be empty for specified object fields")
    yield from _extension_causes(schema, field)
    yield from _value_causes(schema, schema, field)


def _type_causes(schema: Mapping[str, Any], field: str, type_text: str) -> Iterator[Cause]:
    kind = schema.get("type")
    if kind and kind not in _TYPES:
        yield not_supported(f"{field}.type", kind, _TYPES)
    if schema.get("x-kubernetes-embedded-resource") and kind != "object":
        text = "must be object if x-kubernetes-embedded-resource is true"
        yield invalid(f"{field}.type", kind, text) if kind else required(f"{field}.type", text)
    elif (
        not kind
        and not schema.get("x-kubernetes-int-or-string")
        and not schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        yield required(f"{field}.type", type_text)


def _extension_causes(schema: Mapping[str, Any], field: str) -> Iterator[Cause]:
    if schema.get("x-kubernetes-int-or-string"):
        for key in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
            if schema.get(key):
                yield invalid(f"{field}.{key}", True, "must be false if x-kubernetes-int-or-string is true")
    list_type = schema.get("x-kubernetes-list-type")
    if list_type is None:
        return
    if list_type not in {"atomic", "map", "set"}:
        yield not_supported(f"{field}.x-kubernetes-list-type", list_type, ("atomic", "map", "set"))
    if schema.get("type") != "array":
        yield invalid(f"{field}.type", schema.get("type"), "must be array if x-kubernetes-list-type is specified")
    if list_type == "map":
        yield from _map_key_causes(schema, field)


def _map_key_causes(schema: Mapping[str, Any], field: str) -> Iterator[Cause]:
    keys = schema.get("x-kubernetes-list-map-keys")
    if not keys:
        yield required(f"{field}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map")
    item = _map(schema.get("items"))
    properties = _map(item.get("properties"))
    for key in keys or ():
        if key not in properties:
            yield invalid(f"{field}.x-kubernetes-list-map-keys", key, "entries must all be names of item properties")
        elif key not in (item.get("required") or ()) and "default" not in _map(properties[key]):
            text = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            yield required(f"{field}.items.properties[{key}].default", text)


def _value_causes(schema: Mapping[str, Any], outer: Mapping[str, Any], field: str) -> Iterator[Cause]:
    """The pattern of a node and its junctors; ``outer`` is the structural node that the junctors belong to."""
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and pattern:
        try:
            compile_regex(pattern)
        except RegexError as error:
            text = f"must be a valid regular expression, but isn't: {error}"
            yield invalid(f"{field}.pattern", pattern, text)
    int_or_string = bool(outer.get("x-kubernetes-int-or-string"))
    for junctor in ("anyOf", "allOf", "oneOf"):
        if junctor == "anyOf" and int_or_string and schema.get("anyOf") == _INT_OR_STRING_ANY_OF:
            continue
        for index, part in enumerate(schema.get(junctor) or ()):
            yield from _nested_causes(part, outer, f"{field}.{junctor}[{index}]")
    if "not" in schema:
        yield from _nested_causes(schema["not"], outer, f"{field}.not")


def _nested_causes(schema: Any, outer: Mapping[str, Any], field: str) -> Iterator[Cause]:
    if faults := tuple(_keyword_causes(schema, field)):
        yield from faults
        return
    yield from (forbidden(f"{field}.{key}", text) for key, text in _EMPTY_IN_JUNCTORS.items() if schema.get(key))
    yield from _value_causes(schema, outer, field)
    known = _map(outer.get("properties"))
    for key, child in _map(schema.get("properties")).items():
        place = f"{field}.properties[{key}]"
        if key == "metadata":
            yield forbidden(place, "must not be specified in a nested context")
        if key not in known and "additionalProperties" not in outer:
            specified = f"{_structural_place(field)}.properties[{key}]"
            yield required(specified, f"because it is defined in {place}")
        yield from _nested_causes(child, _map(known.get(key)), place)
    if "items" in schema:
        if json_type(outer.get("items")) != "object":
            yield required(f"{_structural_place(field)}.items", f"because it is defined in {field}.items")
        yield from _nested_causes(schema["items"], _map(outer.get("items")), f"{field}.items")


def _structural_place(field: str) -> str:
    """The same place outside of junctors."""
    return re.sub(r"\.(anyOf|allOf|oneOf)\[\d+\]|\.not(?=\.|$)", "", field)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
