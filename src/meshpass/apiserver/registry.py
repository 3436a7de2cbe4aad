"""Registry: the resources that are served right now, those built in and those that stored CRDs define."""

from __future__ import annotations

from collections.abc import Iterable

from meshpass.apiserver.resource import Resource


def storage_kind(resource: Resource) -> str:
    """The kind under which the storage keeps objects: all versions of a resource share one."""
    return f"{resource.group}/{resource.plural}"


class Registry:
    """Resources by the way they are asked for."""

    def __init__(self, builtin: Iterable[Resource]) -> None:
        self._builtin = tuple(builtin)
        self._defined: dict[str, tuple[Resource, ...]] = {}
        self._resources: tuple[Resource, ...] = ()
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        self._by_kind: dict[str, Resource] = {}
        self._index()

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Everything served; a new tuple after each change, so that identity tells whether something derived is stale."""
        return self._resources

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource at a URL."""
        return self._by_path.get((group, version, plural))

    def of_kind(self, kind: str) -> Resource | None:
        """A resource, in one of its versions, for a kind of the storage."""
        return self._by_kind.get(kind)

    def has_group_version(self, group: str, version: str) -> bool:
        """True when at least one resource is served there."""
        return any(resource.group == group and resource.version == version for resource in self._resources)

    def has_group(self, group: str) -> bool:
        """True when at least one version of the group is served."""
        return any(resource.group == group for resource in self._resources)

    def define(self, crd: str, resources: Iterable[Resource]) -> None:
        """The resources of a CustomResourceDefinition are served from now on, in place of what it defined before."""
        self._defined[crd] = tuple(resources)
        self._index()

    def undefine(self, crd: str) -> None:
        """What the definition of that name had defined is served no longer."""
        if self._defined.pop(crd, None) is not None:
            self._index()

    def defined_by(self, crd: str) -> tuple[Resource, ...]:
        """What a CustomResourceDefinition defines."""
        return self._defined.get(crd, ())

    def _index(self) -> None:
        defined = [resource for name in sorted(self._defined) for resource in self._defined[name]]
        self._resources = (*self._builtin, *defined)
        self._by_path = {}
        self._by_kind = {}
        for resource in self._resources:
            self._by_path.setdefault((resource.group, resource.version, resource.plural), resource)
            self._by_kind.setdefault(storage_kind(resource), resource)
