"""CORS, retries, time limits, faults and headers in a real Envoy, on routes that need a token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from tests.support.envoy_mesh import EnvoyMesh, build_endpoints, build_service, run_envoy_mesh
from tests.support.http_client import Answer
from tests.support.jwt_objects import DENIED, HOST, LABEL, MISSING, Manifest, bearer, policy, protect, provider, table
from tests.support.objects import forward
from tests.support.tokens import DEV, sign

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

GOOD = bearer(sign(DEV))
SHOP = "https://shop.example"
STRANGER = "https://stranger.example"
GROUPS = {
    "CORSPolicy": "security",
    "RetryTimeoutPolicy": "resilience",
    "FaultInjectionPolicy": "resilience",
    "HeaderManipulationPolicy": "trafficcontrol",
}
ALLOW_SHOP: Manifest = {
    "allowOrigins": [{"exact": SHOP}],
    "allowMethods": ["POST"],
    "allowHeaders": ["x-auth"],
    "exposeHeaders": ["x-count"],
    "maxAge": "1m",
    "allowCredentials": True,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EnvoyMesh]:
    async with run_envoy_mesh() as running:
        yield running


def traffic(kind: str, name: str = "traffic", *, labels: Manifest | None = None, **config: Any) -> Manifest:
    """A policy of this kind on the routes with these labels, LABEL if not said."""
    return {
        "apiVersion": f"{GROUPS[kind]}.policy.gloo.solo.io/v2",
        "kind": kind,
        "metadata": {"name": name, "namespace": "httpbin"},
        "spec": {"applyToRoutes": [{"route": {"labels": LABEL if labels is None else labels}}], "config": config},
    }


async def preflight(mesh: EnvoyMesh, origin: str) -> Answer:
    """What a browser asks before a page of this origin may send a token."""
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-auth",
    }
    return await mesh.request(HOST, "/anything", method="OPTIONS", headers=headers)


async def test_a_preflight_needs_no_token_and_the_request_does(mesh: EnvoyMesh) -> None:
    """The proxy answers the one; the other is refused as ever, in a way that the page can read."""
    async with mesh.having(*protect(), traffic("CORSPolicy", **ALLOW_SHOP)):
        answer = await preflight(mesh, SHOP)
        assert (answer.status, answer.upstream) == (200, None)
        assert {name: answer.header(f"access-control-{name}") for name in ("allow-origin", "allow-methods")} == {
            "allow-origin": SHOP,
            "allow-methods": "POST",
        }
        assert answer.header("access-control-allow-headers") == "x-auth"
        assert answer.header("access-control-allow-credentials") == "true"
        assert answer.header("access-control-max-age") == "60"

        refused = await mesh.request(HOST, headers={"origin": SHOP})
        assert (refused.status, refused.text) == (401, MISSING)
        assert refused.header("access-control-allow-origin") == SHOP

        allowed = await mesh.request(HOST, headers=GOOD | {"origin": SHOP})
        assert (allowed.status, allowed.upstream) == (200, "httpbin")
        assert allowed.header("access-control-allow-origin") == SHOP
        assert allowed.header("access-control-expose-headers") == "x-count"


async def test_a_page_of_another_origin_gets_no_permission(mesh: EnvoyMesh) -> None:
    """Neither does its preflight reach the application. A request that is no preflight needs its token."""
    async with mesh.having(*protect(), traffic("CORSPolicy", **ALLOW_SHOP)):
        answer = await preflight(mesh, STRANGER)
        assert (answer.upstream, answer.header("access-control-allow-origin")) == (None, None)

        allowed = await mesh.request(HOST, headers=GOOD | {"origin": STRANGER})
        assert (allowed.status, allowed.header("access-control-allow-origin")) == (200, None)
        for headers in ({}, {"origin": SHOP}, {"access-control-request-method": "POST"}):
            answer = await mesh.request(HOST, "/anything", method="OPTIONS", headers=headers)
            assert (answer.status, answer.text) == (401, MISSING), headers


@pytest.mark.parametrize(
    ("match", "origin", "allowed"),
    [
        ({"prefix": "https://shop."}, "https://shop.other", True),
        ({"prefix": "https://shop."}, "http://shop.example", False),
        ({"regex": "https://[a-z]+\\.example"}, SHOP, True),
        ({"regex": "https://[a-z]+\\.example"}, "https://shop.example.evil", False),
        ({"exact": "https://SHOP.example", "ignoreCase": True}, SHOP, True),
        ({"exact": "https://SHOP.example"}, SHOP, False),
        ({"exact": "*"}, STRANGER, True),
    ],
)
async def test_origins(mesh: EnvoyMesh, match: Manifest, origin: str, allowed: bool) -> None:
    """What matches may; expressions are for the whole origin."""
    async with mesh.having(*protect(), traffic("CORSPolicy", allowOrigins=[match], allowMethods=["POST"])):
        answer = await preflight(mesh, origin)
        assert (answer.header("access-control-allow-origin") is not None) is allowed


async def test_a_time_limit_cuts_a_slow_answer(mesh: EnvoyMesh) -> None:
    """504; a fast answer is not touched, and who has no token waits for nothing."""
    async with mesh.having(*protect(), traffic("RetryTimeoutPolicy", requestTimeout="300ms")):
        assert (await mesh.request(HOST, headers=GOOD)).status == 200
        assert (await mesh.request(HOST, "/delay/0", headers=GOOD)).status == 200
        answer = await mesh.request(HOST, "/delay/9", headers=GOOD)
        assert (answer.status, answer.upstream) == (504, None)
        assert (await mesh.request(HOST, "/delay/9")).status == 401


Behaviour = Callable[[int], tuple[int, float]]
"""Number of the request, from 1 → status, and seconds before it."""


class Counter:
    """An application that counts what reaches it."""

    def __init__(self) -> None:
        self.requests = 0
        self.behaviour: Behaviour = lambda number: (200, 0)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            self.requests += 1
            status, seconds = self.behaviour(self.requests)
            await asyncio.sleep(seconds)
            writer.write(f"HTTP/1.1 {status} X\r\nx-upstream: counter\r\ncontent-length: 0\r\n\r\n".encode())
            await writer.drain()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the other side has enough."""
        try:
            await self.answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def behave(self, behaviour: Behaviour) -> None:
        """From now on, and the first request is number 1."""
        self.requests, self.behaviour = 0, behaviour


@asynccontextmanager
async def counting(mesh: EnvoyMesh, *manifests: Manifest) -> AsyncIterator[Counter]:
    """Inside, HOST is a protected route to a Counter, under these policies."""
    counter = Counter()
    server = await asyncio.start_server(counter.serve, "127.0.0.1", 0)
    endpoints = build_endpoints("counter", "127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        async with mesh.having(
            build_service("counter"), endpoints, table(forward("counter", **LABEL)), policy(), *manifests
        ):
            yield counter
    finally:
        server.close()


async def test_failures_are_retried_and_counted(mesh: EnvoyMesh) -> None:
    """As often as was said, after what was said, and for nobody without a token."""
    retries = {"attempts": 3, "retryOn": "503"}
    async with counting(mesh, traffic("RetryTimeoutPolicy", retries=retries)) as counter:
        counter.behave(lambda number: (503 if number < 3 else 200, 0))
        assert (await mesh.request(HOST, headers=GOOD)).status == 200
        assert counter.requests == 3

        counter.behave(lambda number: (503, 0))
        assert (await mesh.request(HOST, headers=GOOD)).status == 503
        assert counter.requests == 4

        counter.behave(lambda number: (500, 0))
        assert (await mesh.request(HOST, headers=GOOD)).status == 500
        assert counter.requests == 1

        counter.behave(lambda number: (503, 0))
        assert (await mesh.request(HOST)).status == 401
        assert counter.requests == 0


@pytest.mark.parametrize(
    ("retries", "status", "expected"),
    [
        ({}, 503, 3),
        ({}, 500, 1),
        ({"attempts": 0}, 503, 1),
        ({"attempts": 1, "retryOn": "5xx"}, 500, 2),
        (None, 503, 1),
    ],
)
async def test_how_often(mesh: EnvoyMesh, retries: Manifest | None, status: int, expected: int) -> None:
    """Twice after 503 if nothing is said, never without a policy."""
    policies = [] if retries is None else [traffic("RetryTimeoutPolicy", retries=retries)]
    async with counting(mesh, *policies) as counter:
        counter.behave(lambda number: (status, 0))
        assert (await mesh.request(HOST, headers=GOOD)).status == status
        assert counter.requests == expected


async def test_a_slow_try_is_given_up(mesh: EnvoyMesh) -> None:
    """And the next one may be fast."""
    retries = {"attempts": 2, "perTryTimeout": "300ms", "retryOn": "5xx"}
    async with counting(mesh, traffic("RetryTimeoutPolicy", retries=retries, requestTimeout="8s")) as counter:
        counter.behave(lambda number: (200, 9 if number == 1 else 0))
        assert (await mesh.request(HOST, headers=GOOD)).status == 200
        assert counter.requests == 2


async def test_clients_do_not_say_what_policies_say(mesh: EnvoyMesh) -> None:
    """Envoy's own request headers for retries, time limits and faults mean nothing from a client."""
    said = {
        "x-envoy-retry-on": "5xx",
        "x-envoy-max-retries": "5",
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-envoy-upstream-rq-per-try-timeout-ms": "1",
        "x-envoy-fault-abort-request": "418",
        "x-envoy-fault-abort-request-percentage": "100",
        "x-envoy-fault-delay-request": "60000",
        "x-envoy-fault-delay-request-percentage": "100",
    }
    delay = {"fixedDelay": "1ms"}
    async with counting(mesh, traffic("FaultInjectionPolicy", delay=delay)) as counter:
        counter.behave(lambda number: (500, 0.1))
        answer = await mesh.request(HOST, headers=GOOD | said)
        assert (answer.status, answer.upstream, counter.requests) == (500, "counter", 1)


async def test_faults_are_for_those_who_pass(mesh: EnvoyMesh) -> None:
    """Who is refused learns nothing of them."""
    async with mesh.having(*protect(), traffic("FaultInjectionPolicy", abort={"httpStatus": 418})):
        answer = await mesh.request(HOST, headers=GOOD)
        assert (answer.status, answer.upstream) == (418, None)
        refused = await mesh.request(HOST)
        assert (refused.status, refused.text) == (401, MISSING)


async def test_a_delay_is_for_those_who_pass(mesh: EnvoyMesh) -> None:
    """A refusal comes at once."""
    seconds = 3.0
    async with mesh.having(*protect(), traffic("FaultInjectionPolicy", delay={"fixedDelay": f"{seconds}s"})):
        begun = time.monotonic()
        assert (await mesh.request(HOST)).status == 401
        refused = time.monotonic() - begun
        answer = await mesh.request(HOST, headers=GOOD)
        passed = time.monotonic() - begun - refused
        assert (answer.status, answer.upstream) == (200, "httpbin")
        assert refused < seconds * 0.9 < passed  # Envoy's timers end up to some milliseconds early


@pytest.mark.parametrize(("percentage", "status"), [(0, 200), (100, 503)])
async def test_shares_of_faults(mesh: EnvoyMesh, percentage: float, status: int) -> None:
    """None or all."""
    abort = {"httpStatus": 503, "percentage": percentage}
    async with mesh.having(*protect(), traffic("FaultInjectionPolicy", abort=abort)):
        assert {(await mesh.request(HOST, headers=GOOD)).status for _ in range(20)} == {status}


async def test_headers_are_removed_and_then_added(mesh: EnvoyMesh) -> None:
    """On the way there and on the way back; what is removed and added is replaced, per cent signs are text."""
    config: Manifest = {
        "appendRequestHeaders": {"X-From": "mesh", "x-token": "%REQ(x-auth)%", "x-place": "here", "x-empty": ""},
        "removeRequestHeaders": ["User-Agent", "x-place"],
        "appendResponseHeaders": {"x-to": "client", "content-type": "text/x"},
        "removeResponseHeaders": ["x-upstream", "content-type", "content-length"],
    }
    async with mesh.having(*protect(), traffic("HeaderManipulationPolicy", **config)):
        sent = {"user-agent": "me", "x-from": "client", "x-place": "there"}
        answer = await mesh.request(HOST, headers=GOOD | sent)
        assert answer.status == 200
        assert answer.seen("x-from") == ["client", "mesh"]
        assert answer.seen("x-token") == ["%REQ(x-auth)%"]
        assert answer.seen("x-place") == ["here"]
        assert answer.seen("x-empty") == [""]
        assert answer.seen("user-agent") == []
        assert (answer.header("x-to"), answer.header("content-type")) == ("client", "text/x")
        assert (answer.upstream, answer.header("content-length")) == (None, None)


async def test_a_policy_and_a_claim_write_the_same_header(mesh: EnvoyMesh) -> None:
    """The claim is written first: a value that is added follows it, one that is removed and added replaces it."""
    claims = policy(providers={"dev": provider(claimsToHeaders=[{"claim": "email", "header": "x-email"}])})
    add: Manifest = {"appendRequestHeaders": {"x-email": "policy"}}
    for config, expected in (
        (add, ["dev1@solo.io", "policy"]),
        (add | {"removeRequestHeaders": ["x-email"]}, ["policy"]),
        ({"removeRequestHeaders": ["x-email"]}, []),
    ):
        async with mesh.having(table(), claims, traffic("HeaderManipulationPolicy", **config)):
            answer = await mesh.request(HOST, headers=GOOD | {"x-email": "spoofed"})
            assert answer.seen("x-email") == expected


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("CORSPolicy", {"allowOrigins": [{"regex": "("}]}),
        ("RetryTimeoutPolicy", {"requestTimeout": "0s"}),
        ("FaultInjectionPolicy", {"abort": {"httpStatus": 99}}),
        ("HeaderManipulationPolicy", {"removeRequestHeaders": [":path"]}),
    ],
)
async def test_a_broken_policy_denies_its_routes_alone(mesh: EnvoyMesh, kind: str, config: Manifest) -> None:
    """With and without a token, a preflight too; the other routes go on, and Envoy refuses nothing."""
    other = {**forward(route="other"), "name": "other", "matchers": [{"uri": {"prefix": "/other"}}]}
    broken = traffic(kind, **config)
    async with mesh.having(table(other, forward(**LABEL)), policy(), broken):
        answer = await mesh.request(HOST, headers=GOOD)
        assert (answer.status, answer.text) == (403, DENIED)
        assert (await mesh.request(HOST)).status in {401, 403}
        assert (await preflight(mesh, SHOP)).upstream is None
        assert (await mesh.request(HOST, "/other", headers=GOOD)).upstream == "httpbin"
        status = mesh.status(broken)
        assert (status["common"]["State"]["approval"], status["numSelectedRoutes"]) == ("INVALID", 1)


async def test_statuses_count_routes_and_policies(mesh: EnvoyMesh) -> None:
    """The policies their routes, the table its policies per kind."""
    protected = table()
    policies = [
        traffic("CORSPolicy", **ALLOW_SHOP),
        traffic("RetryTimeoutPolicy", requestTimeout="5s"),
        traffic("FaultInjectionPolicy", delay={"fixedDelay": "1ms"}),
        traffic("HeaderManipulationPolicy", appendRequestHeaders={"x-from": "mesh"}),
    ]
    async with mesh.having(protected, policy(), *policies):
        assert (await mesh.request(HOST, headers=GOOD)).seen("x-from") == ["mesh"]
        for one in policies:
            status = mesh.status(one)
            assert (status["common"]["State"]["approval"], status["numSelectedRoutes"]) == ("ACCEPTED", 1)
        counts = mesh.status(protected)["numAppliedRoutePolicies"]
        assert sorted(counts.values()) == [1] * 5
