"""Kind: a type of object, and how Kubernetes names it."""

from __future__ import annotations

from dataclasses import dataclass

from meshpass.api.metadata import ApiObject


@dataclass(frozen=True, slots=True, kw_only=True)
class PrinterColumn:
    """One column of ``kubectl get``; ``priority`` above 0 shows with ``-o wide`` only."""

    name: str
    type: str
    json_path: str
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A type of object, and how Kubernetes names it."""

    group: str
    """Empty for the core group."""
    version: str
    kind: str
    plural: str
    singular: str
    type: type[ApiObject]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    columns: tuple[PrinterColumn, ...] = ()

    @property
    def group_version(self) -> str:
        """``v1`` for the core group, else ``group/version``: the ``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version
