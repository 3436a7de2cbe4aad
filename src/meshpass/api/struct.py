"""ApiStruct: the base of every type that a manifest is made of."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, ClassVar, NamedTuple, TypedDict, TypeVar, Unpack, dataclass_transform

import msgspec


class Limits(TypedDict, total=False):
    """Constraints of a field, in msgspec's words."""

    ge: int
    le: int
    min_length: int
    max_length: int
    pattern: str


def doc(description: str, *, schema: dict[str, Any] | None = None, **limits: Unpack[Limits]) -> msgspec.Meta:
    """What ``kubectl explain`` prints for a field, with its constraints; ``schema`` is added to the OpenAPI schema as is."""
    arguments: dict[str, Any] = dict(limits)
    return msgspec.Meta(description=description, extra_json_schema=schema, **arguments)


class Rule(NamedTuple):
    """A condition on a value in the Common Expression Language, which every API server enforces (``x-kubernetes-validations``)."""

    expression: str
    """True for a value that is allowed, which is called ``self``; fields have their wire names."""
    message: str
    """What the user is told of a value that is not."""
    items_of: str = ""
    """Python name of a list: each of its items is the value, instead of the struct."""
    instead_of: tuple[str, ...] = ()
    """Python names of fields whose presence, choices and least length the schema leaves to this rule, for its message's sake."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class ApiStruct(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, rename="camel"
):
    """A frozen, hashable value with lowerCamelCase wire names; a field that equals its default is not on the wire.

    An optional object defaults to ``None``, so that presence of an empty object (``preAuthz: {}``) is kept.
    """

    needs: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Groups of fields (Python names) of a spec; of each group at least one must be set. Checked by ``parse_object``."""
    rules: ClassVar[tuple[Rule, ...]] = ()
    """What admission demands of a value beyond its schema. Checked by API servers alone: an object may come in without."""

    def __hash__(self) -> int:
        return hash((type(self), *(_hashable(getattr(self, name)) for name in self.__struct_fields__)))


class OneOfStruct(ApiStruct):
    """A struct with groups of fields of which at most one may be set; building one that sets two is a ValueError."""

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """The groups, by Python field names; members default to ``None`` or ``()``."""

    def __post_init__(self) -> None:
        for group in self.one_of:
            present = [name for name in group if is_set(getattr(self, name))]
            if len(present) > 1:
                names = wire_names(type(self))
                raise ValueError(only_one_of(tuple(names[name] for name in present)))


def is_set(value: object) -> bool:
    """True when a member of a group holds something: an empty object counts, an empty list does not."""
    return value is not None and value != ()


def only_one_of(names: tuple[str, ...]) -> str:
    """The words for a broken one-of group."""
    return f"only one of {', '.join(names)} may be set"


@cache
def wire_names(struct: type[msgspec.Struct]) -> Mapping[str, str]:
    """Python field name → name on the wire."""
    return dict(zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True))


Value = TypeVar("Value")


def share(old: Value, new: Value) -> Value:
    """``new``, with every part that equals the part of ``old`` in its place being that very object."""
    if old is new or old == new:
        return old
    if isinstance(new, msgspec.Struct) and type(old) is type(new):
        parts = {name: share(getattr(old, name), getattr(new, name)) for name in new.__struct_fields__}
        return msgspec.structs.replace(new, **parts)
    return new


def _hashable(value: Any) -> Hashable:
    return frozenset(value.items()) if isinstance(value, Mapping) else value
