"""Precedence by age: the older object wins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from meshpass.api.metadata import ApiObject
from meshpass.api.objectset import ObjectKey

T = TypeVar("T", bound=ApiObject)


def age(key: ObjectKey, item: ApiObject) -> tuple[str, str, str, str]:
    """Sorts the oldest first; equal times by namespace, name, cluster (decision 4).

    An RFC 3339 time in UTC, as API servers write it, sorts as text. An object that has no time yet is the youngest.
    """
    return (item.metadata.creation_timestamp or "~", key.namespace, key.name, key.cluster)


def by_age(objects: Mapping[ObjectKey, T]) -> list[tuple[ObjectKey, T]]:
    """The objects, oldest first."""
    return sorted(objects.items(), key=lambda entry: age(*entry))
