"""Values against structural OpenAPI v3 schemas, with the error texts of Kubernetes (kube-openapi ``validation/validate``).

The order of faults is Kubernetes' own too: a node's type, then its junctors (anyOf, oneOf, allOf, not), then the rules
of its type, then its children.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from meshpass.apiserver.cause import (
    NO_FIELD,
    Cause,
    duplicate,
    invalid,
    not_supported,
    render_value,
    required,
    too_long,
    too_many,
    type_invalid,
)
from meshpass.apiserver.stringformat import matches_format
from meshpass.regex import RegexError, compile_regex

_INT_OR_STRING: Final = "x-kubernetes-int-or-string"
_JUNCTORS: Final = frozenset({"anyOf", "oneOf", "allOf", "not"})
_INTEGER_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaRules:
    """How strictly a schema is taken.

    Kubernetes decodes its own kinds into structs, where a missing field is a zero value and null is nothing at all;
    custom resources are held to their schema as it stands.
    """

    enforce_required: bool = True
    allow_null: bool = False


STRICT: Final = SchemaRules()
DECODED: Final = SchemaRules(enforce_required=False, allow_null=True)


def validate_schema(schema: Mapping[str, Any], value: Any, path: str, rules: SchemaRules = STRICT) -> tuple[Cause, ...]:
    """Every fault of ``value``, which stands at ``path`` (empty for the whole object)."""
    causes: list[Cause] = []
    _validate(schema, value, path, rules, causes)
    return tuple(causes)


def json_type(value: Any) -> str:
    """The JSON Schema name of a value's type; whole floats are integers only to ``integer`` schemas."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list() | tuple():
            return "array"
        case Mapping():
            return "object"
        case _:
            return type(value).__name__


def _validate(schema: Mapping[str, Any], value: Any, path: str, rules: SchemaRules, causes: list[Cause]) -> int:
    """Append every fault of one node and all below it; return how much of it matched, which ranks alternatives."""
    if value is None and rules.allow_null:
        return 1
    matches = 1
    fault = _type_fault(schema, value, path)
    if fault:
        causes.append(fault)
    if value is None:
        # A null is judged by its type and by an enumeration alone.
        causes += _enum_causes(schema, value, path)
        return matches
    matches += not fault
    if not _JUNCTORS.isdisjoint(schema):
        matches += _judge_junctors(schema, value, path, rules, causes)
    if isinstance(value, dict):
        causes += _enum_causes(schema, value, path)
        return matches + _validate_object(schema, value, path, rules, causes)
    if isinstance(value, str):
        causes += _string_causes(schema, value, path)
    elif isinstance(value, list):
        matches += _validate_items(schema, value, path, rules, causes)
    elif not isinstance(value, bool):
        causes += _number_causes(schema, value, path)
    if "enum" in schema:
        causes += _enum_causes(schema, value, path)
    return matches


_PYTHON_TYPES: Final[Mapping[Any, type]] = {
    "string": str,
    "object": dict,
    "array": list,
    "boolean": bool,
    "integer": int,
}


def _type_fault(schema: Mapping[str, Any], value: Any, path: str) -> Cause | None:
    declared = schema.get("type")
    if type(value) is _PYTHON_TYPES.get(declared):
        return None
    expected = ("integer", "string") if schema.get(_INT_OR_STRING) else _as_tuple(declared)
    actual = json_type(value)
    if not expected or actual in expected or (value is None and schema.get("nullable")):
        return None
    if "number" in expected and actual == "integer":
        return None
    if "integer" in expected and isinstance(value, float) and value.is_integer():
        return None
    return type_invalid(path or NO_FIELD, actual, f'{path} in body must be of type {",".join(expected)}: "{actual}"')


def _as_tuple(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) and value else ()


def _enum_causes(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[Cause]:
    choices = schema.get("enum")
    if choices and not any(json_type(choice) == json_type(value) and choice == value for choice in choices):
        texts = (choice if isinstance(choice, str) else render_value(choice) for choice in choices)
        yield not_supported(path or NO_FIELD, value, texts)


def _judge_junctors(schema: Mapping[str, Any], value: Any, path: str, rules: SchemaRules, causes: list[Cause]) -> int:
    told = {key: schema[key] for key in _JUNCTORS if key in schema}
    if rules.enforce_required and isinstance(value, dict) and _has_fields(told, value):
        # Most junctors say which fields go together, most objects keep to it, and the general walk takes twenty times
        # as long to come to the same: each part of allOf matches by its type (it has none) and as a whole.
        return 2 * len(told.get("allOf") or ())
    return _validate_junctors(schema, value, path, rules, causes)


def _validate_junctors(
    schema: Mapping[str, Any], value: Any, path: str, rules: SchemaRules, causes: list[Cause]
) -> int:
    matches = 0
    if (alternatives := schema.get("anyOf")) and not schema.get(_INT_OR_STRING):
        judged = _judge(alternatives, value, path, rules)
        if all(found for _, found in judged):
            causes.append(_junctor_cause(path, "must validate at least one schema (anyOf)"))
            matches += _add_best(judged, causes)
    if alternatives := schema.get("oneOf"):
        judged = _judge(alternatives, value, path, rules)
        valid = sum(not found for _, found in judged)
        if valid != 1:
            tail = f"Found {valid} valid alternatives" if valid else "Found none valid"
            causes.append(_junctor_cause(path, f"must validate one and only one schema (oneOf). {tail}"))
        if valid == 0:
            matches += _add_best(judged, causes)
    if parts := schema.get("allOf"):
        judged = _judge(parts, value, path, rules)
        for matched, found in judged:
            matches += matched
            causes += found
        failed = sum(bool(found) for _, found in judged)
        if failed:
            tail = ". None validated" if failed == len(judged) else ""
            causes.append(_junctor_cause(path, f"must validate all the schemas (allOf){tail}"))
    if (negated := schema.get("not")) is not None and not _judge([negated], value, path, rules)[0][1]:
        causes.append(_junctor_cause(path, "must not validate the schema (not)"))
    return matches


def _has_fields(schema: Mapping[str, Any], value: Mapping[str, Any]) -> bool | None:
    """Whether a schema that asks for fields and nothing else is kept; ``None`` for any other schema."""
    for key, part in schema.items():
        if key == "required":
            kept: bool | None = all(name in value for name in part)
        elif key == "not":
            inner = _has_fields(part, value)
            kept = None if inner is None else not inner
        elif key in _JUNCTORS:
            found = [_has_fields(inner, value) for inner in part]
            kept = None if None in found else _joined(key, found.count(True), len(found))
        else:
            kept = None
        if not kept:
            return kept
    return True


def _joined(junctor: str, valid: int, parts: int) -> bool:
    match junctor:
        case "allOf":
            return valid == parts
        case "oneOf":
            return valid == 1 or not parts
        case _:
            return valid > 0 or not parts


def _judge(
    alternatives: Iterable[Mapping[str, Any]], value: Any, path: str, rules: SchemaRules
) -> list[tuple[int, list[Cause]]]:
    judged = []
    for alternative in alternatives:
        found: list[Cause] = []
        judged.append((_validate(alternative, value, path, rules, found), found))
    return judged


def _add_best(judged: list[tuple[int, list[Cause]]], causes: list[Cause]) -> int:
    """The faults of the alternative that came nearest are told."""
    matched, found = max(judged, key=lambda one: one[0])
    causes += found
    return matched


def _junctor_cause(path: str, text: str) -> Cause:
    return invalid(NO_FIELD, "", f"{render_value(path)} {text}")


def _string_causes(schema: Mapping[str, Any], value: str, path: str) -> Iterator[Cause]:
    longest, shortest, pattern = schema.get("maxLength"), schema.get("minLength"), schema.get("pattern")
    if longest is not None and len(value) > longest:
        yield too_long(path, longest)
    elif shortest is not None and len(value) < shortest:
        yield invalid(path, value, f"{path} in body should be at least {shortest} chars long")
    elif pattern:
        try:
            matched = compile_regex(pattern).is_in(value)
        except RegexError as error:
            matched = False
            pattern = f"{pattern}, but pattern is invalid: {error}"
        if not matched:
            yield invalid(path, value, f"{path} in body should match '{pattern}'")
    name = schema.get("format")
    if name and schema.get("type") == "string" and not matches_format(name, value):
        if name == "byte":
            # These are the values of Secrets: an error must not repeat them.
            yield type_invalid(path, "string", f"{path} in body must be of type byte")
        else:
            yield type_invalid(path, value, f"{path} in body must be of type {name}: {render_value(value)}")


def _number_causes(schema: Mapping[str, Any], value: float, path: str) -> Iterator[Cause]:
    bounds = _INTEGER_RANGES.get(schema.get("format", ""))
    if bounds and schema.get("type") == "integer" and not bounds[0] <= value <= bounds[1]:
        yield invalid(NO_FIELD, "", f"Checked value must be of type integer with format {schema['format']} in {path}")
    factor = schema.get("multipleOf")
    if factor and value % factor:
        yield invalid(path, value, f"{path} in body should be a multiple of {render_value(factor)}")
    minimum, maximum = schema.get("minimum"), schema.get("maximum")
    open_below, open_above = bool(schema.get("exclusiveMinimum")), bool(schema.get("exclusiveMaximum"))
    if minimum is not None and (value < minimum or (open_below and value == minimum)):
        text = "greater than" if open_below else "greater than or equal to"
        yield invalid(path, value, f"{path} in body should be {text} {render_value(minimum)}")
    if maximum is not None and (value > maximum or (open_above and value == maximum)):
        text = "less than" if open_above else "less than or equal to"
        yield invalid(path, value, f"{path} in body should be {text} {render_value(maximum)}")


def _validate_items(
    schema: Mapping[str, Any], value: list[Any], path: str, rules: SchemaRules, causes: list[Cause]
) -> int:
    matches = 0
    items = schema.get("items")
    if isinstance(items, Mapping):
        for index, item in enumerate(value):
            matches += _validate(items, item, f"{path}[{index}]", rules, causes)
    fewest, most = schema.get("minItems"), schema.get("maxItems")
    if fewest is not None and len(value) < fewest:
        causes.append(invalid(path, len(value), f"{path} in body should have at least {fewest} items"))
    if most is not None and len(value) > most:
        causes.append(too_many(path, len(value), most))
    if schema.get("uniqueItems") and len({_identity(item) for item in value}) < len(value):
        causes.append(invalid(path, "", f"{path} in body shouldn't contain duplicates"))
    if rules.enforce_required:
        causes += _list_type_causes(schema, value, path)
    return matches


def _list_type_causes(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[Cause]:
    list_type = schema.get("x-kubernetes-list-type")
    if list_type not in {"set", "map"}:
        return
    seen: set[str] = set()
    for index, item in enumerate(value):
        key = item
        if list_type == "map":
            if not isinstance(item, Mapping):
                continue
            key = {name: item[name] for name in schema.get("x-kubernetes-list-map-keys", ()) if name in item}
        if _identity(key) in seen:
            yield duplicate(f"{path}[{index}]", key)
        seen.add(_identity(key))


def _identity(value: Any) -> str:
    return f"{json_type(value)} {render_value(value)}"


def _validate_object(
    schema: Mapping[str, Any], value: dict[str, Any], path: str, rules: SchemaRules, causes: list[Cause]
) -> int:
    fewest, most = schema.get("minProperties"), schema.get("maxProperties")
    if fewest is not None and len(value) < fewest:
        causes.append(invalid(path, fewest, f"{path} in body should have at least {fewest} properties"))
        return 0
    if most is not None and len(value) > most:
        causes.append(too_many(path, len(value), most))
        return 0
    matches = 0
    properties: Mapping[str, Any] = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    for key, item in value.items():
        place = f"{path}.{key}" if path else key
        if key in properties:
            matches += _validate(properties[key], item, place, rules, causes)
        elif isinstance(others, Mapping):
            matches += _validate(others, item, place, rules, causes)
        elif others is False:
            causes.append(invalid(path, key, f"{path}.{key} in body is a forbidden property"))
    if rules.enforce_required:
        causes += [
            required(f"{path}.{key}" if path else key) for key in schema.get("required") or () if key not in value
        ]
        if schema.get("x-kubernetes-embedded-resource"):
            missing = [key for key in ("apiVersion", "kind") if not value.get(key)]
            causes += [required(f"{path}.{key}", "must not be empty") for key in missing]
    return matches
