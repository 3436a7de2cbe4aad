"""Objects that change while the control plane is away, in a real Envoy under load: what it answers when it is told."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from tests.support import envoy_mesh
from tests.support.churn import ASKS, EDITS, World
from tests.support.churn_run import Churn, Saboteur, judge
from tests.support.envoy_mesh import CLIENT, run_envoy_mesh
from tests.support.load import Load

from meshpass.memo import Memo
from meshpass.translate.sidecar import OUTBOUND_PORT
from meshpass.xds.cache import SnapshotCache
from meshpass.xds.memory import Plan
from meshpass.xds.server import AdsServer

pytestmark = pytest.mark.envoy

FUZZ = bool(os.environ.get("MESHPASS_FUZZ"))
SEED = int(os.environ.get("MESHPASS_CHURN_SEED") or (random.SystemRandom().randrange(10**6) if FUZZ else 911609))
"""The one that is not new has found something once."""
OUTAGES = int(os.environ.get("MESHPASS_OUTAGES", "12"))
CLIENTS = 6
KINDS = ("relabel and move", "relabel", "phase", "everything", "rival")
"""Edits after which classes mean something else while routes change, or more than one filter is another."""


@pytest.mark.parametrize("remembered", [True, False])
async def test_edits_during_an_outage_let_nobody_in(monkeypatch: pytest.MonkeyPatch, *, remembered: bool) -> None:
    """A control plane that knows what there was before it finds other objects: no wrong 200, no refused good token.

    One that does not know refuses for a moment what it cannot tell: no wrong 200.
    """
    servers: list[KnownServer] = []

    class KnownServer(AdsServer):
        def __init__(self, cache: SnapshotCache, plan: Plan, *, listen: Path) -> None:
            super().__init__(cache, plan, listen=listen)
            self.arguments = {"plan": plan, "listen": listen}
            servers.append(self)

    monkeypatch.setattr(envoy_mesh, "AdsServer", KnownServer)
    chosen = random.Random(SEED)
    async with run_envoy_mesh() as mesh:
        churn = Churn(mesh, Saboteur(chosen), chosen)
        await churn.start()
        place = (mesh.address(CLIENT), OUTBOUND_PORT)
        async with Load(place, churn.timeline, [ask.encode() for ask in ASKS], clients=CLIENTS, seed=SEED) as load:
            for number in range(OUTAGES):
                await load.settle()
                await servers[-1].__aexit__(None, None, None)
                mesh.cache, mesh.memo = SnapshotCache(), Memo()
                if remembered:
                    churn.publish()
                churn.begin(next_world(churn.worlds[-1], number, chosen))
                churn.publish()
                await KnownServer(mesh.cache, **servers[0].arguments).__aenter__()
                await churn.synced()
        await servers[-1].__aexit__(None, None, None)
    wrong = [one for one in judge(churn.worlds, load.exchanges) if remembered or one.what != "refused"]
    assert not wrong, f"seed {SEED}: {Counter(one.what for one in wrong)}, first {wrong[0].describe(churn.worlds)}"
    assert load.closed == 0, f"seed {SEED}"
    assert len(load.exchanges) > 100 * OUTAGES


def next_world(world: World, number: int, chosen: random.Random) -> World:
    return EDITS[KINDS[number % len(KINDS)]](world, chosen)
