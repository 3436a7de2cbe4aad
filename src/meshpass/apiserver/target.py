"""Target: what the path of a resource request names."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from meshpass.apiserver.registry import Registry, storage_kind
from meshpass.apiserver.resource import Resource
from meshpass.apiserver.revision import Key
from meshpass.apiserver.status import unknown_path

_SUBRESOURCES = frozenset({"status"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A collection (``name`` empty) or one object, perhaps its subresource."""

    resource: Resource
    namespace: str | None
    """None: the path names none; a cluster-scoped kind, or all namespaces."""
    name: str = ""
    subresource: str = ""

    @property
    def kind(self) -> str:
        """The storage's kind."""
        return storage_kind(self.resource)

    @property
    def key(self) -> Key:
        """Where the one object lives."""
        return Key(self.kind, self.namespace or "", self.name)


def segments(raw_path: bytes) -> tuple[str, ...]:
    """The decoded parts of a path, without the leading and one trailing slash. Raises StatusError 404 for no UTF-8.

    Splitting comes before percent-decoding: an encoded slash stays inside its segment and can name nothing.
    """
    trimmed = raw_path.partition(b"?")[0].removeprefix(b"/").removesuffix(b"/")
    try:
        return tuple(unquote_to_bytes(part).decode() for part in trimmed.split(b"/"))
    except UnicodeDecodeError as error:
        raise unknown_path() from error


def parse_target(registry: Registry, group: str, version: str, parts: tuple[str, ...]) -> Target:
    """The target of ``parts``, the segments behind the version. Raises StatusError 404 when nothing is there."""
    namespace: str | None = None
    if len(parts) >= 3 and parts[0] == "namespaces" and parts[2] not in _SUBRESOURCES:
        namespace, parts = parts[1], parts[2:]
    resource = registry.find(group, version, parts[0])
    name = parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 else ""
    known = resource is not None and len(parts) <= 3 and all(parts) and namespace != ""
    if resource is None or not known:
        raise unknown_path()
    if namespace is not None and not resource.namespaced:
        raise unknown_path()
    if name and resource.namespaced and namespace is None:
        raise unknown_path()
    if subresource and not (subresource == "status" and resource.status_subresource):
        raise unknown_path()
    return Target(resource=resource, namespace=namespace, name=name, subresource=subresource)
