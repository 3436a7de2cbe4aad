"""Generated route tables and requests: the real Envoy does what the IR says, as an oracle reads it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from random import SystemRandom

import pytest
import pytest_asyncio
import yaml
from tests.support.echo_server import run_echoes
from tests.support.envoy_mesh import (
    CLIENT,
    GATEWAY,
    GATEWAY_PORTS,
    SETTLE_SECONDS,
    EnvoyMesh,
    build_endpoints,
    run_envoy_mesh,
)
from tests.support.gateway_objects import virtual_gateway
from tests.support.http_client import Answer, Request
from tests.support.objects import key_of
from tests.support.route_generator import Generated, generate
from tests.support.route_oracle import Answered, Asked, Moved, Sent, Verdict, judge

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

FUZZ = bool(os.environ.get("MESHPASS_FUZZ"))
SETS = int(os.environ.get("MESHPASS_FUZZ_EXAMPLES", "3000")) if FUZZ else 60
REQUESTS = 40
FIRST_SEED = int(os.environ.get("MESHPASS_SEED", "0")) or SystemRandom().randrange(1, 10**9)


@dataclass
class Bench:
    """One mesh for all tables, and what was seen."""

    mesh: EnvoyMesh
    pairs: int = 0
    seen: Counter[str] = field(default_factory=Counter)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench() -> AsyncIterator[Bench]:
    async with run_envoy_mesh(CLIENT, GATEWAY) as mesh, run_echoes("httpbin", "canary", "guarded") as ports:
        await mesh.apply(*(build_endpoints(name, "127.0.0.1", port) for name, port in ports.items()))
        yield Bench(mesh)
        mesh.client.close()


@pytest.mark.timeout(3600 if FUZZ else 120)
async def test_envoy_does_what_the_routes_say(bench: Bench) -> None:
    """Which backend under which path and Host, which redirect, which answer: for every table and request the same."""
    print(f"MESHPASS_SEED={FIRST_SEED}")  # noqa: T201 - shown when the test fails
    for seed in range(FIRST_SEED, FIRST_SEED + SETS):
        await compare(bench, seed, generate(seed, requests=REQUESTS), CLIENT)


@pytest.mark.timeout(3600 if FUZZ else 120)
async def test_a_gateway_does_what_the_routes_say(bench: Bench) -> None:
    """The same at the edge, where the port of the Host does not matter."""
    print(f"MESHPASS_SEED={FIRST_SEED}")  # noqa: T201 - shown when the test fails
    async with bench.mesh.having(virtual_gateway()):
        for seed in range(FIRST_SEED, FIRST_SEED + SETS // 3):
            generated = generate(seed, requests=REQUESTS)
            for table in generated.tables:
                if "hosts" in table["spec"]:
                    table["spec"]["virtualGateways"] = [{"name": "gateway"}]
            await compare(bench, seed, generated, GATEWAY)


async def compare(bench: Bench, seed: int, generated: Generated, node: str) -> None:
    """Fails at the first request that Envoy answers otherwise than the oracle."""
    async with bench.mesh.having(*generated.tables) as translation:
        (routes,) = translation.proxies[node].routes
        for asked in generated.requests:
            verdict = judge(routes, asked)
            answer = await ask(bench.mesh, asked, node)
            bench.pairs += 1
            bench.seen[type(verdict).__name__] += 1
            if not is_right(verdict, answer):
                pytest.fail(describe(seed, generated, asked, verdict, answer))


def describe(seed: int, generated: Generated, asked: Asked, verdict: Verdict, answer: Answer) -> str:
    tables = yaml.safe_dump_all([{str(key_of(one)): one["spec"]} for one in generated.tables])
    return f"seed {seed}\n{tables}\nasked: {asked}\nright: {verdict}\nEnvoy: {answer.status} {answer.headers}\n{answer.text}"


async def ask(mesh: EnvoyMesh, asked: Asked, node: str) -> Answer:
    if node == CLIENT:
        return await mesh.request(asked.authority, asked.target, method=asked.method, headers=asked.headers)
    url = f"http://{asked.authority}{asked.target}"
    request = Request(url=url, method=asked.method, headers=asked.headers, proxied=False)
    place = (mesh.address(GATEWAY), GATEWAY_PORTS[80])
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            try:
                return await mesh.client.send(place, request)
            except ConnectionRefusedError:  # acknowledged, and not bound yet
                await asyncio.sleep(0.01)


def is_right(verdict: Verdict, answer: Answer) -> bool:
    match verdict:
        case Answered(status, body):
            return (answer.upstream, answer.status, answer.text) == (None, status, body)
        case Moved(status, location):
            found = (answer.upstream, answer.status, answer.header("location"))
            return found == (None, status, location)
        case Sent(backends, target):
            if answer.upstream is None:
                return False
            host = dict(answer.json["headers"])["host"]
            return answer.json["target"] == target and (f"cluster1/httpbin/{answer.upstream}:8000", host) in backends


async def test_enough_pairs_were_tried(bench: Bench) -> None:
    """At least 2,000 pairs of tables and a request, and enough of every kind of answer."""
    assert bench.pairs >= 2000
    assert all(bench.seen[kind] > 100 for kind in ("Sent", "Moved", "Answered")), bench.seen
