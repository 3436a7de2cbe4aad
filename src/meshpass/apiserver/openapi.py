"""OpenAPI documents of what is served: v3, one per group and version, and v2 for clients that know no other.

kubectl reads descriptions from them (``explain``), and from the parameters of the operations whether the server can
validate fields and dry-run; each component and operation says in ``x-kubernetes-group-version-kind`` what it is about.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from meshpass.apiserver.modelschema import OBJECT_META, lazy_model_schema, plain
from meshpass.apiserver.openapipath import resource_paths
from meshpass.apiserver.resource import Resource

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"
_META_MODELS: Final = ("DeleteOptions", "ListMeta", "Status")
_GVK: Final = "x-kubernetes-group-version-kind"
_PACKAGES: Final[Mapping[str, str]] = {
    "": "io.k8s.api.core",
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apps": "io.k8s.api.apps",
    "coordination.k8s.io": "io.k8s.api.coordination",
    "discovery.k8s.io": "io.k8s.api.discovery",
}
_INT_OR_STRING: Final = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_INT_OR_STRING_SCHEMA: Final[Mapping[str, Any]] = {
    "description": "A number or a text, such as a port and its name.",
    "format": "int-or-string",
    "oneOf": [{"type": "integer"}, {"type": "string"}],
}
_ABSENT_IN_V2: Final = frozenset({"allOf", "anyOf", "not", "nullable", "oneOf"})


def v3_index(resources: Iterable[Resource]) -> dict[str, Any]:
    """The body of ``/openapi/v3``: for each group and version the URL of its document, with the hash of its content."""
    served = tuple(resources)
    versions = sorted({(resource.group, resource.version) for resource in served})
    return {
        "paths": {
            _version_path(group, version): {
                "serverRelativeURL": f"/openapi/v3/{_version_path(group, version)}"
                f"?hash={v3_hash(served, group, version)}"
            }
            for group, version in versions
        }
    }


def v3_hash(resources: Iterable[Resource], group: str, version: str) -> str:
    """Upper-case hex that changes whenever the document does: its ETag and the ``hash`` of its URL.

    It is taken over what the document is made from, so that an index costs no document.
    """
    served = _sorted(found for found in resources if (found.group, found.version) == (group, version))
    sources = [[_identity(resource), _declared_schema(resource)] for resource in served]
    text = json.dumps([_release(), sources], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest().upper()


def v3_document(resources: Iterable[Resource], group: str, version: str) -> dict[str, Any] | None:
    """The body of ``/openapi/v3/api/v1`` or ``/openapi/v3/apis/<group>/<version>``, None for what is not served."""
    served = _sorted(found for found in resources if (found.group, found.version) == (group, version))
    if not served:
        return None
    paths: dict[str, Any] = {}
    schemas = _shared_components()
    for resource in served:
        paths |= resource_paths(resource, schema_name(resource), list_schema_name(resource))
        schemas |= _components(resource, "#/components/schemas/")
    return {
        "openapi": "3.0.0",
        "info": _info(),
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "BearerToken": {
                    "type": "apiKey",
                    "name": "authorization",
                    "in": "header",
                    "description": "Bearer token of the kubeconfig",
                }
            },
        },
    }


def v2_document(resources: Iterable[Resource]) -> dict[str, Any]:
    """The body of ``/openapi/v2`` as JSON: every kind's definition; operations are described in v3 alone."""
    definitions = _shared_components()
    for resource in _sorted(resources):
        definitions |= _components(resource, "#/definitions/")
    return {
        "swagger": "2.0",
        "info": _info(),
        "paths": {},
        "definitions": {name: _v2_schema(schema) for name, schema in sorted(definitions.items())},
    }


def v2_protobuf() -> bytes:
    """The body of ``/openapi/v2`` as protobuf, an ``openapi.v2.Document``: without definitions.

    kubectl reads no other form, and for two things: to validate what is a List, or of a kind that it does not find. A kind
    without a definition it does not validate; each object is validated where it is stored.
    """
    info = _field(1, _info()["title"].encode()) + _field(2, _info()["version"].encode())
    return _field(1, b"2.0") + _field(2, info) + _field(8, b"")


def _field(number: int, value: bytes) -> bytes:
    """A field of a message; of less than 128 bytes, so that its length is one of them."""
    return bytes((number << 3 | 2, len(value))) + value


def schema_name(resource: Resource) -> str:
    """The component's name: the group reversed, the version and the kind, as Kubernetes names them."""
    package = _PACKAGES.get(resource.group) or ".".join(reversed(resource.group.split(".")))
    return f"{package}.{resource.version}.{resource.kind}"


def list_schema_name(resource: Resource) -> str:
    """The name of the component of a list of these objects."""
    return f"{schema_name(resource).rpartition('.')[0]}.{resource.list_kind}"


def _version_path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _sorted(resources: Iterable[Resource]) -> list[Resource]:
    return sorted(resources, key=lambda found: (found.group, found.version, found.plural))


def _identity(resource: Resource) -> list[Any]:
    return [
        resource.group,
        resource.version,
        resource.kind,
        resource.plural,
        resource.singular,
        resource.namespaced,
        resource.status_subresource,
        resource.list_kind,
        resource.verbs,
    ]


def _declared_schema(resource: Resource) -> Any:
    """What can differ between two servers of this release: nothing for the built-in kinds, nor in any metadata."""
    if resource.builtin:
        return None
    properties = {key: child for key, child in resource.schema.get("properties", {}).items() if key != "metadata"}
    return plain({**resource.schema, "properties": properties})


@cache
def _release() -> str:
    return importlib.metadata.version("meshpass")


def _info() -> dict[str, str]:
    return {"title": "Meshpass", "version": _release()}


def _meta_schemas() -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "ObjectMeta", OBJECT_META
    for name in _META_MODELS:
        yield name, lazy_model_schema("meta_v1", name)
    yield "Patch", {"type": "object", "description": "The body of a patch; its content type says of which kind."}


def _published(schema: Any, prefix: str) -> Any:
    """A schema as clients know it: what takes numbers and texts refers to Kubernetes' type for that."""
    match schema:
        case Mapping() if schema.get("x-kubernetes-int-or-string") is True and "type" not in schema:
            described = {key: plain(value) for key, value in schema.items() if key == "description"}
            return {**described, "allOf": [{"$ref": f"{prefix}{_INT_OR_STRING}"}]}
        case Mapping():
            return {key: _published(child, prefix) for key, child in schema.items()}
        case list() | tuple():
            return [_published(item, prefix) for item in schema]
        case _:
            return schema


def _shared_components() -> dict[str, Any]:
    return {
        **{f"{_META}.{name}": plain(schema) for name, schema in _meta_schemas()},
        _INT_OR_STRING: plain(_INT_OR_STRING_SCHEMA),
    }


def _components(resource: Resource, prefix: str) -> dict[str, Any]:
    name = schema_name(resource)
    properties = {
        key: _published(child, prefix) for key, child in resource.schema["properties"].items() if key != "metadata"
    }
    properties["metadata"] = {
        "description": "Name, namespace, labels and all else that every object has.",
        "allOf": [{"$ref": f"{prefix}{_META}.ObjectMeta"}],
    }
    head = {key: plain(child) for key, child in resource.schema.items() if key != "properties"}
    gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    listed = {
        "type": "object",
        "description": f"{resource.list_kind} is a list of {resource.kind}.",
        "required": ["items"],
        "properties": {
            "apiVersion": plain(properties["apiVersion"]),
            "items": {"type": "array", "items": {"$ref": f"{prefix}{name}"}},
            "kind": plain(properties["kind"]),
            "metadata": {"allOf": [{"$ref": f"{prefix}{_META}.ListMeta"}]},
        },
        _GVK: [{**gvk, "kind": resource.list_kind}],
    }
    return {
        name: {**head, "properties": dict(sorted(properties.items())), _GVK: [gvk]},
        list_schema_name(resource): listed,
    }


def _v2_schema(schema: Any) -> Any:
    """OpenAPI v2 has no junctors and no null: a reference stands alone there, other junctors are left out."""
    match schema:
        case {"allOf": [{"$ref": reference}]}:
            return {"$ref": reference}
        case dict():
            return {key: _v2_child(key, child) for key, child in schema.items() if key not in _ABSENT_IN_V2}
        case list():
            return [_v2_schema(item) for item in schema]
        case _:
            return schema


def _v2_child(key: str, child: Any) -> Any:
    if key == "properties" and isinstance(child, dict):
        # The keys here are names of fields, not words of the schema language.
        return {name: _v2_schema(schema) for name, schema in child.items()}
    return _v2_schema(child)
