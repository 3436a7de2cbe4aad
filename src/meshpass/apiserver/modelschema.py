"""OpenAPI schemas of Kubernetes' own kinds, read from the types and docstrings of ``lightkube.models``.

The models know every field and its description but not which lists merge by key, what the values of a ``dict`` are,
or which strings are quantities: those few facts are the tables below.
"""

from __future__ import annotations

import importlib
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final

import msgspec

MERGE_KEYS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("Container", "env"): ("name",),
    ("Container", "ports"): ("containerPort", "protocol"),
    ("Container", "volumeMounts"): ("mountPath",),
    ("Container", "volumeDevices"): ("devicePath",),
    ("DeploymentStatus", "conditions"): ("type",),
    ("EphemeralContainer", "env"): ("name",),
    ("EphemeralContainer", "ports"): ("containerPort", "protocol"),
    ("EphemeralContainer", "volumeDevices"): ("devicePath",),
    ("EphemeralContainer", "volumeMounts"): ("mountPath",),
    ("NamespaceStatus", "conditions"): ("type",),
    ("ObjectMeta", "ownerReferences"): ("uid",),
    ("PodSpec", "containers"): ("name",),
    ("PodSpec", "ephemeralContainers"): ("name",),
    ("PodSpec", "hostAliases"): ("ip",),
    ("PodSpec", "imagePullSecrets"): ("name",),
    ("PodSpec", "initContainers"): ("name",),
    ("PodSpec", "resourceClaims"): ("name",),
    ("PodSpec", "schedulingGates"): ("name",),
    ("PodSpec", "topologySpreadConstraints"): ("topologyKey", "whenUnsatisfiable"),
    ("PodSpec", "volumes"): ("name",),
    ("PodStatus", "conditions"): ("type",),
    ("PodStatus", "podIPs"): ("ip",),
    ("ServiceAccount", "secrets"): ("name",),
    ("ServiceSpec", "ports"): ("port", "protocol"),
    ("ServiceStatus", "conditions"): ("type",),
}
"""Lists that strategic merge patch and server-side apply merge by these keys; the first is the patch's merge key."""

MERGED_SETS: Final = frozenset({("ObjectMeta", "finalizers")})
"""Lists of scalars that strategic merge patch unites instead of replacing."""

KEY_DEFAULTS: Final[Mapping[tuple[str, str], str]] = {
    ("ContainerPort", "protocol"): "TCP",
    ("ServicePort", "protocol"): "TCP",
}
"""Fields by which items of lists are known, and which people leave out."""

ATOMIC_MODELS: Final = frozenset(
    {
        "ConfigMapKeySelector",
        "EndpointPort",
        "LabelSelector",
        "LocalObjectReference",
        "NodeSelector",
        "NodeSelectorTerm",
        "ObjectFieldSelector",
        "ObjectReference",
        "OwnerReference",
        "ResourceFieldSelector",
        "SecretKeySelector",
        "SecretReference",
        "TypedLocalObjectReference",
    }
)
ATOMIC_MAPS: Final = frozenset({("PodSpec", "nodeSelector"), ("ServiceSpec", "selector")})
"""What server-side apply takes as one field, though it has parts."""

QUANTITY_MAPS: Final = frozenset({"allocatedResources", "limits", "overhead", "requests"})
BYTE_MAPS: Final = frozenset({("ConfigMap", "binaryData"), ("Secret", "data")})

_PARAMETER = re.compile(r"^\s*\* \*\*(?P<name>\w+)\*\* ``[^`]*`` - ?(?P<text>.*)$")
_INT64_FIELDS: Final = frozenset({"generation", "observedGeneration", "deletionGracePeriodSeconds"})


class LazySchema(Mapping[str, Any]):
    """A schema that is built when it is first read: starting a server needs none of the built-in ones."""

    __slots__ = ("_build", "_schema")

    def __init__(self, build: Callable[[], Mapping[str, Any]]) -> None:
        self._build = build
        self._schema: Mapping[str, Any] | None = None

    def _resolve(self) -> Mapping[str, Any]:
        if self._schema is None:
            self._schema = self._build()
        return self._schema

    def __getitem__(self, key: str) -> Any:
        return self._resolve()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._resolve())

    def __len__(self) -> int:
        return len(self._resolve())

    def __repr__(self) -> str:
        return f"LazySchema({'unread' if self._schema is None else dict(self._schema)!r})"


def plain(value: Any) -> Any:
    """The same schema made of dicts and lists only, as JSON encoders want it; nothing in it is shared."""
    match value:
        case Mapping():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value


def lazy_model_schema(module: str, name: str) -> LazySchema:
    """The schema of ``lightkube.models.<module>.<name>``; neither is imported before the schema is read."""
    return LazySchema(lambda: model_schema(module, name))


@cache
def model_schema(module: str, name: str) -> Mapping[str, Any]:
    """The structural schema of one model with all that it contains. Shared between callers: do not change it."""
    model = getattr(importlib.import_module(f"lightkube.models.{module}"), name)
    return _struct_schema(model, ())


OBJECT_META: Final = lazy_model_schema("meta_v1", "ObjectMeta")
"""The schema of ``metadata``, the same for every kind."""


def _struct_schema(model: type[msgspec.Struct], above: tuple[type, ...]) -> dict[str, Any]:
    texts = _descriptions(model.__doc__ or "")
    schema: dict[str, Any] = {"type": "object"}
    if model.__name__ in ATOMIC_MODELS:
        schema["x-kubernetes-map-type"] = "atomic"
    if texts[""]:
        schema["description"] = texts[""]
    properties: dict[str, Any] = {}
    required: list[str] = []
    for field in msgspec.structs.fields(model):
        node = _field_schema(model, field.encode_name, field.type, (*above, model))
        if text := texts.get(field.name):
            node = {**node, "description": text}
        properties[field.encode_name] = node
        if field.required:
            required.append(field.encode_name)
    schema["properties"] = dict(sorted(properties.items()))
    if required:
        schema["required"] = sorted(required)
    return schema


def _field_schema(model: type, name: str, hint: Any, above: tuple[type, ...]) -> dict[str, Any]:
    place = (model.__name__, name)
    if hint is dict or typing.get_args(hint)[:1] == (dict,):
        atomic = {"x-kubernetes-map-type": "atomic"} if place in ATOMIC_MAPS else {}
        return {"type": "object", "additionalProperties": _map_value(model, name), **atomic}
    node = _type_schema(hint, above)
    if name in _INT64_FIELDS:
        node["format"] = "int64"
    if keys := MERGE_KEYS.get(place):
        node |= {
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": list(keys),
            "x-kubernetes-patch-strategy": "merge",
            "x-kubernetes-patch-merge-key": keys[0],
        }
    if place in KEY_DEFAULTS:
        node["default"] = KEY_DEFAULTS[place]
    if place in MERGED_SETS:
        node |= {"x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge"}
    return node


def _map_value(model: type, name: str) -> dict[str, Any]:
    if model.__name__ == "JSONSchemaProps":
        return {"x-kubernetes-preserve-unknown-fields": True}
    if name in QUANTITY_MAPS:
        return {"oneOf": [{"type": "string"}, {"type": "number"}]}
    if (model.__name__, name) in BYTE_MAPS:
        return {"type": "string", "format": "byte"}
    return {"type": "string"}


def _type_schema(hint: Any, above: tuple[type, ...]) -> dict[str, Any]:
    arguments = tuple(item for item in typing.get_args(hint) if item is not type(None))
    origin = typing.get_origin(hint)
    if origin in {typing.Union, types.UnionType}:
        if set(arguments) == {int, str}:
            return {"x-kubernetes-int-or-string": True}
        return _type_schema(arguments[0], above)
    if origin is list:
        return {"type": "array", "items": _type_schema(arguments[0], above)}
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        if hint in above:
            # A schema cannot contain itself; what is below a second JSONSchemaProps is kept as it is.
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        return _struct_schema(hint, above)
    if hint in _SCALARS:
        return dict(_SCALARS[hint])
    if hint is dict or origin is dict:
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {"x-kubernetes-preserve-unknown-fields": True}


_SCALARS: Final[Mapping[Any, Mapping[str, Any]]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    datetime: {"type": "string", "format": "date-time"},
}


def _descriptions(doc: str) -> dict[str, str]:
    """Field name to text; the model's own text is under the empty name."""
    head, _, body = doc.partition("**parameters**")
    texts = {"": " ".join(head.split())}
    name = ""
    for line in body.splitlines():
        if found := _PARAMETER.match(line):
            name = found["name"]
            texts[name] = found["text"].strip()
        elif name and line.strip():
            texts[name] = f"{texts[name]} {line.strip()}".strip()
    return texts
