"""SharedObject: which settings share an object with which workspaces; counted for the statuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from meshpass.api.admin import SharedResources
from meshpass.api.core import Service
from meshpass.api.external import ExternalService
from meshpass.api.metadata import ApiObject
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.api.routetable import RouteTable
from meshpass.api.virtualdestination import VirtualDestination
from meshpass.memo import Memo
from meshpass.translate.sharing import EVERYTHING, Place, Sharing, covers_object, is_for
from meshpass.translate.workspace import WorkspaceIndex

SHARED_TYPES: tuple[type[ApiObject], ...] = (RouteTable, Service, VirtualDestination, ExternalService)


class SharedObject(NamedTuple):
    """What is done with one object of a workspace. Equal ones are the same object."""

    kind: str
    owner: str
    exports: tuple[Place, ...]
    """The parts of its owner's settings that offer it to some other workspace."""
    imports: tuple[tuple[str, Place], ...]
    """The workspaces that import it, and the parts of their settings that do."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedCounts:
    """What all workspaces have, offer and take in. The same object as long as none of it changed."""

    own: Mapping[tuple[str, str], int]
    """(workspace, kind) → number of objects."""
    exported: Mapping[tuple[str, str], int]
    imported: Mapping[tuple[str, str], int]
    exports: frozenset[tuple[str, Place]]
    """(workspace, part of its settings) for all parts that offer some object."""
    imports: frozenset[tuple[str, Place]]
    """The same for parts that take some object in."""


def count_shared(objects: ObjectSet, workspaces: WorkspaceIndex, memo: Memo) -> SharedCounts:
    """What there is to share, and what is shared. An edit costs a look at the objects of its kind."""
    # What ``each`` remembers it remembers by what it is given beside the items: so each kind has a name.
    judged = tuple(memo.each(_judge, objects.all(kind), kind.__name__, workspaces, memo) for kind in SHARED_TYPES)
    return memo(_join, tuple(memo(_count, of_kind) for of_kind in judged))


def _judge(key: ObjectKey, item: ApiObject, kind: str, workspaces: WorkspaceIndex, memo: Memo) -> SharedObject | None:
    owner = workspaces.place_owner(key) if kind == "Service" else workspaces.owner(key)
    if owner is None:
        return None
    labels, sharing = item.metadata.labels, workspaces.sharing
    exports = tuple(place for place, offer in memo(_offers, sharing, owner) if covers_object(offer, key, labels))
    imports = sorted(
        {
            (user, agreement.imported)
            for user in (sharing.importers(owner) if exports else ())
            for agreement in sharing.agreements[owner, user]
            if agreement.covers(key, labels)
        }
    )
    return memo(_make, kind, owner, exports, tuple(imports))


def _make(kind: str, owner: str, exports: tuple[Place, ...], imports: tuple[tuple[str, Place], ...]) -> SharedObject:
    return SharedObject(kind, owner, exports, imports)


def _offers(sharing: Sharing, owner: str) -> tuple[tuple[Place, SharedResources], ...]:
    """The parts of a workspace's settings that are for some other workspace."""
    return tuple(_find_offers(sharing, owner))


def _find_offers(sharing: Sharing, owner: str) -> Iterator[tuple[Place, SharedResources]]:
    side = sharing.sides.get(owner)
    for index, entry in enumerate(side.export_to if side is not None else ()):
        if any(other != owner and is_for(entry, other, sharing.sides) for other in sharing.sides):
            for number, resource in enumerate(entry.resources or EVERYTHING):
                yield Place(index, number), resource


def _count(judged: Mapping[ObjectKey, SharedObject | None]) -> SharedCounts:
    own: Counter[tuple[str, str]] = Counter()
    exported: Counter[tuple[str, str]] = Counter()
    imported: Counter[tuple[str, str]] = Counter()
    exports: set[tuple[str, Place]] = set()
    imports: set[tuple[str, Place]] = set()
    for one, number in Counter(judged.values()).items():
        if one is None:
            continue
        own[one.owner, one.kind] += number
        exports.update((one.owner, place) for place in one.exports)
        imports.update(one.imports)
        if one.exports:
            exported[one.owner, one.kind] += number
        for user in {user for user, _ in one.imports}:
            imported[user, one.kind] += number
    return SharedCounts(
        own=own, exported=exported, imported=imported, exports=frozenset(exports), imports=frozenset(imports)
    )


def _join(several: tuple[SharedCounts, ...]) -> SharedCounts:
    return SharedCounts(
        own={key: number for one in several for key, number in one.own.items()},
        exported={key: number for one in several for key, number in one.exported.items()},
        imported={key: number for one in several for key, number in one.imported.items()},
        exports=frozenset[tuple[str, Place]]().union(*(one.exports for one in several)),
        imports=frozenset[tuple[str, Place]]().union(*(one.imports for one in several)),
    )
