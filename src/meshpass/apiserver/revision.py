"""Key, Stored and Revision: what the storage keeps and hands out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import msgspec


class Key(NamedTuple):
    """Where one object lives. ``kind`` is ``group/plural``; ``namespace`` is empty for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str


class Change(Enum):
    """What a revision did to its object; the values are the types of watch events."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Stored:
    """One object as it is stored: JSON whose metadata carries ``revision`` as its resourceVersion."""

    key: Key
    revision: int
    body: bytes

    def decode(self) -> dict[str, Any]:
        """A fresh copy that the caller may change."""
        decoded: dict[str, Any] = msgspec.json.decode(self.body)
        return decoded


@dataclass(frozen=True, slots=True)
class Revision:
    """One line of the log."""

    number: int
    change: Change
    key: Key
    body: bytes
    """The object after the change; for DELETED its last state, with this revision as resourceVersion."""
    previous: bytes | None
    """The object before the change; None for ADDED."""
