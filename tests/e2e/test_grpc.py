"""gRPC through sidecars and gateways, with and without tokens: real grpcio on both sides."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from tests.support.envoy_mesh import (
    GUARDED,
)
from tests.support.grpc_echo import DETAILS, GrpcClient
from tests.support.jwt_objects import (
    DENIED,
    HOST,
    LABEL,
    MALFORMED,
    MISSING,
    WRONG_AUDIENCE,
    bearer,
    policy,
    provider,
)
from tests.support.objects import jwt_policy
from tests.support.protocol_world import (
    CLOSED,
    GOOD,
    GRPC,
    KIBIBYTE,
    MEBIBYTE,
    OPEN,
    TOKEN,
    Place,
    World,
    echoes,
    failure,
    instead,
    matching,
    run_world,
    table,
    traffic,
)
from tests.support.tokens import LOGIN, sign

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with run_world() as running:
        yield running


@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize(("package", "metadata"), [(OPEN, {}), (CLOSED, GOOD)], ids=["open", "protected"])
async def test_calls_of_every_kind_pass(world: World, place: Place, package: str, metadata: dict[str, str]) -> None:
    """Unary, streams of one side and of both, which are not held back until they end; with trailers."""
    async with world.call(place) as client:
        call = client.call(f"{package}/Describe", b"hello", metadata)
        said = json.loads(await call)
        assert (said["server"], said["request"]) == ("one", "hello")
        assert dict(await call.trailing_metadata())["x-trailer"] == "after all"

        assert await client.count(f"{package}/Count", 50, KIBIBYTE, metadata) == [KIBIBYTE] * 50

        chat = client.chat(f"{package}/Chat", metadata)
        for number in range(50):
            assert await echoes(chat, f"message {number}".encode())
        await chat.done_writing()
        assert await chat.read() is grpc.aio.EOF
        assert await chat.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("place", Place)
async def test_refusals_are_grpc_statuses(world: World, place: Place) -> None:
    """401 is UNAUTHENTICATED and 403 PERMISSION_DENIED, with the words of the body; the application hears of nothing."""
    login = provider(issuer=LOGIN["iss"])
    restricted = policy(
        providers={"dev": provider(audiences=["us"]), "login": login},
        claims=[{"key": "org", "values": ["internal"]}],
    )
    metadata = {"none": {}, "garbage": bearer("a.b"), "audience": GOOD, "claims": bearer(sign(LOGIN))}
    async with instead(world, restricted), world.call(place) as client:
        world.grpc.calls.clear()
        found = {name: await failure(client.call(f"{CLOSED}/Describe", b"", pairs)) for name, pairs in metadata.items()}
        chat = client.chat(f"{CLOSED}/Chat")
        found["chat"] = await failure(chat.read())
        with pytest.raises(grpc.aio.AioRpcError) as info:
            await client.count(f"{CLOSED}/Count", 5, 5)

    assert found == {
        "none": ("UNAUTHENTICATED", MISSING),
        "garbage": ("UNAUTHENTICATED", MALFORMED),
        "audience": ("PERMISSION_DENIED", WRONG_AUDIENCE),
        "claims": ("PERMISSION_DENIED", DENIED),
        "chat": ("UNAUTHENTICATED", MISSING),
    }
    assert info.value.code() is grpc.StatusCode.UNAUTHENTICATED
    challenge = dict(info.value.trailing_metadata())["www-authenticate"]
    assert challenge.startswith(f'Bearer realm="http{"s" if place is Place.EDGE_TLS else ""}://{HOST}{CLOSED}/Count"')
    assert world.grpc.calls == []


@pytest.mark.parametrize("place", Place)
async def test_claims_are_metadata(world: World, place: Place) -> None:
    """The caller's own are replaced, and its token is gone; without the policy nothing is touched."""
    org = [{"claim": "org", "header": "X-Org"}]
    sent = {"x-org": "forged", "x-other": "kept"}
    async with instead(world, policy(providers={"dev": provider(claimsToHeaders=org)})), world.call(place) as client:
        said = (await client.describe(f"{CLOSED}/Describe", GOOD | sent))["metadata"]
        query = (await client.describe(f"{CLOSED}/Describe?auth_token={TOKEN}", sent))["metadata"]
    async with world.call(place) as client:
        untouched = (await client.describe(f"{OPEN}/Describe", GOOD | sent))["metadata"]

    for metadata in (said, query):
        assert (metadata["x-org"], metadata["x-other"]) == ("internal", "kept")
        assert TOKEN not in str(metadata)
    assert (untouched["x-org"], untouched["x-auth"]) == ("forged", f"Bearer {TOKEN}")


@pytest.mark.parametrize("place", Place)
async def test_what_the_application_says_of_an_error_comes_through(world: World, place: Place) -> None:
    """Code, details in any letters, and trailers, of bytes too; and a method that it does not have."""
    async with world.call(place) as client:
        call = client.call(f"{CLOSED}/Fail", b"", GOOD)
        assert await failure(call) == ("OUT_OF_RANGE", "täglich 100 %")
        trailers = dict(await call.trailing_metadata())
        assert (trailers[DETAILS], trailers["x-own"]) == (b"\x00\xff", "1")
        assert await failure(client.call(f"{CLOSED}/Unknown", b"", GOOD)) == ("UNIMPLEMENTED", "Method not found!")


@pytest.mark.parametrize("place", Place)
async def test_messages_may_be_large(world: World, place: Place) -> None:
    """Larger than any buffer on the way, in both directions, alone and in a stream."""
    async with world.call(place) as client:
        text = "x" * (5 * MEBIBYTE)
        assert (await client.describe(f"{CLOSED}/Describe", GOOD, text))["request"] == text
        assert sum(await client.count(f"{CLOSED}/Count", 20, MEBIBYTE, GOOD)) == 20 * MEBIBYTE
        chat = client.chat(f"{CLOSED}/Chat", GOOD)
        assert all([await echoes(chat, bytes(MEBIBYTE)) for _ in range(5)])


@pytest.mark.parametrize("place", Place)
async def test_deadlines_reach_the_application(world: World, place: Place) -> None:
    """It knows how much time is left, and that nobody waits any longer."""
    world.grpc.cancelled.clear()
    async with world.call(place) as client:
        code, _ = await failure(client.call(f"{CLOSED}/Wait", b"", GOOD, seconds=0.7))
        assert code == "DEADLINE_EXCEEDED"
        async with asyncio.timeout(5):
            await world.grpc.cancelled.wait()
        assert world.grpc.seconds_left is not None
        assert 0 < world.grpc.seconds_left < 1


@pytest.mark.parametrize("place", Place)
async def test_nobody_answers(world: World, place: Place) -> None:
    """No route, no destination, no endpoint, no host: gRPC's words for 404, 500 and 503."""
    async with world.call(place) as client:
        services = ("Strange", "Nowhere", "Empty")
        found = [await failure(client.call(f"/tests.{service}/Describe")) for service in services]
    assert [code for code, _ in found] == ["UNIMPLEMENTED", "UNKNOWN", "UNAVAILABLE"]


@pytest.mark.parametrize("place", Place)
async def test_a_call_takes_too_long(world: World, place: Place) -> None:
    """For the policy of its route: gRPC's word for 504, and the application knows that nobody waits."""
    world.grpc.cancelled.clear()
    async with world.mesh.having(traffic(requestTimeout="300ms")), world.call(place) as client:
        found = await failure(client.call(f"{CLOSED}/Wait", b"", GOOD))
        await asyncio.wait_for(world.grpc.cancelled.wait(), 5)
    assert found == ("UNAVAILABLE", "upstream request timeout")


@pytest.mark.parametrize("place", Place)
async def test_methods_and_metadata_choose_the_route(world: World, place: Place) -> None:
    """An exact path is one method; the protected method of a service asks for a token, its others do not."""
    described = {"exact": f"{OPEN}/Describe"}
    routes = (
        matching(described, "other", GRPC, headers=[{"name": "x-version", "value": "2"}]),
        matching(described, "speaker", GRPC, **LABEL),
        matching({"prefix": OPEN}, "other", GRPC),
    )
    async with instead(world, table(*routes)), world.call(place) as client:
        assert (await client.describe(f"{OPEN}/Describe", {"x-version": "2"}))["server"] == "other"
        assert (await client.describe(f"{OPEN}/Describe", GOOD))["server"] == "one"
        assert await failure(client.call(f"{OPEN}/Describe")) == ("UNAUTHENTICATED", MISSING)
        world.other.calls.clear()
        assert await client.count(f"{OPEN}/Count", 2, 2) == [2, 2]
        assert world.other.calls == [f"{OPEN}/Count"]


@pytest.mark.parametrize("place", Place)
async def test_calls_of_one_channel_are_shared_out(world: World, place: Place) -> None:
    """By weight, call by call: within 5 standard deviations of 300 of 400."""
    destinations = [
        {"ref": {"name": name}, "port": {"number": GRPC}, "weight": weight}
        for name, weight in (("speaker", 75), ("other", 25))
    ]
    shared = {"name": "shared", "forwardTo": {"destinations": destinations}}
    async with instead(world, table(shared)), world.call(place) as client:
        said = [await client.describe(f"{OPEN}/Describe") for _ in range(400)]
    assert abs(Counter(one["server"] for one in said)["one"] - 300) < 44


@pytest.mark.parametrize("place", Place)
async def test_calls_are_retried(world: World, place: Place) -> None:
    """After the code that was asked for, as often as that; never for somebody without a token."""
    retries = traffic(retries={"attempts": 2, "retryOn": "unavailable"})
    async with world.mesh.having(retries), world.call(place) as client:
        found = []
        for failures, metadata in ((2, GOOD), (3, GOOD), (1, {})):
            world.grpc.calls.clear()
            world.grpc.failures = failures
            call = client.call(f"{CLOSED}/Describe", b"", metadata)
            found.append(((await call.code()).name, len(world.grpc.calls)))
        world.grpc.failures = 0
    assert found == [("OK", 3), ("UNAVAILABLE", 3), ("UNAUTHENTICATED", 0)]


async def test_a_destination_asks_for_the_token(world: World) -> None:
    """Of calls from sidecars and gateways, and of those that have no proxy at all."""
    holds = jwt_policy(
        "destination",
        applyToDestinations=[{"selector": {"name": "speaker"}, "port": {"number": GRPC}}],
        config={"providers": {"dev": provider(claimsToHeaders=[{"claim": "org", "header": "x-org"}])}},
    )
    straight = (world.mesh.address(GUARDED), GRPC)
    async with world.mesh.having(holds), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(world.call(place)) for place in Place]
        clients.append(await stack.enter_async_context(GrpcClient(straight, "whatever")))
        for client in clients:
            assert await failure(client.call(f"{OPEN}/Describe")) == ("UNAUTHENTICATED", MISSING)
            metadata = (await client.describe(f"{OPEN}/Describe", GOOD))["metadata"]
            assert (metadata["x-org"], metadata.get("x-auth")) == ("internal", None)


async def test_sidecars_are_addressed_as_the_guide_says(world: World) -> None:
    """Names of a Service with the port; http_proxy alone does not do, for grpcio asks for a tunnel then."""
    place = world.address(Place.SIDECAR)
    for name in ("speaker", "speaker.httpbin", "speaker.httpbin.svc.cluster.local"):
        async with GrpcClient(place, f"{name}:{GRPC}") as client:
            assert (await client.describe(f"{OPEN}/Describe"))["server"] == "one"
    async with GrpcClient(place, "nobody.httpbin:9000") as client:
        assert (await failure(client.call(f"{OPEN}/Describe")))[0] == "UNAVAILABLE"
    proxy = f"http://{place[0]}:{place[1]}"
    async with GrpcClient(("speaker.httpbin", GRPC), "speaker.httpbin:9000", proxy=proxy) as client:
        assert (await failure(client.call(f"{OPEN}/Describe")))[0] == "UNAVAILABLE"
