"""An API server in a process of its own, so that a test can kill it: ``python -m tests.support.apiserver_process DIR PORT``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.support.apiserver import TlsFiles, make_settings

from meshpass.apiserver.server import ApiServer


async def _serve(directory: Path, port: int) -> None:
    tls = TlsFiles(certificate=directory / "tls.crt", private_key=directory / "tls.key")
    async with ApiServer(make_settings(directory, tls, port=port, bookmark_seconds=0.2)) as server:
        print(server.port, flush=True)  # noqa: T201 - the parent reads it
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
