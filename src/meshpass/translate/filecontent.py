"""FileContent: what is in a file that some object names. Reading it is somebody else's task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """What is known of a file. The same object as long as it holds the same."""

    text: str = field(default="", repr=False)
    """All of it; never printed, for it may be a key."""
    problem: str = ""
    """Why it is not known, in words for a status; empty if it is."""


FileContents = Mapping[str, FileContent]
"""Absolute path → what is there; a path that is not in it has not been looked at yet."""

UNREAD = FileContent(problem="has not been read yet")
NO_FILES: FileContents = MappingProxyType({})
