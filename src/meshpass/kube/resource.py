"""ResourceKind: what the client must know of a kind to address its objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias
from urllib.parse import quote

Raw: TypeAlias = Mapping[str, Any]
"""One object as JSON, with apiVersion, kind and metadata. Nothing changes it after it was decoded."""


class ResourceKind(Protocol):
    """One kind at one group and version; `meshpass.api.kinds.Kind` is one, what discovery finds is another."""

    @property
    def group(self) -> str:
        """Empty for the core group."""

    @property
    def version(self) -> str:
        """As in ``v2``."""

    @property
    def kind(self) -> str:
        """As in ``RouteTable``."""

    @property
    def plural(self) -> str:
        """As in ``routetables``, the segment of the URL."""

    @property
    def namespaced(self) -> bool:
        """False when objects of the kind belong to the whole cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveredKind:
    """A kind that an API server says it serves."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()


def group_version(kind: ResourceKind) -> str:
    """``v1`` for the core group, else ``group/version``: the value of ``apiVersion``."""
    return f"{kind.group}/{kind.version}" if kind.group else kind.version


def collection_path(kind: ResourceKind, namespace: str | None) -> str:
    """The URL path of the collection; ``None`` means all namespaces, and is the only choice for cluster-wide kinds."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    if namespace is None or not kind.namespaced:
        return f"{root}/{kind.plural}"
    return f"{root}/namespaces/{quote(namespace, safe='')}/{kind.plural}"


def object_path(kind: ResourceKind, namespace: str | None, name: str, subresource: str | None = None) -> str:
    """The URL path of one object, or of one of its subresources."""
    path = f"{collection_path(kind, namespace)}/{quote(name, safe='')}"
    return f"{path}/{subresource}" if subresource else path
