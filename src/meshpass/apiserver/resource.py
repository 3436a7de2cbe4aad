"""Resource: what the API server knows of one kind that it serves, built in or from a CustomResourceDefinition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
    """The structural OpenAPI v3 schema of the whole object (``type: object`` with apiVersion, kind, metadata, spec …)."""
    columns: tuple[Column, ...] = ()
    status_subresource: bool = False
    builtin: bool = False
    """True for core kinds: strategic merge patch is allowed and tables have kubectl's own columns."""

    @property
    def group_version(self) -> str:
        """``v1`` for the core group, else ``group/version``."""
        return f"{self.group}/{self.version}" if self.group else self.version
