"""What Envoy refuses is told, each time: it acknowledges a filter's refused bytes when it is sent them again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.support import public_keys as pem
from tests.support.envoy import NODE, EnvoyUnderTest, run_envoy
from tests.support.objects import BASE, CLIENT, forward, jwt_policy, object_set, route_table, translate_objects

from meshpass.ir import PhasePolicies, Proxy

pytestmark = pytest.mark.envoy

CONFIG: dict[str, Any] = {"providers": {"dev": {"local": {"inline": pem.P_256}}}}
TABLE = route_table(hosts=["www.example.com"], http=[forward(route="pre"), forward(route="post")])
BOTH_PHASES = [
    jwt_policy("pre", applyToRoutes=[{"route": {"labels": {"route": "pre"}}}], config=CONFIG),
    jwt_policy(
        "post",
        applyToRoutes=[{"route": {"labels": {"route": "post"}}}],
        config={**CONFIG, "phase": {"postAuthz": {}}},
    ),
]
FILTERS = {"meshpass.outbound.pre.jwt", "meshpass.outbound.post.jwt"}


def proxy_of(*manifests: dict[str, Any]) -> Proxy:
    return translate_objects(object_set(BASE, *manifests)).proxies[CLIENT]


def spoiled(policies: PhasePolicies, text: str) -> PhasePolicies:
    return replace(policies, providers=tuple(replace(one, jwks=text) for one in policies.providers))


def refused(proxy: Proxy, text: str = "no key set") -> Proxy:
    policies = proxy.policies
    return replace(
        proxy, policies=replace(policies, pre=spoiled(policies.pre, text), post=spoiled(policies.post, text))
    )


async def both_rejected(envoy: EnvoyUnderTest) -> None:
    async with asyncio.timeout(10):
        while True:
            seen, state = envoy.cache.revision, envoy.cache.state(NODE)
            assert not state.in_sync
            if {name for one in state.rejections for name in one.names} == FILTERS:
                return
            await envoy.cache.wait_changed(seen)


async def test_two_filters_that_are_refused_at_once_are_both_told() -> None:
    """Also the second time, after the good ones were there again."""
    open_routes, good = proxy_of(TABLE), proxy_of(TABLE, *BOTH_PHASES)
    async with run_envoy() as envoy:
        await envoy.apply(open_routes)
        for _ in range(3):
            await envoy.apply(refused(good))
            await both_rejected(envoy)

            state = await envoy.apply(good)
            assert state.rejections == ()
            assert state.in_sync


async def test_what_is_refused_is_told_by_the_next_stream_as_well() -> None:
    """Envoy would acknowledge it now. It has the good filters until there are others that it takes."""
    open_routes, good = proxy_of(TABLE), proxy_of(TABLE, *BOTH_PHASES)
    async with run_envoy() as envoy:
        await envoy.apply(open_routes)
        await envoy.apply(good)
        for text in ("no key set", "nor this"):
            await envoy.apply(refused(good, text))
            await both_rejected(envoy)
            for _ in range(2):
                await envoy.reconnect()
                await both_rejected(envoy)
        assert (await envoy.apply(good)).in_sync
        await envoy.reconnect()
        assert (await envoy.apply(open_routes)).in_sync
