"""Churn: the worlds that follow each other in one mesh, and what is wrong with the answers meanwhile."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType

import msgspec
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication, JwtRequirement
from tests.support.churn import ALL_PLACES, ASKS, EDITS, Manifest, Meaning, World, mean
from tests.support.envoy_mesh import CLIENT, EnvoyMesh
from tests.support.load import Exchange, Load, Timeline
from tests.support.objects import read_objects

from meshpass.envoy.build import build_snapshot
from meshpass.envoy.filters import build_extension_config
from meshpass.envoy.snapshot import EXTENSION_CONFIG, Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.memo import Memo

HOW = {"acknowledged": 70, "settled": 15, "overtaken": 10, "refused": 5}
"""What becomes of an edit, in per cent: the next one comes after its ACK, or after answers that it alone can have
given, or before its ACK; or Envoy refuses a part of it before it accepts the whole."""


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
        """The first world holds."""
        self._store(World())
        await self._mesh.publish()

    async def edit(self, load: Load) -> None:
        """The next edit of some kind; most are acknowledged before the next one, some are overtaken, some refused."""
        kind = self._random.choice(list(EDITS))
        world = EDITS[kind](self.worlds[-1], self._random)
        how = self._random.choices(list(HOW), list(HOW.values()))[0]
        self.kinds.update((kind, how))
        self.begin(world)
        if how == "refused" and self._waiting:
            await self._refuse()
        self.publish()
        self._waiting = how != "overtaken"
        if self._waiting:
            await self.synced()
        if how == "settled":
            await load.settle()

    def begin(self, world: World) -> None:
        """The objects are those of the world; nobody has been told."""
        self.worlds.append(world)
        self.timeline.begin()
        self._store(world)

    def publish(self) -> None:
        """What the objects mean is the target of the proxy."""
        self._mesh.cache.set(build_snapshot(self._mesh.translate().proxies[CLIENT], self._mesh.memo))

    async def synced(self) -> None:
        """Returns when the proxy has acknowledged the newest world."""
        await self._until(lambda: self._mesh.cache.state(CLIENT).in_sync)
        self.timeline.acknowledge()

    def _store(self, world: World) -> None:
        manifests: list[Manifest] = [*world.tables().values()]
        manifests += [policy.manifest(name) for name, policy in world.policies.items()]
        mesh = self._mesh
        wanted = read_objects(*manifests)
        gone = [key for key in mesh.objects if key.kind == "JWTPolicy" and key not in wanted]
        mesh.objects = mesh.objects.with_changes(wanted, gone)

    async def _refuse(self) -> None:
        self._saboteur.armed = True
        self.publish()
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
