"""A thousand edits of policies of every kind under load, in a real Envoy: no request ever sees what neither side means."""

from __future__ import annotations

import logging
import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support import envoy_mesh
from tests.support.churn import ASKS, EDITS, PROTECTED, World, token_text
from tests.support.churn_run import HOW, Churn, Saboteur, judge
from tests.support.envoy_mesh import CLIENT, run_envoy_mesh
from tests.support.load import Load

from meshpass.memo import Memo
from meshpass.translate.sidecar import OUTBOUND_PORT
from meshpass.xds import server as ads_server
from meshpass.xds.cache import SnapshotCache
from meshpass.xds.event import Send
from meshpass.xds.memory import Plan
from meshpass.xds.server import AdsServer
from meshpass.xds.wire import serialise_response

pytestmark = pytest.mark.envoy

COUNT = int(os.environ.get("MESHPASS_CHURN_EDITS", "1000"))
FUZZ = bool(os.environ.get("MESHPASS_FUZZ"))
SEED = int(os.environ.get("MESHPASS_CHURN_SEED") or (random.SystemRandom().randrange(10**6) if FUZZ else 911609))
"""The one that is not new has found something once."""
CLIENTS = 6
logger = logging.getLogger(__name__)


@pytest.mark.timeout(300)
async def test_no_request_sees_what_neither_side_of_an_edit_means(monkeypatch: pytest.MonkeyPatch) -> None:
    """No unauthenticated 200, no refused good token, no wrong claim header, no token sent on, no closed connection.

    Wherever all that may hold around a request agrees on it, so does the answer.
    """
    logger.info("seed %d (MESHPASS_CHURN_SEED)", SEED)
    chosen = random.Random(SEED)
    saboteur = Saboteur(chosen)
    monkeypatch.setattr(envoy_mesh, "plan_transition", saboteur.plan)
    async with run_envoy_mesh() as mesh:
        churn = Churn(mesh, saboteur, chosen)
        await churn.start()
        place = (mesh.address(CLIENT), OUTBOUND_PORT)
        requests = [ask.encode() for ask in ASKS]
        async with Load(place, churn.timeline, requests, clients=CLIENTS, seed=SEED) as load:
            for _ in range(COUNT):
                await churn.edit(load)
    wrong = list(judge(churn.worlds, load.exchanges))
    assert not wrong, f"seed {SEED}: {Counter(one.what for one in wrong)}, first {wrong[0].describe(churn.worlds)}"
    assert load.closed == 0, f"seed {SEED}"
    assert churn.kinds.keys() == {*EDITS, *HOW}
    assert len(load.exchanges) > 3 * COUNT
    assert any(one.first == one.last and one.upstream for one in load.exchanges)


async def test_equal_headers_in_both_phases_are_written_once() -> None:
    """A policy of one phase does nothing on the routes of another one that says the same in the other phase."""
    world = World()
    first = world.policies["main"]
    one, two = (
        replace(first, zones=frozenset({world.zones[host]}), headers="append", phase=phase)
        for host, phase in zip(PROTECTED, ("preAuthz", "postAuthz"), strict=True)
    )
    async with run_envoy_mesh() as mesh:
        await mesh.apply(*world.tables().values(), one.manifest("one"), two.manifest("two"))
        for host in PROTECTED:
            answer = await mesh.request(f"{host}.example.com", headers={"X-Auth": f"Bearer {token_text('dev')}"})
            assert (answer.status, answer.seen("x-org")) == (200, ["internal"])


async def test_verdicts_stay_without_a_control_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes away under load: nothing changes. Another one comes that means the same: it sends nothing; edits go on."""
    servers: list[RecordedServer] = []
    sent: list[Send] = []

    class RecordedServer(AdsServer):
        def __init__(self, cache: SnapshotCache, plan: Plan, *, listen: Path) -> None:
            super().__init__(cache, plan, listen=listen)
            self.arguments = {"plan": plan, "listen": listen}
            servers.append(self)

    def record(send: Send) -> bytes:
        sent.append(send)
        return serialise_response(send)

    monkeypatch.setattr(envoy_mesh, "AdsServer", RecordedServer)
    monkeypatch.setattr(ads_server, "serialise_response", record)
    chosen = random.Random(SEED)
    async with run_envoy_mesh() as mesh:
        churn = Churn(mesh, Saboteur(chosen), chosen)
        await churn.start()
        place = (mesh.address(CLIENT), OUTBOUND_PORT)
        async with Load(place, churn.timeline, [ask.encode() for ask in ASKS], clients=CLIENTS, seed=SEED) as load:
            await load.settle()
            await servers[0].__aexit__(None, None, None)
            assert mesh.cache.state(CLIENT).streams == 0
            sent.clear()
            for _ in range(50):
                await load.settle()
            mesh.cache, mesh.memo = SnapshotCache(), Memo()
            async with AdsServer(mesh.cache, **servers[0].arguments):
                await mesh.publish()
                assert [send for send in sent if send.resources or send.removed] == []
                for _ in range(20):
                    await churn.edit(load)
    wrong = list(judge(churn.worlds, load.exchanges))
    assert not wrong, f"seed {SEED}: {wrong[0].describe(churn.worlds)}"
    assert load.closed == 0
