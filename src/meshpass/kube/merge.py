"""Merge patches (RFC 7386), from two states and from three."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The smallest merge patch that turns ``before`` into ``after``; empty when they are equal."""
    return three_way_patch(before, after, before)


def three_way_patch(applied: Mapping[str, Any], wanted: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that ``kubectl apply`` makes: ``live`` then says what ``wanted`` says, and no longer what only ``applied`` said.

    Fields that neither names, such as defaults, stay. Lists are values: they are replaced whole. A null in ``wanted``
    is as good as no field (a merge patch could not set it).
    """
    wanted = {name: value for name, value in wanted.items() if value is not None}
    patch: dict[str, Any] = {name: None for name in applied if name not in wanted and name in live}
    for name, value in wanted.items():
        existing = live.get(name)
        if isinstance(value, Mapping) and isinstance(existing, Mapping):
            previous = applied.get(name)
            nested = three_way_patch(previous if isinstance(previous, Mapping) else {}, value, existing)
            if nested:
                patch[name] = nested
        elif name not in live or existing != value:
            patch[name] = value
    return patch
