"""A thousand edits of policies of every kind under load, in a real Envoy: no request ever sees what neither side means."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication, JwtRequirement
from tests.support import envoy_mesh
from tests.support.churn import ALL_PLACES, ASKS, EDITS, PROTECTED, Manifest, Meaning, World, mean, token_text
from tests.support.envoy_mesh import CLIENT, EnvoyMesh, run_envoy_mesh
from tests.support.load import Exchange, Load, Timeline
from tests.support.objects import read_objects

from meshpass.envoy.build import build_snapshot
from meshpass.envoy.filters import build_extension_config
from meshpass.envoy.snapshot import EXTENSION_CONFIG, Snapshot
from meshpass.envoy.transition import plan_transition
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
SEED = int(os.environ.get("MESHPASS_CHURN_SEED") or random.SystemRandom().randrange(10**6))
"""A new one for every run, named by every failure."""
CLIENTS = 6
HOW = {"acknowledged": 70, "settled": 15, "overtaken": 10, "refused": 5}
"""What becomes of an edit, in per cent: the next one comes after its ACK, or after answers that it alone can have
given, or before its ACK; or Envoy refuses a part of it before it accepts the whole."""

logger = logging.getLogger(__name__)


class Saboteur:
    """Plans like the control plane, but spoils one filter of one step when it is told to, so that Envoy refuses it."""

    def __init__(self, chosen: random.Random) -> None:
        self.armed = False
        self._random = chosen

    def plan(self, current: Snapshot | None, target: Snapshot, memo: Memo) -> tuple[Snapshot, ...]:
        steps = plan_transition(current, target, memo)
        if not self.armed:
            return steps
        self.armed = False
        spoiled = self._random.randrange(len(steps))
        return tuple(self._spoil(step) if number == spoiled else step for number, step in enumerate(steps))

    def _spoil(self, step: Snapshot) -> Snapshot:
        filters = step.of(EXTENSION_CONFIG)
        name = self._random.choice(sorted(filters))
        message = JwtAuthentication(requirement_map={"any": JwtRequirement(provider_name="nobody")})
        spoiled = {**filters, name: build_extension_config(name, message, frozenset())}
        return replace(step, resources=MappingProxyType({**step.resources, EXTENSION_CONFIG: spoiled}))


class Churn:
    """The worlds that followed each other in one mesh."""

    def __init__(self, mesh: EnvoyMesh, saboteur: Saboteur, chosen: random.Random) -> None:
        self.timeline = Timeline()
        self.worlds = [World()]
        self.kinds: Counter[str] = Counter()
        self._mesh = mesh
        self._saboteur = saboteur
        self._random = chosen
        self._waiting = True

    async def start(self) -> None:
        self._store(World())
        await self._mesh.publish()

    async def edit(self, load: Load) -> None:
        """The next edit of some kind; most are acknowledged before the next one, some are overtaken, some refused."""
        kind = self._random.choice(list(EDITS))
        world = EDITS[kind](self.worlds[-1], self._random)
        how = self._random.choices(list(HOW), list(HOW.values()))[0]
        self.kinds.update((kind, how))
        self.worlds.append(world)
        self.timeline.begin()
        self._store(world)
        if how == "refused" and self._waiting:
            await self._refuse()
        self._set()
        self._waiting = how != "overtaken"
        if self._waiting:
            await self._until(lambda: self._mesh.cache.state(CLIENT).in_sync)
            self.timeline.acknowledge()
        if how == "settled":
            await load.settle()

    def _store(self, world: World) -> None:
        manifests: list[Manifest] = [*world.tables().values()]
        manifests += [policy.manifest(name) for name, policy in world.policies.items()]
        mesh = self._mesh
        wanted = read_objects(*manifests)
        gone = [key for key in mesh.objects if key.kind == "JWTPolicy" and key not in wanted]
        mesh.objects = mesh.objects.with_changes(wanted, gone)

    def _set(self) -> None:
        self._mesh.cache.set(build_snapshot(self._mesh.translate().proxies[CLIENT], self._mesh.memo))

    async def _refuse(self) -> None:
        self._saboteur.armed = True
        self._set()
        cache = self._mesh.cache
        await self._until(lambda: bool(cache.state(CLIENT).rejections) or cache.state(CLIENT).in_sync)
        self._saboteur.armed = False

    async def _until(self, holds: Callable[[], bool]) -> None:
        cache = self._mesh.cache
        async with asyncio.timeout(10):
            while not holds():
                await cache.wait_changed(cache.revision)


class Seen(msgspec.Struct):
    """What httpbin says of a request."""

    args: dict[str, list[str]]
    headers: dict[str, list[str]]

    @property
    def header(self) -> str:
        return ",".join(text for text in self.headers.get("X-Org", []) if text)

    @property
    def places(self) -> frozenset[str]:
        return frozenset(place for place in ALL_PLACES if place in self.headers or place in self.args)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """An exchange that is not as any of the worlds around it means it."""

    what: str
    exchange: Exchange

    def describe(self, worlds: list[World]) -> str:
        around = worlds[self.exchange.first : self.exchange.last + 1]
        asked = ASKS[self.exchange.request]
        seen = msgspec.json.decode(self.exchange.body, type=Seen) if self.exchange.upstream else None
        what = f"{self.exchange.status}, header {seen.header!r}, tokens in {set(seen.places)}" if seen else "refused"
        lines = [f"{self.what}: {asked} was answered {what}"]
        lines += [f"{self.exchange.first + index}: {mean(world, asked)} {world}" for index, world in enumerate(around)]
        return "\n".join(lines)


def judge(worlds: list[World], exchanges: list[Exchange]) -> Iterator[Wrong]:
    meaning = cache(lambda state, request: mean(worlds[state], ASKS[request]))
    for exchange in exchanges:
        meanings = [meaning(state, exchange.request) for state in range(exchange.first, exchange.last + 1)]
        what = find_wrong(exchange, meanings)
        if what:
            yield Wrong(what=what, exchange=exchange)


def find_wrong(exchange: Exchange, meanings: list[Meaning]) -> str:
    """What is wrong with an exchange; empty if nothing is."""
    if exchange.status not in ({200} if exchange.upstream else {401, 403}):
        return f"answered {exchange.status}"
    if exchange.upstream not in {meaning.passed for meaning in meanings}:
        return "let through" if exchange.upstream else "refused"
    if not exchange.upstream:
        return ""
    seen = msgspec.json.decode(exchange.body, type=Seen)
    if seen.header not in set(allowed_headers(seen.header, meanings)):
        return "wrong header"
    left = [meaning.left for meaning in meanings if meaning.left is not None]
    if len(left) < len(meanings) or not all(meaning.passed for meaning in meanings):
        return ""
    # Between two worlds a token may be removed from where either of them removes it.
    if not any(seen.places <= places for places in left):
        return "token sent on"
    return "" if seen.places >= frozenset.intersection(*left) else "token lost"


def allowed_headers(seen: str, meanings: list[Meaning]) -> Iterator[str]:
    """Claim headers that are right in one of the worlds; between two of them, some more."""
    for meaning in meanings:
        if meaning.passed:
            yield meaning.header
            if len(meanings) > 1:
                # As long as one of the worlds overwrites a header, it is taken from clients.
                yield meaning.header.removeprefix("evil").lstrip(",;")
            if len({one.phase for one in meanings}) > 1 and undoubled(seen) == undoubled(meaning.header):
                # While verification moves, both phases verify, and both append.
                yield seen


def undoubled(header: str) -> set[str]:
    return set(re.split("[,;]", header))


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
