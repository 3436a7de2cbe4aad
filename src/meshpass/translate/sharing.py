"""Sharing: which objects of a workspace another workspace may use. Both have to say so (decision 26)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import NamedTuple

from meshpass.api.admin import SharedKind, SharedResources, WorkspaceObjectSelector, WorkspaceSelector
from meshpass.api.objectset import ObjectKey

SHARED_KINDS: Mapping[SharedKind, str] = MappingProxyType(
    {
        SharedKind.ROUTE_TABLE: "RouteTable",
        SharedKind.SERVICE: "Service",
        SharedKind.VIRTUAL_DESTINATION: "VirtualDestination",
        SharedKind.EXTERNAL_SERVICE: "ExternalService",
    }
)
"""The kinds of the API that are shared → the kind of the objects. Of the others there are no objects here."""
EVERY_KIND = frozenset(SHARED_KINDS.values())
EVERYTHING = (SharedResources(),)
"""What an entry shares that says nothing about it."""


class SharingSide(NamedTuple):
    """What one workspace says about others."""

    labels: Mapping[str, str]
    """Of the Workspace: others select it by them."""
    import_from: tuple[WorkspaceObjectSelector, ...]
    export_to: tuple[WorkspaceObjectSelector, ...]


class Place(NamedTuple):
    """Which part of settings shares something: ``importFrom[entry].resources[resource]``, or the export of that place."""

    entry: int
    resource: int


class Agreement(NamedTuple):
    """Objects that one workspace exports to another, and that one imports: what both selectors are for."""

    kinds: frozenset[str]
    labels: Mapping[str, str]
    name: str
    """Empty: any. So is it with the next two."""
    namespace: str
    cluster: str
    exported: Place
    imported: Place

    def covers(self, key: ObjectKey, labels: Mapping[str, str]) -> bool:
        """True for an object that is shared."""
        return (
            key.kind in self.kinds
            and self.name in {"", key.name}
            and self.namespace in {"", key.namespace}
            and self.cluster in {"", key.cluster}
            and self.labels.items() <= labels.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sharing:
    """What all workspaces share. It follows Workspaces and their settings, and none of the objects that are shared."""

    sides: Mapping[str, SharingSide]
    """Workspace → what it says."""
    agreements: Mapping[tuple[str, str], tuple[Agreement, ...]]
    """(owner, user) → what both agree on, in the order of the user's settings; pairs that share nothing are left out."""
    _importers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    _sources: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def shares(self, key: ObjectKey, labels: Mapping[str, str], owner: str | None, user: str | None) -> bool:
        """True if objects of the workspace ``user`` may use this one: its own, or exported to it and imported by it."""
        if owner == user:
            return True
        if owner is None or user is None:
            return False
        return any(one.covers(key, labels) for one in self.agreements.get((owner, user), ()))

    def importers(self, workspace: str) -> frozenset[str]:
        """The other workspaces with which this one shares something of its own."""
        return self._importers.get(workspace, frozenset())

    def sources(self, workspace: str) -> frozenset[str]:
        """The other workspaces that share something of theirs with this one."""
        return self._sources.get(workspace, frozenset())

    def why_not(self, key: ObjectKey, labels: Mapping[str, str], owner: str | None, user: str | None) -> str:
        """Whose settings do not share an object that is not shared, in words that follow its name."""
        if owner is None or user is None:
            return "belongs to another workspace" if owner is not None else "belongs to no workspace"
        side = self.sides.get(owner)
        offered = side is not None and any(
            covers_object(resource, key, labels)
            for entry in side.export_to
            if is_for(entry, user, self.sides)
            for resource in entry.resources or EVERYTHING
        )
        if offered:
            return f"belongs to workspace {owner}, from which workspace {user} does not import it"
        return f"belongs to workspace {owner}, which does not export it to workspace {user}"


NO_SHARING = Sharing(sides=MappingProxyType({}), agreements=MappingProxyType({}))


def make_sharing(sides: Mapping[str, SharingSide]) -> Sharing:
    """What the workspaces share by their names: objects are then found in it without a look at any selector of workspaces."""
    agreements: dict[tuple[str, str], tuple[Agreement, ...]] = {}
    exporters = {name: side for name, side in sides.items() if side.export_to}
    for user, side in sides.items():
        for owner, other in exporters.items() if side.import_from else ():
            if owner != user and (found := tuple(_agree(owner, other, user, side, sides))):
                agreements[owner, user] = found
    importers: dict[str, set[str]] = {}
    sources: dict[str, set[str]] = {}
    for owner, user in agreements:
        importers.setdefault(owner, set()).add(user)
        sources.setdefault(user, set()).add(owner)
    return Sharing(
        sides=sides,
        agreements=agreements,
        _importers={name: frozenset(users) for name, users in importers.items()},
        _sources={name: frozenset(owners) for name, owners in sources.items()},
    )


def _agree(
    owner: str, exporter: SharingSide, user: str, importer: SharingSide, sides: Mapping[str, SharingSide]
) -> Iterator[Agreement]:
    exported = list(_resources(exporter.export_to, user, sides))
    for imported, wanted in _resources(importer.import_from, owner, sides) if exported else ():
        for place, offered in exported:
            found = _conjoin(offered, place, wanted, imported)
            if found is not None:
                yield found


def _resources(
    entries: tuple[WorkspaceObjectSelector, ...], other: str, sides: Mapping[str, SharingSide]
) -> Iterator[tuple[Place, SharedResources]]:
    for index, entry in enumerate(entries):
        if is_for(entry, other, sides):
            for number, resource in enumerate(entry.resources or EVERYTHING):
                yield Place(index, number), resource


def _conjoin(offered: SharedResources, exported: Place, wanted: SharedResources, imported: Place) -> Agreement | None:
    """What both are for; None if there can be nothing."""
    kinds = shared_kinds(offered) & shared_kinds(wanted)
    labels = {**offered.labels, **wanted.labels}
    if not kinds or not offered.labels.items() <= labels.items():
        return None
    narrowed = []
    for one, other in (
        (offered.name, wanted.name),
        (offered.namespace, wanted.namespace),
        (offered.cluster, wanted.cluster),
    ):
        if one and other and one != other:
            return None
        narrowed.append(one or other)
    name, namespace, cluster = narrowed
    return Agreement(
        kinds=kinds,
        labels=labels,
        name=name,
        namespace=namespace,
        cluster=cluster,
        exported=exported,
        imported=imported,
    )


def shared_kinds(resource: SharedResources) -> frozenset[str]:
    """The kinds of objects that a selector is for; none for a kind that there is nothing of."""
    if resource.kind is SharedKind.ALL:
        return EVERY_KIND
    kind = SHARED_KINDS.get(resource.kind)
    return frozenset() if kind is None else frozenset({kind})


def covers_object(resource: SharedResources, key: ObjectKey, labels: Mapping[str, str]) -> bool:
    """True for an object that one side's selector is for."""
    return (
        key.kind in shared_kinds(resource)
        and resource.name in {"", key.name}
        and resource.namespace in {"", key.namespace}
        and resource.cluster in {"", key.cluster}
        and resource.labels.items() <= labels.items()
    )


def is_for(entry: WorkspaceObjectSelector, workspace: str, sides: Mapping[str, SharingSide]) -> bool:
    """True for a workspace that some selector of an entry is for."""
    side = sides.get(workspace)
    return side is not None and any(selects_workspace(one, workspace, side.labels) for one in entry.workspaces)


def selects_workspace(selector: WorkspaceSelector, name: str, labels: Mapping[str, str]) -> bool:
    """True for a workspace with this name and these labels. A selector that says nothing is for none: sharing is asked for."""
    if not selector.name and not selector.selector:
        return False
    return (not selector.name or fnmatchcase(name, selector.name)) and selector.selector.items() <= labels.items()
