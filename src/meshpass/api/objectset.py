"""ObjectSet: all objects of all clusters at one moment, the input of translation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, TypeVar, cast

from meshpass.api.kinds import kind_of_type
from meshpass.api.manifest import Parsed
from meshpass.api.metadata import ApiObject
from meshpass.api.struct import share

AnyObject = TypeVar("AnyObject", bound=ApiObject)


class ObjectKey(NamedTuple):
    """Which object, over all clusters; sorts by kind, cluster, namespace, name."""

    kind: str
    cluster: str
    namespace: str
    """Empty for cluster-scoped objects."""
    name: str


_NO_OBJECTS: Mapping[ObjectKey, ApiObject] = MappingProxyType({})
_NO_PROBLEMS: Mapping[ObjectKey, tuple[str, ...]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class ObjectSet:
    """Immutable; a change makes a new set that shares all that did not change.

    The identity of an object, and of the mapping of a kind, is the same in two sets if and only if nothing about it changed
    between them along one line of ``with_changes``: both serve as memo keys.
    """

    _by_kind: Mapping[str, Mapping[ObjectKey, ApiObject]]
    problems: Mapping[ObjectKey, tuple[str, ...]]
    """What was wrong with manifests; objects without problems are not in it. What such an object selects must be denied."""

    @staticmethod
    def empty() -> ObjectSet:
        """The set without objects."""
        return ObjectSet(MappingProxyType({}), _NO_PROBLEMS)

    def with_changes(self, upserts: Mapping[ObjectKey, Parsed], deletes: Iterable[ObjectKey] = ()) -> ObjectSet:
        """The set after the deletes and then the upserts; this very set if they change nothing.

        Costs the size of the kinds that change. An upsert that equals what is there keeps the old object.
        """
        changes: dict[str, dict[ObjectKey, Parsed | None]] = {}
        for key in deletes:
            changes.setdefault(key.kind, {})[key] = None
        for key, parsed in upserts.items():
            changes.setdefault(key.kind, {})[key] = parsed
        by_kind = dict(self._by_kind)
        problems: dict[ObjectKey, tuple[str, ...]] | None = None
        for kind, of_kind in changes.items():
            by_kind[kind] = _changed(by_kind.get(kind, _NO_OBJECTS), of_kind)
            for key, change in of_kind.items():
                found = change.problems if change is not None else ()
                if found != self.problems.get(key, ()):
                    problems = dict(self.problems) if problems is None else problems
                    problems.pop(key, None)
                    if found:
                        problems[key] = found
        unchanged = all(by_kind[kind] is self._by_kind.get(kind, _NO_OBJECTS) for kind in changes)
        if unchanged and problems is None:
            return self
        return ObjectSet(MappingProxyType(by_kind), self.problems if problems is None else MappingProxyType(problems))

    def all(self, object_type: type[AnyObject]) -> Mapping[ObjectKey, AnyObject]:
        """All objects of a type, in no order that means anything; a view that cannot be written to."""
        found = self._by_kind.get(kind_of_type(object_type).kind, _NO_OBJECTS)
        return cast("Mapping[ObjectKey, AnyObject]", found)

    def get(self, object_type: type[AnyObject], key: ObjectKey) -> AnyObject | None:
        """The object, or ``None`` if there is none of that type and key."""
        return self.all(object_type).get(key)

    def __iter__(self) -> Iterator[ObjectKey]:
        for of_kind in self._by_kind.values():
            yield from of_kind

    def __len__(self) -> int:
        return sum(len(of_kind) for of_kind in self._by_kind.values())


def _changed(
    before: Mapping[ObjectKey, ApiObject], changes: Mapping[ObjectKey, Parsed | None]
) -> Mapping[ObjectKey, ApiObject]:
    after: dict[ObjectKey, ApiObject] | None = None
    for key, change in changes.items():
        old = before.get(key)
        new = change.object if change is not None else None
        if old is new or (old is not None and old == new):
            continue
        after = dict(before) if after is None else after
        if new is None:
            del after[key]
        else:
            after[key] = new if old is None else share(old, new)
    return before if after is None else MappingProxyType(after)
