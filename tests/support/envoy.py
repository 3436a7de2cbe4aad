"""EnvoyUnderTest: one real Envoy that follows whatever Snapshot a test sets, through the real AdsServer."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from meshpass.envoy.build import build_snapshot
from meshpass.envoy.snapshot import Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.ir import Proxy
from meshpass.localmesh.bootstrap import BootstrapSettings, build_bootstrap, build_command
from meshpass.localmesh.envoy_binary import find_envoy
from meshpass.memo import Memo
from meshpass.xds.cache import NodeState, SnapshotCache
from meshpass.xds.server import AdsServer

NODE = "sidecar~cluster1~tests~envoy"
SETTLE_SECONDS = 10.0


class EnvoyUnderTest:
    """The Envoy of node NODE. It has no state of its own besides what it was sent."""

    def __init__(self, cache: SnapshotCache, memo: Memo, listen: Path) -> None:
        self.cache = cache
        self._memo = memo
        self._listen = listen
        self._server: AdsServer | None = None

    async def reconnect(self) -> None:
        """The Envoy has another stream; what is in the cache stays."""
        await self.disconnect()
        await self.listen()
        await self.connected()

    async def listen(self) -> None:
        """The Envoy may connect."""

        def plan(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
            return plan_transition(current, target, self._memo)

        self._server = await AdsServer(self.cache, plan, listen=self._listen).__aenter__()

    async def connected(self) -> None:
        """Returns when the Envoy has a stream."""
        async with asyncio.timeout(SETTLE_SECONDS):
            while self.cache.state(NODE).streams == 0:
                await self.cache.wait_changed(self.cache.revision)

    async def disconnect(self) -> None:
        """The Envoy has no stream."""
        if self._server is not None:
            await self._server.__aexit__(None, None, None)
            self._server = None

    async def apply(self, proxy: Proxy) -> NodeState:
        """What the Envoy says of this task, as its own: in sync, or what it rejects. TimeoutError if it says neither.

        Its listeners are moved to free ports of 127.0.0.1, so that tests of several processes do not meet.
        """
        listeners = tuple(replace(one, address="127.0.0.1", port=0) for one in proxy.listeners)
        self.cache.set(build_snapshot(replace(proxy, node=NODE, listeners=listeners), self._memo))
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                seen = self.cache.revision
                state = self.cache.state(NODE)
                if state.in_sync or state.rejections:
                    return state
                await self.cache.wait_changed(seen)


@asynccontextmanager
async def run_envoy() -> AsyncIterator[EnvoyUnderTest]:
    """Inside, an Envoy runs and is connected; it is gone afterwards."""
    # Paths of unix sockets are short; pytest's own directories are not.
    with tempfile.TemporaryDirectory(prefix="meshpass-") as name:
        directory = Path(name)
        settings = BootstrapSettings(
            node=NODE,
            node_cluster="tests",
            ads_socket=directory / "run" / "ads.sock",
            admin_socket=directory / "admin.sock",
        )
        bootstrap = directory / "bootstrap.json"
        bootstrap.write_text(json.dumps(build_bootstrap(settings)))
        log = directory / "envoy.log"
        envoy = EnvoyUnderTest(SnapshotCache(), Memo(), settings.ads_socket)
        await envoy.listen()
        try:
            with log.open("wb") as output:
                process = await asyncio.create_subprocess_exec(
                    *build_command(find_envoy(), bootstrap), stdout=output, stderr=output, env={"PATH": os.defpath}
                )
            try:
                await envoy.connected()
                yield envoy
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()
        finally:
            await envoy.disconnect()
