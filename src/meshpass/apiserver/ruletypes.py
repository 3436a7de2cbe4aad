"""The type of a schema's values in the Common Expression Language, so that an expression can be checked without a value.

All that is protobuf of it: types, the syntax of expressions, times.

The types of Kubernetes (apiserver ``pkg/cel/common/schemas.go``) in protobuf descriptors, which is how the language
knows records. Descriptors have no list of lists and no map of lists: the inner ones hold anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from cel.expr.checked_pb2 import CheckedExpr  # type: ignore[import-untyped]
from cel_expr_python import cel
from google.protobuf import any_pb2, duration_pb2, struct_pb2, timestamp_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from meshpass.apiserver.rulename import identifier

_PACKAGE: Final = "schema"
_IMPORTED: Final = (duration_pb2, struct_pb2, timestamp_pb2)
_SCALARS: Final = {
    "bool": (FieldDescriptorProto.TYPE_BOOL, cel.Type.BOOL),
    "bytes": (FieldDescriptorProto.TYPE_BYTES, cel.Type.BYTES),
    "double": (FieldDescriptorProto.TYPE_DOUBLE, cel.Type.DOUBLE),
    "int": (FieldDescriptorProto.TYPE_INT64, cel.Type.INT),
    "string": (FieldDescriptorProto.TYPE_STRING, cel.Type.STRING),
}
_KNOWN_MESSAGES: Final = {
    "duration": (".google.protobuf.Duration", cel.Type.DURATION),
    "dyn": (".google.protobuf.Value", cel.Type.DYN),
    "timestamp": (".google.protobuf.Timestamp", cel.Type.TIMESTAMP),
}
_FORMATS: Final = {"byte": "bytes", "date": "timestamp", "date-time": "timestamp", "duration": "duration"}
_NAMES: Final = {"boolean": "bool", "integer": "int", "number": "double"}
_TEXT: Final[Mapping[str, Any]] = {"type": "string"}
_META: Final[Mapping[str, Any]] = {"type": "object", "properties": {"name": _TEXT, "generateName": _TEXT}}


class RuleType(NamedTuple):
    """The type of ``self``, with the descriptors that it refers to."""

    type: cel.Type
    pool: DescriptorPool


class _Shape(NamedTuple):
    """``list`` and ``map`` have an inner shape; ``message`` has a name; the rest is a word of the language."""

    word: str
    inner: Any = None


def rule_type(schema: Mapping[str, Any], *, is_root: bool) -> RuleType | None:
    """The type of the values of a schema node; ``None`` where Kubernetes knows none, so that no rule may stand there.

    The root of an object has apiVersion, kind, metadata.name and metadata.generateName, whatever its schema says.
    """
    file = FileDescriptorProto(name="schema.proto", package=_PACKAGE, syntax="proto2")
    shape = _shape(with_object_meta(schema) if is_root else schema, file)
    if shape is None:
        return None
    pool = DescriptorPool()
    for module in _IMPORTED:
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        file.dependency.append(module.DESCRIPTOR.name)
    pool.AddSerializedFile(file.SerializeToString())
    return RuleType(_language_type(shape), pool)


def with_object_meta(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of an object as rules at its root see it: of its metadata the names alone."""
    own = schema.get("properties") or {}
    return {**schema, "type": "object", "properties": {**own, "apiVersion": _TEXT, "kind": _TEXT, "metadata": _META}}


def syntax(checked: bytes) -> Any:
    """The ``cel.expr.Expr`` of a serialised expression."""
    found = CheckedExpr()
    any_pb2.Any.FromString(checked).Unpack(found)
    return found.expr


def as_timestamp(text: str) -> Any:
    """The time that an RFC 3339 text, or its date alone, means. Raises ValueError."""
    stamp = timestamp_pb2.Timestamp()
    stamp.FromJsonString(text if "T" in text.upper() else f"{text}T00:00:00Z")
    return stamp


def as_duration(nanoseconds: int) -> Any:
    """A length of time."""
    found = duration_pb2.Duration()
    found.FromNanoseconds(nanoseconds)
    return found


def _shape(schema: Any, file: FileDescriptorProto) -> _Shape | None:
    if not isinstance(schema, Mapping):
        return None
    if schema.get("x-kubernetes-int-or-string"):
        return _Shape("dyn")
    match schema.get("type"):
        case "array":
            inner = _shape(schema.get("items"), file)
            return _Shape("list", inner) if inner else None
        case "object" if isinstance(schema.get("additionalProperties"), Mapping):
            inner = _shape(schema["additionalProperties"], file)
            return _Shape("map", inner) if inner else None
        case "object":
            return _message(schema, file)
        case "string":
            return _Shape(_FORMATS.get(schema.get("format", ""), "string"))
        case "boolean" | "integer" | "number" as name:
            return _Shape(_NAMES[name])
        case _:
            return None


def _message(schema: Mapping[str, Any], file: FileDescriptorProto) -> _Shape:
    message = DescriptorProto()
    for name, inner in (schema.get("properties") or {}).items():
        called = identifier(name)
        embedded = isinstance(inner, Mapping) and bool(inner.get("x-kubernetes-embedded-resource"))
        shape = _shape(with_object_meta(inner) if embedded else inner, file)
        if called is not None and shape is not None:
            _add_field(message, called, shape)
    # All names are on one level, since a field and a type inside of the same message may not share a name.
    message.name = f"object{len(file.message_type)}"
    for field in message.field:
        if field.type_name.endswith("Entry") and not field.type_name.startswith("."):
            field.type_name = f".{_PACKAGE}.{message.name}.{field.type_name}"
    file.message_type.append(message)
    return _Shape("message", f".{_PACKAGE}.{message.name}")


def _add_field(message: DescriptorProto, name: str, shape: _Shape) -> None:
    field = message.field.add(name=name, number=len(message.field) + 1, label=FieldDescriptorProto.LABEL_OPTIONAL)
    if shape.word == "list":
        field.label = FieldDescriptorProto.LABEL_REPEATED
        _set_type(field, shape.inner)
    elif shape.word == "map" and (entry := _add_entry(message, name, shape.inner)):
        field.label = FieldDescriptorProto.LABEL_REPEATED
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = entry
    else:
        _set_type(field, shape)


def _add_entry(message: DescriptorProto, field: str, value: _Shape) -> str | None:
    """The type of a map's entries, by the name that protobuf demands of it; ``None`` if that name is taken."""
    name = "".join(part[:1].upper() + part[1:] for part in field.split("_")) + "Entry"
    if name in {entry.name for entry in message.nested_type} | {known.name for known in message.field}:
        return None
    entry = message.nested_type.add(name=name)
    entry.options.map_entry = True
    optional = FieldDescriptorProto.LABEL_OPTIONAL
    entry.field.add(name="key", number=1, label=optional, type=FieldDescriptorProto.TYPE_STRING)
    _set_type(entry.field.add(name="value", number=2, label=optional), value)
    return name


def _set_type(field: FieldDescriptorProto, shape: _Shape) -> None:
    if shape.word in _SCALARS:
        field.type = _SCALARS[shape.word][0]
        return
    field.type = FieldDescriptorProto.TYPE_MESSAGE
    if shape.word == "message":
        field.type_name = shape.inner
    elif shape.word in _KNOWN_MESSAGES:
        field.type_name = _KNOWN_MESSAGES[shape.word][0]
    else:
        field.type_name = ".google.protobuf.ListValue" if shape.word == "list" else ".google.protobuf.Struct"


def _language_type(shape: _Shape) -> cel.Type:
    match shape.word:
        case "list":
            return cel.Type.List(_language_type(shape.inner))
        case "map":
            return cel.Type.Map(cel.Type.STRING, _language_type(shape.inner))
        case "message":
            return cel.Type(shape.inner.removeprefix("."))
        case word:
            return _SCALARS[word][1] if word in _SCALARS else _KNOWN_MESSAGES[word][1]
