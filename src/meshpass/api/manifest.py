"""Manifests: text → documents → objects, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from meshpass.api.fieldpath import did_you_mean
from meshpass.api.kind import Kind
from meshpass.api.kinds import CORE_KINDS, KINDS, kind_of, kind_of_type
from meshpass.api.metadata import ApiObject
from meshpass.api.repair import json_type, repair
from meshpass.api.struct import ApiStruct, is_set, wire_names
from meshpass.api.yamltext import load_values
from meshpass.errors import ManifestError


@dataclass(frozen=True, slots=True)
class Parsed:
    """An object, and what was wrong with its manifest.

    Where ``problems`` is not empty, parts of the object are missing: a selector may be wider and a condition weaker than
    what was written. Whoever acts on such an object must deny what it selects.
    """

    object: ApiObject
    problems: tuple[str, ...] = ()


def load_documents(text: str) -> tuple[dict[str, Any], ...]:
    """The manifests in YAML or JSON text, in order, lists (``kind: List``) taken apart.

    ManifestError, with the line where one is known, for text that is neither, and for a document that is no object.
    """
    return tuple(document for value in load_values(text) for document in _documents(value, "document"))


def _documents(value: Any, place: str) -> Iterator[dict[str, Any]]:
    if not isinstance(value, dict):
        raise ManifestError(f"{place}: expected object, got {json_type(value)}")
    kind, items = value.get("kind"), value.get("items")
    if isinstance(kind, str) and kind.endswith("List") and isinstance(items, list):
        for index, item in enumerate(items):
            yield from _documents(item, f"items[{index}]")
    else:
        yield value


def parse_object(raw: Mapping[str, Any]) -> Parsed:
    """The object that a manifest describes; what is wrong with it is in ``problems``, each starting with its path.

    Bad parts are taken out until the rest fits its type. ManifestError only if the kind is unknown or there is no name.
    """
    kind = _kind_of_raw(raw)
    metadata = raw.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not name:
        raise ManifestError("metadata.name: required")
    body = {key: value for key, value in raw.items() if key not in {"apiVersion", "kind"}}
    try:
        found = msgspec.convert(body, kind.type)
        problems: list[str] = []
    except msgspec.ValidationError:
        found, problems = _repaired(body, kind)
    problems += _missing(getattr(found, "spec", None))
    return Parsed(found, tuple(problems))


def _kind_of_raw(raw: Mapping[str, Any]) -> Kind:
    api_version, name = raw.get("apiVersion"), raw.get("kind")
    if not isinstance(api_version, str) or not api_version:
        raise ManifestError("apiVersion: required")
    if not isinstance(name, str) or not name:
        raise ManifestError("kind: required")
    kind = kind_of(api_version, name)
    if kind is None:
        names = {known.kind: known for known in KINDS + CORE_KINDS}
        meant = did_you_mean(name, names)
        hint = f"did you mean {meant} of {names[meant].group_version}?" if meant else None
        raise ManifestError(f"kind: unknown kind {name} of {api_version}", hint=hint)
    return kind


def _repaired(body: dict[str, Any], kind: Kind) -> tuple[ApiObject, list[str]]:
    problems: list[str] = []
    # Metadata has a name and no other part is required, so the object itself is never DROPPED.
    repaired = repair(body, kind.type, "", problems)
    # What is wrong with a status says nothing about what the user wrote, and the next status replaces it.
    problems = [problem for problem in problems if not problem.startswith(("status.", "status:"))]
    return msgspec.convert(repaired, kind.type), problems


def _missing(spec: object) -> Iterator[str]:
    if not isinstance(spec, ApiStruct):
        return
    names = wire_names(type(spec))
    for group in spec.needs:
        if not any(is_set(getattr(spec, name)) for name in group):
            if len(group) == 1:
                yield f"spec.{names[group[0]]}: required"
            else:
                yield f"spec: one of {', '.join(names[name] for name in group)} is required"


def decode_strict(raw: Mapping[str, Any]) -> ApiObject:
    """The object that a faultless manifest describes. ManifestError with the first problem of any other."""
    parsed = parse_object(raw)
    if parsed.problems:
        raise ManifestError(parsed.problems[0])
    return parsed.object


def to_raw(obj: ApiObject) -> dict[str, Any]:
    """The object as it is on the wire, with ``apiVersion`` and ``kind``: plain dicts and lists, new ones."""
    kind = kind_of_type(type(obj))
    # By way of JSON, since to_builtins keeps tuples, which equal no list.
    body: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(obj))
    return {"apiVersion": kind.group_version, "kind": kind.kind, **body}
