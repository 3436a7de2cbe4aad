"""CustomResourceDefinitions: the Resources that one defines, and what Kubernetes demands of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from meshpass.apiserver.cause import Cause, invalid, not_supported, required
from meshpass.apiserver.modelschema import OBJECT_META
from meshpass.apiserver.names import dns_1035_faults, dns_subdomain_faults
from meshpass.apiserver.resource import Column, Resource
from meshpass.apiserver.ruletree import rule_tree
from meshpass.apiserver.schemastructure import validate_structure

_COLUMN_TYPES: Final = ("boolean", "date", "integer", "number", "string")
_API_VERSION: Final = {
    "type": "string",
    "description": (
        "The version of the schema that this object is written in, as group/version; "
        "a server that knows the kind in another version converts it."
    ),
}
_KIND: Final = {"type": "string", "description": "The kind of object, in CamelCase; it never changes."}


def resources_from_crd(crd: Mapping[str, Any]) -> tuple[Resource, ...]:
    """One Resource per served version, in the order of ``spec.versions``; the CRD is one that ``validate_crd`` passes."""
    spec = crd["spec"]
    return tuple(_resource(spec, version) for version in spec["versions"] if version.get("served"))


def validate_crd(crd: Mapping[str, Any]) -> tuple[Cause, ...]:
    """Every fault of a CRD beyond the JSON types of its schema; any mapping may be passed."""
    return tuple(_causes(crd))


def validate_crd_update(crd: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Cause]:
    """The changes that would orphan stored objects."""
    spec, before = _map(crd.get("spec")), _map(old.get("spec"))
    for path in (("scope",), ("names", "kind"), ("group",), ("names", "plural")):
        new_value, old_value = _at(spec, path), _at(before, path)
        if new_value != old_value:
            yield invalid(f"spec.{'.'.join(path)}", new_value, "field is immutable")
    names = [_map(version).get("name") for version in _list(spec.get("versions"))]
    for index, stored in enumerate(_list(_map(old.get("status")).get("storedVersions"))):
        if stored not in names:
            yield invalid(
                f"status.storedVersions[{index}]", stored, "missing from spec.versions; v1 objects may be stored"
            )


def _resource(spec: Mapping[str, Any], version: Mapping[str, Any]) -> Resource:
    names = spec["names"]
    subresources = _map(version.get("subresources"))
    return Resource(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        schema=_complete_schema(_map(_map(version.get("schema")).get("openAPIV3Schema"))),
        rules=rule_tree(_map(_map(version.get("schema")).get("openAPIV3Schema"))),
        columns=tuple(_column(column) for column in version.get("additionalPrinterColumns") or ()),
        status_subresource="status" in subresources,
        storage=bool(version.get("storage")),
        declared_list_kind=names.get("listKind") or "",
        selectable_fields=tuple(field["jsonPath"].removeprefix(".") for field in version.get("selectableFields") or ()),
    )


def _complete_schema(declared: Mapping[str, Any]) -> dict[str, Any]:
    """The declared schema with the fields that every object has, so that explain and strict decoding know them."""
    properties = dict(declared.get("properties") or {})
    properties["apiVersion"] = {**_API_VERSION, **properties.get("apiVersion", {})}
    properties["kind"] = {**_KIND, **properties.get("kind", {})}
    properties["metadata"] = OBJECT_META
    return {"type": "object", **declared, "properties": dict(sorted(properties.items()))}


def _column(column: Mapping[str, Any]) -> Column:
    return Column(
        name=column["name"],
        type=column["type"],
        json_path=column["jsonPath"],
        description=column.get("description", ""),
        format=column.get("format", ""),
        priority=column.get("priority", 0),
    )


def _causes(crd: Mapping[str, Any]) -> Iterator[Cause]:
    spec = _map(crd.get("spec"))
    names = _map(spec.get("names"))
    name, group, plural = _at(_map(crd), ("metadata", "name")), spec.get("group"), names.get("plural")
    if name != f"{plural or ''}.{group or ''}":
        yield invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    yield from _group_causes(group)
    scope = spec.get("scope")
    if scope not in {"Cluster", "Namespaced"}:
        yield not_supported("spec.scope", scope, ("Cluster", "Namespaced")) if scope else required("spec.scope")
    yield from _name_causes(names)
    strategy = _at(spec, ("conversion", "strategy"))
    if strategy not in {None, "None"}:
        # There is no webhook to call in an embedded server; to store unconverted objects would be worse.
        yield not_supported("spec.conversion.strategy", strategy, ("None",))
    yield from _version_causes(_list(spec.get("versions")))


def _group_causes(group: Any) -> Iterator[Cause]:
    if not isinstance(group, str) or not group:
        yield required("spec.group")
    elif faults := dns_subdomain_faults(group):
        yield invalid("spec.group", group, ",".join(faults))
    elif "." not in group:
        yield invalid("spec.group", group, "should be a domain with at least one dot")


def _name_causes(names: Mapping[str, Any]) -> Iterator[Cause]:
    yield from (required(f"spec.names.{key}") for key in ("plural", "kind") if not names.get(key))
    for key in ("plural", "singular"):
        yield from _label_causes(f"spec.names.{key}", names.get(key))
    for key in ("kind", "listKind"):
        value = names.get(key)
        if value and (faults := dns_1035_faults(str(value).lower())):
            text = f"may have mixed case, but should otherwise match: {','.join(faults)}"
            yield invalid(f"spec.names.{key}", value, text)
    for key in ("shortNames", "categories"):
        for index, value in enumerate(_list(names.get(key))):
            yield from _label_causes(f"spec.names.{key}[{index}]", value)
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        yield invalid("spec.names.listKind", names["listKind"], "kind and listKind may not be the same")


def _label_causes(field: str, value: Any) -> Iterator[Cause]:
    if value and (faults := dns_1035_faults(str(value))):
        yield invalid(field, value, ",".join(faults))


def _version_causes(versions: list[Any]) -> Iterator[Cause]:
    if not versions:
        yield required("spec.versions")
        return
    labels = [_map(version).get("name") for version in versions]
    if any(labels.count(label) > 1 for label in labels):
        yield invalid("spec.versions", labels, "must contain unique version names")
    if sum(_map(version).get("storage") is True for version in versions) != 1:
        yield invalid("spec.versions", labels, "must have exactly one version marked as storage version")
    for index, version in enumerate(map(_map, versions)):
        field = f"spec.versions[{index}]"
        name = version.get("name")
        if faults := dns_1035_faults(name if isinstance(name, str) else ""):
            yield invalid(f"{field}.name", name, ",".join(faults))
        yield from (required(f"{field}.{key}") for key in ("served", "storage") if key not in version)
        schema = _map(version.get("schema")).get("openAPIV3Schema")
        if isinstance(schema, Mapping):
            status = "status" in _map(version.get("subresources"))
            yield from validate_structure(schema, f"{field}.schema.openAPIV3Schema", status_subresource=status)
        else:
            yield required(f"{field}.schema.openAPIV3Schema", "schemas are required")
        for number, column in enumerate(map(_map, _list(version.get("additionalPrinterColumns")))):
            yield from _column_causes(column, f"{field}.additionalPrinterColumns[{number}]")


def _column_causes(column: Mapping[str, Any], field: str) -> Iterator[Cause]:
    yield from (required(f"{field}.{key}") for key in ("name", "type", "jsonPath") if not column.get(key))
    kind, path = column.get("type"), column.get("jsonPath")
    if kind and kind not in _COLUMN_TYPES:
        yield invalid(f"{field}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}")
    if isinstance(path, str) and path and not path.startswith((".", "{", "[")):
        yield invalid(f"{field}.jsonPath", path, "must be a simple json path starting with .")


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _at(value: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = value
    for key in path:
        found = _map(found).get(key)
    return found
