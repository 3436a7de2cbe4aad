"""FetchError: why a source gave no keys this time."""

from __future__ import annotations


class FetchError(Exception):
    """No keys came. ``reason`` is fit for a status: no secrets, nothing of the body, the same each time it happens.

    ``transient``: trying again soon may help.
    """

    def __init__(self, reason: str, *, transient: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.transient = transient
