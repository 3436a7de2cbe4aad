"""A mesh is ready when the programs behind its sidecars listen."""

from __future__ import annotations

import asyncio
import socket

from meshpass.localmesh.listening import find_silent


async def test_those_that_do_not_listen_are_named():
    """The others are not."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        addresses = {"a": f"127.0.0.1:{listener.getsockname()[1]}", "b": f"127.0.0.1:{bound.getsockname()[1]}"}

        assert await find_silent(addresses, seconds=0) == ("b",)


async def test_one_that_comes_late_is_waited_for():
    """As soon as it listens, the wait is over."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            found = group.create_task(find_silent({"a": address}, seconds=60))
            await asyncio.sleep(0)
            bound.listen()

    assert found.result() == ()


async def test_nothing_to_wait_for():
    """A mesh of clients."""
    assert await find_silent({}, seconds=60) == ()
