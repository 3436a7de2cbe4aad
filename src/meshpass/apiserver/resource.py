"""Resource: what the API server knows of one kind that it serves, built in or from a CustomResourceDefinition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshpass.apiserver.fieldtype import FieldType
from meshpass.apiserver.ruletree import RuleTree


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the table that ``kubectl get`` prints; ``priority`` above 0 shows with ``-o wide`` only."""

    name: str
    type: str
    json_path: str
    description: str = ""
    format: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind at one group and version."""

    group: str
    """Empty for the core group."""
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    schema: Mapping[str, Any]
    """The structural OpenAPI v3 schema of the whole object (``type: object`` with apiVersion, kind, metadata, spec …).

    A built-in kind's, and every kind's ``metadata``, is computed when first read (``modelschema.LazySchema``): read it
    as a Mapping, and let ``modelschema.plain`` make the JSON of it.
    """
    rules: RuleTree | None = field(default=None, compare=False)
    """What a CustomResourceDefinition demands beyond the schema's types."""
    columns: tuple[Column, ...] = ()
    status_subresource: bool = False
    builtin: bool = False
    """True for core kinds: strategic merge patch is allowed and tables have kubectl's own columns."""
    storage: bool = True
    """True for the version under which objects are kept; a CustomResourceDefinition has exactly one."""
    declared_list_kind: str = ""
    """What a CustomResourceDefinition names in ``spec.names.listKind``; empty where it names nothing."""
    selectable_fields: tuple[str, ...] = ()
    """Dotted paths that field selectors may name besides ``metadata.name`` and ``metadata.namespace``."""
    verbs: tuple[str, ...] = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

    fields: FieldType = field(init=False, repr=False, compare=False)
    """Whose the fields of these objects can be, part by part."""

    def __post_init__(self) -> None:
        """The types of fields are there, and read nothing of the schema below its first level yet."""
        object.__setattr__(self, "fields", FieldType(self.schema))

    @property
    def group_version(self) -> str:
        """``v1`` for the core group, else ``group/version``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        """The ``kind`` of a list of these objects."""
        return self.declared_list_kind or f"{self.kind}List"

    @property
    def qualified_name(self) -> str:
        """``plural.group``, or the plural alone in the core group: how errors and CustomResourceDefinitions name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural
