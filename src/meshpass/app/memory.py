"""Memory: how Python's collector of cycles treats a process full of frozen values."""

from __future__ import annotations

import asyncio
import gc
from typing import NoReturn

from meshpass.reconciler import Reconciler

COLLECT_AFTER = (50_000, 20, 20)
"""Objects made until the collector of cycles looks at the new ones; and how many such looks until it looks at older ones.

Python's own 700 would look at most of what ten thousand routes are made of again and again while it is being made, for
nothing: half of the time of a first translation.
"""


async def settle_memory(reconciler: Reconciler) -> NoReturn:
    """Once all objects have been translated, the collector of cycles no longer looks at what came of them.

    They are frozen values without cycles, hundreds of thousands of them: looking at all of them now and then would
    stop everything for a fifth of a second.
    """
    gc.set_threshold(*COLLECT_AFTER)
    await reconciler.wait_translated(0)
    gc.freeze()
    await asyncio.Event().wait()
    raise AssertionError("never set")
