"""Listening: whether the programs behind the sidecars accept connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

_LOOK_AGAIN = 0.05


async def find_silent(addresses: Mapping[str, str], *, seconds: float) -> tuple[str, ...]:
    """The names of the addresses (``127.0.0.1:5000``) that nobody had listened on after so many seconds; mostly none."""
    deadline = time.monotonic() + seconds
    silent = dict(addresses)
    while silent:
        silent = {name: address for name, address in silent.items() if not await accepts(address)}
        if not silent or time.monotonic() > deadline:
            break
        await asyncio.sleep(_LOOK_AGAIN)
    return tuple(silent)


async def accepts(address: str) -> bool:
    """True where somebody listens at the address, ``127.0.0.1:5000``."""
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True
