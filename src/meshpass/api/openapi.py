"""Types → structural OpenAPI v3 schemas, as CustomResourceDefinitions have them: no references, nothing outside a type."""

from __future__ import annotations

import inspect as pyinspect
from typing import Any

import msgspec
from msgspec import inspect

from meshpass.api.metadata import ApiObject
from meshpass.api.struct import ApiStruct, OneOfStruct, Rule, wire_names

Schema = dict[str, Any]

_INT32_MAX = 2**31 - 1
_INT64_MAX = 2**63 - 1
_SAID_BY_RULES = frozenset({"enum", "minItems", "minLength"})


def object_schema(object_type: type[ApiObject]) -> Schema:
    """The schema of a whole object: apiVersion, kind, metadata and what its type has beside metadata."""
    schema = struct_schema(object_type)
    fields: Schema = schema["properties"]
    # A spec that needs something cannot be left out.
    required = {"required": ["spec"]} if _needs_something(object_type, fields["spec"]) else {}
    return {
        "type": "object",
        "description": schema["description"],
        **required,
        "properties": {
            "apiVersion": {"type": "string", "description": "Group and version of the schema of this object"},
            "kind": {"type": "string", "description": "Kind of this object"},
            # Kubernetes describes metadata itself and refuses a schema that says more than this.
            "metadata": {"type": "object"},
            **{name: field for name, field in fields.items() if name != "metadata"},
        },
    }


def _needs_something(object_type: type[ApiObject], schema: Schema) -> bool:
    spec = next(field.default for field in msgspec.structs.fields(object_type) if field.name == "spec")
    return "required" in schema or bool(getattr(spec, "needs", ()))


def struct_schema(struct: type[ApiStruct]) -> Schema:
    """The schema of a type. Fields that are not on the wire as ``null`` are nullable only where the API has a wrapper type."""
    return _schema(inspect.type_info(struct))


def _schema(kind: inspect.Type) -> Schema:
    match kind:
        case inspect.Metadata():
            return _schema(kind.type) | (kind.extra_json_schema or {})
        case inspect.UnionType():
            return _union_schema(kind)
        case inspect.StructType():
            return _struct_schema(kind)
        case inspect.DictType():
            return {"type": "object", "additionalProperties": _schema(kind.value_type)}
        case inspect.VarTupleType():
            limits = _bounds(minItems=kind.min_length, maxItems=kind.max_length)
            return {"type": "array", "items": _schema(kind.item_type)} | limits
        case _:
            return _leaf_schema(kind)


def _leaf_schema(kind: inspect.Type) -> Schema:
    match kind:
        case inspect.EnumType():
            return {"type": "string", "enum": [member.value for member in kind.cls]}
        case inspect.StrType():
            limits = _bounds(minLength=kind.min_length, maxLength=kind.max_length, pattern=kind.pattern)
            return {"type": "string"} | limits
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType():
            # int32 only where every value fits: a uint32 is an int64 to Kubernetes, and int64 needs no limits.
            fits = kind.le is not None and kind.le <= _INT32_MAX
            limits = {} if kind.le == _INT64_MAX else _bounds(minimum=kind.ge, maximum=kind.le)
            return {"type": "integer", "format": "int32" if fits else "int64"} | limits
        case inspect.FloatType():
            return {"type": "number", "format": "double"}
        case _:  # pragma: no cover - a kind that uses another type fails the test of its CRD
            raise TypeError(f"no schema for {kind}")


def _bounds(**limits: int | str | None) -> Schema:
    return {name: limit for name, limit in limits.items() if limit is not None}


def _union_schema(kind: inspect.UnionType) -> Schema:
    # Every union of our kinds is "something or unset".
    (member,) = (member for member in kind.types if not isinstance(member, inspect.NoneType))
    return _schema(member)


def _struct_schema(kind: inspect.StructType) -> Schema:
    struct = kind.cls
    rules: tuple[Rule, ...] = getattr(struct, "rules", ())
    told = {name for rule in rules for name in rule.instead_of}
    schema: Schema = {"type": "object", "description": first_line(struct)}
    if kind.fields:
        schema["properties"] = {
            field.encode_name: _bare(_schema(field.type)) if field.name in told else _schema(field.type)
            for field in kind.fields
        }
    groups = _group_rules(struct, told)
    names = wire_names(struct)
    required = [field.encode_name for field in kind.fields if field.required and field.name not in told] + [
        names[group[0]] for group in _needs(struct) if len(group) == 1 and group[0] not in told
    ]
    if required:
        schema["required"] = sorted(required)
    if len(groups) == 1:
        schema |= groups[0]
    elif groups:
        schema["allOf"] = groups
    for rule in rules:
        node = schema["properties"][names[rule.items_of]]["items"] if rule.items_of else schema
        node.setdefault("x-kubernetes-validations", []).append({"rule": rule.expression, "message": rule.message})
    return schema


def _bare(schema: Schema) -> Schema:
    """The schema without what a rule says instead; limits of size stay, since the cost of rules is reckoned from them."""
    choices = schema.get("enum")
    longest = {"maxLength": max(map(len, choices))} if choices else {}
    return {key: value for key, value in schema.items() if key not in _SAID_BY_RULES} | longest


def _needs(struct: type[msgspec.Struct]) -> tuple[tuple[str, ...], ...]:
    return tuple(getattr(struct, "needs", ()))


def _group_rules(struct: type[msgspec.Struct], told: set[str]) -> list[Schema]:
    """One rule per group of fields; they hold ``required`` alone, which is what a structural schema allows in a rule."""
    rules: list[Schema] = []
    names = wire_names(struct)
    if issubclass(struct, OneOfStruct):
        for group in struct.one_of:
            present = [{"required": [names[name]]} for name in group]
            rules.append({"oneOf": [{"not": {"anyOf": present}}, *present]})
    needs = (group for group in _needs(struct) if len(group) > 1 and not told.issuperset(group))
    return [*rules, *({"anyOf": [{"required": [names[name]]} for name in group]} for group in needs)]


def first_line(struct: type) -> str:
    """The first line of a type's docstring, which says what the type is."""
    return (pyinspect.getdoc(struct) or "").split("\n", 1)[0]
