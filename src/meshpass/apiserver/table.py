"""Tables (meta.k8s.io/v1): what ``kubectl get`` prints, made on the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from meshpass.apiserver.age import UNKNOWN, parse_time, render_age
from meshpass.apiserver.jsonpath import find_all, render_result
from meshpass.apiserver.resource import Column, Resource
from meshpass.apiserver.tablecells import KIND_TABLES
from meshpass.apiserver.tablefield import text_at

IncludeObject = Literal["None", "Metadata", "Object"]

_NAME_COLUMN: Final = Column(
    name="Name", type="string", json_path=".metadata.name", description="The name of the object.", format="name"
)
_AGE_COLUMN: Final = Column(
    name="Age", type="date", json_path=".metadata.creationTimestamp", description="How long ago the object was created."
)
_DEFAULT: Final = (_AGE_COLUMN,)


def render_table(
    resource: Resource,
    objects: Sequence[Mapping[str, Any]],
    *,
    include_object: IncludeObject = "Metadata",
    now: datetime,
    list_metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A Table of the objects in their order; ``list_metadata`` (resourceVersion, continue …) becomes its metadata.

    A watch event's object is a Table too, of that one object; ``now`` is aware.
    """
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(list_metadata or {}),
        "columnDefinitions": column_definitions(resource),
        "rows": render_rows(resource, objects, include_object=include_object, now=now),
    }


def column_definitions(resource: Resource) -> list[dict[str, Any]]:
    """The head of the resource's tables; columns of a priority above 0 are for ``-o wide``."""
    table = KIND_TABLES.get((resource.group, resource.kind)) if resource.builtin else None
    columns = table.columns if table else (_NAME_COLUMN, *(resource.columns or _DEFAULT))
    return [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": column.description or _description(column),
            "priority": column.priority,
        }
        for column in columns
    ]


def render_rows(
    resource: Resource,
    objects: Iterable[Mapping[str, Any]],
    *,
    include_object: IncludeObject = "Metadata",
    now: datetime,
) -> list[dict[str, Any]]:
    """One row per object: its cells, and of the object itself what ``include_object`` asks for."""
    table = KIND_TABLES.get((resource.group, resource.kind)) if resource.builtin else None
    return [
        {
            "cells": list(table.cells(obj, now)) if table else _custom_cells(resource, obj, now),
            **_object(obj, include_object),
        }
        for obj in objects
    ]


def _description(column: Column) -> str:
    return f"Custom resource definition column (in JSONPath format): {column.json_path}" if column.json_path else ""


def _custom_cells(resource: Resource, obj: Mapping[str, Any], now: datetime) -> list[Any]:
    columns = resource.columns or _DEFAULT
    return [text_at(obj, "metadata", "name"), *(_cell(column, obj, now) for column in columns)]


def _metadata(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = obj.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _object(obj: Mapping[str, Any], include: IncludeObject) -> dict[str, Any]:
    match include:
        case "None":
            return {}
        case "Object":
            return {"object": obj}
        case _:
            metadata = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": _metadata(obj),
            }
            return {"object": metadata}


def _cell(column: Column, obj: Mapping[str, Any], now: datetime) -> Any:
    """A custom resource's cell; null, which kubectl prints as nothing, where the path finds nothing of the type."""
    results = find_all(column.json_path, obj)
    if not results:
        return UNKNOWN if column is _AGE_COLUMN else None
    first = results[0]
    match column.type, first:
        case "string", _:
            return None if first is None else render_result(first)
        case "integer", bool():
            return None
        case "integer", int() | float():
            return int(first) if abs(first) < 2**63 else None
        case "number", bool():
            return None
        case "number", int() | float():
            return float(first)
        case "boolean", bool():
            return first
        case "date", str():
            return render_age(first, now) if parse_time(first) else "<invalid>"
        case _:
            return None
