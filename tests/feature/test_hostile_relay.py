"""Agents that lie: what one tells that it may not, and what others have of it then."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc.aio
import msgspec
import pytest
from tests.support.relay_world import MANAGEMENT, World, manifest, run_world

from meshpass.api.core import Namespace, Secret, Service
from meshpass.api.objectset import ObjectKey
from meshpass.envoy.snapshot import Resource
from meshpass.kube.label import parse_label
from meshpass.relay.bell import Bell
from meshpass.relay.link import OPTIONS, REPORT, SERVICE, tell
from meshpass.relay.resource import Target, make_resource
from meshpass.relay.tls import Pem
from meshpass.relay.typeurl import FACT, NODE_STATE, REVISION, TYPE_ORDER, object_type

Lies = dict[tuple[str, str], bytes]


@asynccontextmanager
async def lying(world: World, cluster: str, lies: Lies) -> AsyncIterator[asyncio.Task[None]]:
    """Inside, somebody with the credentials of a cluster's agent, in its place, tells these."""
    await world.agents[cluster].kill()
    resources: dict[str, dict[str, Resource]] = {type_url: {} for type_url in TYPE_ORDER}
    for (type_url, name), body in ({(REVISION, cluster): b"1:1"} | lies).items():
        resources[type_url][name] = make_resource(type_url, name, body)
    liar = world.agents[cluster]
    bell = Bell(liar.store, (), liar.facts)
    credentials = Pem.read(liar.credentials).for_client()
    address = f"127.0.0.1:{world.management.port}"
    async with grpc.aio.secure_channel(address, credentials, options=OPTIONS) as channel:
        call = channel.stream_stream(f"/{SERVICE}/{REPORT}")()

        async def talk() -> None:
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await tell(call, bell, lambda: Target(resources=resources))

        talking = asyncio.get_running_loop().create_task(talk())
        try:
            yield talking
        finally:
            talking.cancel()
            with suppress(asyncio.CancelledError, BaseExceptionGroup):
                await talking


def body_of(raw: Mapping[str, object]) -> bytes:
    return msgspec.json.encode(raw)


def service(cluster: str, name: str) -> tuple[tuple[str, str], bytes]:
    raw = manifest("Service", name, "apps", spec={"ports": [{"port": 80}]})
    return (object_type("Service"), f"{cluster}/apps/{name}"), body_of(raw)


async def test_an_agent_speaks_for_no_other_cluster(tmp_path: Path) -> None:
    """Objects, admin kinds among them, states of proxies and labels of other clusters: none of it counts, what is its own does."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        store = world.management.store
        before = dict(store.revisions)
        evil = "sidecar~cluster2~apps~app"
        cluster = manifest("KubernetesCluster", "cluster9", "gloo-mesh")
        workspace = manifest("Workspace", "mine", "gloo-mesh")
        lies = dict([service("cluster2", "stolen"), service(MANAGEMENT, "stolen"), service("cluster1", "own")])
        lies |= {
            (object_type("KubernetesCluster"), f"{MANAGEMENT}/gloo-mesh/cluster9"): body_of(cluster),
            (object_type("Workspace"), f"{MANAGEMENT}/gloo-mesh/mine"): body_of(workspace),
            (object_type("KubernetesCluster"), "cluster1/gloo-mesh/cluster9"): body_of(cluster),
            (NODE_STATE, evil): b'{"inSync":true,"inputs":{}}',
            (REVISION, "cluster2"): b"fffffffffffff:1",
            (REVISION, MANAGEMENT): b"fffffffffffff:1",
        }
        async with lying(world, "cluster1", lies):
            own = ObjectKey("Service", "cluster1", "apps", "own")
            await world.management.wait(lambda: own in store.objects.all(Service))

            assert {key.cluster for key in store.objects.all(Service)} == {"cluster1"}
            assert not [key for key in store.objects if key.name in {"cluster9", "mine"} and key.cluster == MANAGEMENT]
            assert evil not in world.management.remote.states
            assert {c: store.revisions[c] for c in ("cluster2", MANAGEMENT)} == {
                c: before[c] for c in ("cluster2", MANAGEMENT)
            }
            assert {one["cluster"] for one in world.management.server.view()} == {"cluster1", "cluster2"}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(body_of(manifest("Namespace", "x"))[:-2] + b',"generation":' + b"9" * 30 + b"}}", id="generation"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="depth"),
        pytest.param(b'{"metadata": "\xff\xfe"}', id="no UTF-8"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_garbage_of_one_agent_harms_nobody_else(tmp_path: Path, body: bytes) -> None:
    """What cannot be held is refused by itself, and edits of other clusters in the same moment are not lost."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        own = dict([service("cluster1", "own")])
        async with lying(world, "cluster1", {(object_type("Namespace"), "cluster1//x"): body, **own}):
            store = world.management.store
            key = ObjectKey("Service", "cluster1", "apps", "own")
            await world.management.wait(lambda: key in store.objects.all(Service))
            world.management.feed.put(manifest("Service", "edited", "apps", spec={"ports": [{"port": 80}]}))
            edited = ObjectKey("Service", MANAGEMENT, "apps", "edited")
            for process in (world.management, world.agents["cluster2"]):
                await process.wait(lambda process=process: edited in process.store.objects.all(Service))  # type: ignore[misc]

            assert ObjectKey("Namespace", "cluster1", "", "x") not in store.objects.all(Namespace)
        await world.management.kill()
        world.management.open()
        await world.management.wait(lambda: edited in world.management.store.objects.all(Service))


async def test_a_label_from_the_future_stays_with_its_cluster(tmp_path: Path) -> None:
    """The management server's own labels do not follow what an agent says of its own, not after a restart either."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        future = b"f" * 60 + b":9"
        async with lying(world, "cluster1", {(REVISION, "cluster1"): future}):
            management = world.management
            await management.wait(lambda: management.store.revisions.get("cluster1") == future.decode())
        await management.kill()
        await management.start()
        own = parse_label(management.store.revisions[MANAGEMENT])
        assert own is not None
        assert own.start < 2**60
        agent = world.agents["cluster2"]
        management.feed.put(manifest("Namespace", "new"))
        await agent.wait(lambda: ObjectKey("Namespace", MANAGEMENT, "", "new") in agent.store.objects.all(Namespace))
        await agent.wait(lambda: agent.store.revisions[MANAGEMENT] == management.store.revisions[MANAGEMENT])


async def test_facts_are_kept_under_the_name_of_who_told_them(tmp_path: Path) -> None:
    """An agent does not get another one's place, or the management server's, by what it calls its fact."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        lies = {(FACT, "trust-bundle"): b"evil", (FACT, f"{MANAGEMENT}/trust-bundle"): b"evil"}
        async with lying(world, "cluster1", lies):
            facts = world.management.facts
            await world.management.wait(lambda: "cluster1" in facts.received)

            assert set(facts.received) == {"cluster1"}
            assert not facts.own
            assert not world.agents["cluster2"].facts.received


async def test_the_key_of_the_root_reaches_no_agent(tmp_path: Path) -> None:
    """Its Secret is in a namespace of the workspace, and policies name it: others of that namespace come, it does not."""
    async with run_world(tmp_path, "cluster1") as world:

        def secret(name: str) -> dict[str, object]:
            data = {"tls.key": base64.b64encode(b"private").decode()}
            return manifest("Secret", name, "gloo-mesh", data=data)

        def policy(name: str) -> dict[str, object]:
            place = {"name": name, "namespace": "gloo-mesh", "cluster": MANAGEMENT}
            provider = {"issuer": "i", "local": {"secretRef": {"objectRef": place, "key": "tls.key"}}}
            return manifest("JWTPolicy", name, "apps", spec={"config": {"providers": {"p": provider}}})

        world.management.feed.put(manifest("Namespace", "gloo-mesh"), secret("meshpass-root-ca"), secret("keys"))
        agent = world.agents["cluster1"]
        agent.feed.put(policy("meshpass-root-ca"), policy("keys"))
        await agent.wait(
            lambda: ObjectKey("Secret", MANAGEMENT, "gloo-mesh", "keys") in agent.store.objects.all(Secret)
        )

        assert [key.name for key in agent.store.objects.all(Secret)] == ["keys"]


async def test_a_peer_without_an_agents_certificate_is_not_heard(tmp_path: Path) -> None:
    """The server's own certificate, of the same authority, is none of an agent: who has stolen it is nobody."""
    async with run_world(tmp_path, "cluster1") as world:
        credentials = Pem.read(world.management.credentials).for_client()
        address = f"127.0.0.1:{world.management.port}"
        async with grpc.aio.secure_channel(address, credentials, options=OPTIONS) as channel:
            call = channel.stream_stream(f"/{SERVICE}/{REPORT}")()
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await call.read()
            code = failed.value.code()
        assert code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE}
