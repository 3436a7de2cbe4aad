"""Tokens that failed and were let pass, in a real Envoy: none of them is sent on, in whatever order they are looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio
from tests.support.ir_envoy import OPEN, IrEnvoy, host, outbound, route, run_ir_envoy
from tests.support.tokens import DEV, public_jwks, sign

from meshpass.ir import Allow, FailedToken, JwtProvider, JwtRequirement, PhasePolicies, PolicySet

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

GOOD = sign(DEV)
STRANGE = sign(DEV, key="other")
PARAMETERS = {"failing": "f", "accepting": "a", "keeping": "k"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def envoy() -> AsyncIterator[IrEnvoy]:
    async with run_ir_envoy() as running:
        yield running


def lax(salt: str) -> PolicySet:
    """Three providers of one policy, each with a query parameter, of which one keeps what it accepts."""
    names = {role: f"{role}-{salt}" for role in PARAMETERS}
    providers = tuple(
        JwtProvider(
            name=names[role],
            issuer="",
            audiences=(),
            jwks=public_jwks("main"),
            headers=(),
            query_parameters=(parameter,),
            keep_token=role == "keeping",
            clock_skew_seconds=60,
            payload_header="",
            payload_key="payload",
        )
        for role, parameter in PARAMETERS.items()
    )
    failed = {
        names[role]: FailedToken(
            alternatives=tuple(names.values()),
            keeping=(names["keeping"],),
            headers=(),
            query_parameters=(parameter,),
            all_headers=(),
            all_query_parameters=tuple(PARAMETERS.values()),
        )
        for role, parameter in PARAMETERS.items()
    }
    phase = PhasePolicies(
        providers=tuple(sorted(providers, key=lambda provider: provider.name)),
        requirements=MappingProxyType(
            {OPEN: (JwtRequirement(providers=tuple(names.values()), allow=Allow.MISSING_OR_FAILED),)}
        ),
        failed=MappingProxyType(failed),
        stripped=frozenset({("f",), ("a",)}),
    )
    return PolicySet(pre=phase, post=PhasePolicies(requirements=MappingProxyType({OPEN: ()})))


@pytest.mark.parametrize("salt", [f"{number:04x}" for number in range(0, 40000, 5000)])
async def test_a_failed_token_stays_out_of_the_query_that_is_made_anew(envoy: IrEnvoy, salt: str) -> None:
    """The names of the providers decide in which order Lua walks through what was verified."""
    await envoy.serve(outbound(host("www.example.com", route()), policies=lax(salt)))
    answer = await envoy.request(f"http://www.example.com/get?x=1%262&f={STRANGE}&a={GOOD}&y=2")
    assert answer.status == 200
    assert urlsplit(answer.json["path"]).query == "x=1%262&y=2"


async def test_what_failed_is_removed_where_nothing_was_accepted(envoy: IrEnvoy) -> None:
    """The rest of the query stays as it was written."""
    await envoy.serve(outbound(host("www.example.com", route()), policies=lax("0")))
    answer = await envoy.request(f"http://www.example.com/get?x=1%262&f={STRANGE}&a={STRANGE}&y=2")
    assert parse_qs(urlsplit(answer.json["path"]).query) == {"x": ["1&2"], "y": ["2"]}
