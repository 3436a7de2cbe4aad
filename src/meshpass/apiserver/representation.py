"""Representation: the forms in which objects leave the server, and how a client's Accept header chooses one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import msgspec
import yaml

from meshpass.apiserver.resource import Resource
from meshpass.apiserver.revision import Stored
from meshpass.apiserver.status import bad_request, not_acceptable
from meshpass.apiserver.table import IncludeObject, render_table

_OFFERED = ("application/json", "application/yaml")


class Form(Enum):
    """What stands for an object."""

    PLAIN = "plain"
    TABLE = "Table"
    PARTIAL = "PartialObjectMetadata"


@dataclass(frozen=True, slots=True)
class Representation:
    """A form and whether its text is YAML."""

    form: Form = Form.PLAIN
    yaml: bool = False
    include_object: IncludeObject = "Metadata"

    @property
    def media_type(self) -> str:
        """The Content-Type of what ``encode`` returns."""
        return "application/yaml" if self.yaml else "application/json"

    def encode(self, value: Any) -> bytes:
        """A JSON value as the text that was asked for."""
        if self.yaml:
            return yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=True).encode()
        return msgspec.json.encode(value)

    def one(self, resource: Resource, body: bytes) -> bytes:
        """One object."""
        if self.form is Form.PLAIN and not self.yaml:
            return as_version(resource, body)
        value = msgspec.json.decode(as_version(resource, body))
        match self.form:
            case Form.PLAIN:
                return self.encode(value)
            case Form.PARTIAL:
                return self.encode(_partial(value))
            case Form.TABLE:
                return self.encode(
                    self._table(resource, [value], {"resourceVersion": value["metadata"].get("resourceVersion", "")})
                )

    def many(self, resource: Resource, stored: Sequence[Stored], metadata: Mapping[str, Any]) -> bytes:
        """A list with this ListMeta."""
        if self.form is Form.PLAIN and not self.yaml:
            head = {"kind": resource.list_kind, "apiVersion": resource.group_version, "metadata": metadata}
            items = b",".join(as_version(resource, entry.body) for entry in stored)
            return msgspec.json.encode(head)[:-1] + b',"items":[' + items + b"]}"
        values = [msgspec.json.decode(as_version(resource, entry.body)) for entry in stored]
        if self.form is Form.TABLE:
            return self.encode(self._table(resource, values, metadata))
        partial = self.form is Form.PARTIAL
        return self.encode(
            {
                "kind": "PartialObjectMetadataList" if partial else resource.list_kind,
                "apiVersion": "meta.k8s.io/v1" if partial else resource.group_version,
                "metadata": metadata,
                "items": [_partial(value) for value in values] if partial else values,
            }
        )

    def _table(self, resource: Resource, values: list[dict[str, Any]], metadata: Mapping[str, Any]) -> dict[str, Any]:
        return render_table(
            resource, values, include_object=self.include_object, now=datetime.now(UTC), list_metadata=metadata
        )


def as_version(resource: Resource, body: bytes) -> bytes:
    """The object with the apiVersion under which it was asked for; all versions of a kind have the same fields."""
    if body.startswith(b'{"apiVersion":"' + resource.group_version.encode() + b'"'):
        return body
    value = msgspec.json.decode(body)
    return msgspec.json.encode({**value, "apiVersion": resource.group_version})


def parse_accept(header: str, *, include_object: str = "", watch: bool = False) -> Representation:
    """The first acceptable form of an Accept header, by quality, then order. Raises StatusError 406 when there is none."""
    include: IncludeObject
    match include_object:
        case "None" | "Metadata" | "Object":
            include = include_object
        case "":
            include = "Metadata"
        case _:
            raise bad_request(f'unrecognized includeObject value: "{include_object}"')
    for media, parameters in _ranges(header or "*/*"):
        form = parameters.get("as", "")
        if form:
            known = parameters.get("g") == "meta.k8s.io" and parameters.get("v") in {"v1", "v1beta1"}
            form = form.removesuffix("List") if form == "PartialObjectMetadataList" else form
            if not known or form not in {Form.TABLE.value, Form.PARTIAL.value}:
                continue
        chosen = Form(form or "plain")
        if media in {"application/json", "application/*", "*/*"}:
            return Representation(chosen, include_object=include)
        if media in {"application/yaml", "application/x-yaml", "text/yaml"} and not watch:
            return Representation(chosen, yaml=True, include_object=include)
    raise not_acceptable(_OFFERED[:1] if watch else _OFFERED)


def _ranges(header: str) -> Iterable[tuple[str, Mapping[str, str]]]:
    found = []
    for position, part in enumerate(header.split(",")):
        media, *rest = (piece.strip() for piece in part.split(";"))
        pairs = (piece.partition("=") for piece in rest)
        parameters = {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
        try:
            quality = float(parameters.get("q", "1"))
        except ValueError:
            quality = 0.0
        if media and quality > 0:
            found.append((-quality, position, media.lower(), parameters))
    return [(media, parameters) for _, _, media, parameters in sorted(found, key=lambda entry: entry[:2])]


def _partial(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": value["metadata"]}
