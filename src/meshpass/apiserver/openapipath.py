"""The operations of one resource as OpenAPI v3 paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from meshpass.apiserver.resource import Resource

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"
_PATCH_TYPES: Final = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
)

_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "allowWatchBookmarks": ("boolean", "Whether a watch may send BOOKMARK events, which carry a resourceVersion only."),
    "continue": ("string", "The token of an earlier answer to go on from."),
    "dryRun": ("string", "All: the request is checked and answered in full, and nothing is stored."),
    "fieldManager": ("string", "The name under which the change is recorded in metadata.managedFields."),
    "fieldSelector": ("string", "Restricts the answer to objects with these values of fields."),
    "fieldValidation": (
        "string",
        "What to do with unknown and duplicate fields: Ignore drops them, Warn drops them and warns, Strict refuses them.",
    ),
    "force": ("boolean", "Whether a server-side apply takes fields from other managers instead of failing."),
    "gracePeriodSeconds": ("integer", "Seconds before the object is gone; 0 means at once."),
    "labelSelector": ("string", "Restricts the answer to objects with these labels."),
    "limit": ("integer", "The most objects that one answer may hold; it names a token for the rest."),
    "pretty": ("string", "Whether the answer is indented."),
    "propagationPolicy": ("string", "What becomes of dependents: Orphan, Background or Foreground."),
    "resourceVersion": ("string", "The version at which, or from which on, to read."),
    "resourceVersionMatch": ("string", "How resourceVersion is meant: Exact or NotOlderThan."),
    "sendInitialEvents": ("boolean", "Whether a watch begins with the objects that exist."),
    "timeoutSeconds": ("integer", "Seconds after which the server ends the call, whether it is active or not."),
    "watch": ("boolean", "Whether to stream changes instead of answering a list."),
}
_LIST: Final = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_WRITE: Final = ("dryRun", "fieldManager", "fieldValidation")
_DELETE: Final = ("dryRun", "gracePeriodSeconds", "propagationPolicy")


def resource_paths(resource: Resource, schema: str, list_schema: str) -> dict[str, Any]:
    """Path to path item for every URL of the resource; ``schema`` and ``list_schema`` name its components."""
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    scope = f"{root}/namespaces/{{namespace}}" if resource.namespaced else root
    operation = _Operations(resource, schema)
    collection: dict[str, Any] = {
        "get": operation.build("list", _LIST, answer=list_schema),
        "post": operation.build("post", _WRITE, body=schema),
        "delete": operation.build("deletecollection", (*_LIST, *_DELETE), answer=f"{_META}.Status"),
    }
    item = operation.item("")
    item["delete"] = operation.build("delete", _DELETE, answer=f"{_META}.Status")
    paths = {
        f"{scope}/{resource.plural}": {**collection, "parameters": _scope_parameters(resource)},
        f"{scope}/{resource.plural}/{{name}}": {**item, "parameters": _item_parameters(resource)},
    }
    if resource.status_subresource:
        paths[f"{scope}/{resource.plural}/{{name}}/status"] = {
            **operation.item("Status"),
            "parameters": _item_parameters(resource),
        }
    if resource.namespaced:
        paths[f"{root}/{resource.plural}"] = {
            "get": operation.build("list", _LIST, answer=list_schema, suffix="ForAllNamespaces"),
            "parameters": [],
        }
    return paths


class _Operations:
    """Builds the operations of one resource."""

    def __init__(self, resource: Resource, schema: str) -> None:
        self._resource = resource
        self._schema = schema

    def item(self, suffix: str) -> dict[str, Any]:
        """Read, replace and patch of one object or of its subresource."""
        patch = self.build("patch", (*_WRITE, "force"), suffix=suffix)
        reference = {"schema": {"$ref": f"#/components/schemas/{_META}.Patch"}}
        patch["requestBody"] = {"required": True, "content": {name: dict(reference) for name in self._patch_types()}}
        return {
            "get": self.build("get", ("resourceVersion",), suffix=suffix),
            "put": self.build("put", _WRITE, body=self._schema, suffix=suffix),
            "patch": patch,
        }

    def build(
        self,
        action: str,
        parameters: tuple[str, ...],
        *,
        body: str | None = None,
        answer: str | None = None,
        suffix: str = "",
    ) -> dict[str, Any]:
        """One operation, which answers the object unless ``answer`` names another component."""
        found = self._resource
        built: dict[str, Any] = {
            "tags": [found.group_version.replace("/", "_").replace(".", "_")],
            "description": f"{action} {found.kind}{' ' + suffix if suffix else ''}",
            "operationId": f"{action}{_camel(found.group)}{_camel(found.version)}{found.kind}{suffix}",
            "parameters": [_parameter(name) for name in ("pretty", *parameters)],
            "responses": {
                "200": {"description": "OK", "content": _json_content(answer or self._schema)},
                "401": {"description": "Unauthorized"},
            },
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {
                "group": found.group,
                "version": found.version,
                "kind": found.kind,
            },
        }
        if body:
            built["requestBody"] = {"required": True, "content": _json_content(body)}
        return built

    def _patch_types(self) -> tuple[str, ...]:
        strategic = ("application/strategic-merge-patch+json",) if self._resource.builtin else ()
        return (*_PATCH_TYPES, *strategic)


def _json_content(component: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{component}"}}}


def _parameter(name: str) -> dict[str, Any]:
    kind, text = _TEXTS[name]
    return {"name": name, "in": "query", "description": text, "schema": {"type": kind, "uniqueItems": True}}


def _scope_parameters(resource: Resource) -> list[dict[str, Any]]:
    return [_path_parameter("namespace", "The namespace.")] if resource.namespaced else []


def _item_parameters(resource: Resource) -> list[dict[str, Any]]:
    return [_path_parameter("name", f"The name of the {resource.kind}."), *_scope_parameters(resource)]


def _path_parameter(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string"}}


def _camel(text: str) -> str:
    return "".join(part.capitalize() for part in text.replace("-", ".").split("."))
