"""Announcement: one line of a supervisor about what just happened, for people."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Announcement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened."""

    text: str
    trouble: bool = False
    """True for what should not have happened; False for a step on the way."""


Announce = Callable[[Announcement], None]
