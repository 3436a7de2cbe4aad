"""Running requests side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def gather_all(coroutines: Iterable[Coroutine[Any, Any, Result]]) -> tuple[Result, ...]:
    """The results, in the order given. The first failure cancels the rest and is raised itself, not in a group."""
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    return tuple(task.result() for task in running)
