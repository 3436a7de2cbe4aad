"""Report: what translation has to say about each object. Becomes status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from meshpass.api.objectset import ObjectKey
from meshpass.translate.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReport:
    """What there is to say about one object."""

    generation: int
    findings: tuple[Finding, ...]
    counts: Mapping[str, object] = field(default_factory=dict)
    """Further fields of the status, by their wire names."""
    content: tuple[str, ...] = ()
    """Names, with hashes, of what was made from it: another content is another task for the proxies."""
    nodes: frozenset[str] = frozenset()
    """The proxies in which the object has an effect."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """What there is to say about every object that gets a status."""

    objects: Mapping[ObjectKey, ObjectReport]
