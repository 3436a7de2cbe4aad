"""Management server and agents over real connections: who holds what, when, and after what."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from pathlib import Path

import pytest
from tests.support.relay_world import MANAGEMENT, WATCHED, World, key_of, manifest, run_world

from meshpass.api.core import Secret, Service
from meshpass.api.objectset import ObjectKey
from meshpass.errors import MeshpassError
from meshpass.identity.pem import encode_private_key
from meshpass.identity.profile import generate_key
from meshpass.identity.relay import RelayCredentials
from meshpass.kube.store import ObjectStore
from meshpass.relay import server
from meshpass.relay.agent import RelayError
from meshpass.relay.signing import SignPurpose
from meshpass.xds.cache import Rejection
from meshpass.xds.remote import RemoteState

GOOD = RemoteState(in_sync=True, inputs={"cluster1": "1:1"})
BAD = RemoteState(
    in_sync=False,
    rejections=(Rejection(type_url="t", names=("n",), versions=("v",), message="no", sources=frozenset()),),
)


def service(name: str, namespace: str = "apps", **spec: object) -> dict:
    return manifest("Service", name, namespace, spec={"ports": [{"port": 80}], **spec})


def service_key(cluster: str, name: str) -> ObjectKey:
    return ObjectKey("Service", cluster, "apps", name)


def same_as_servers(world: World, store: ObjectStore) -> bool:
    """The store holds exactly what the API servers of all clusters have, Secrets aside, with the labels of their owners."""
    processes = (world.management, *world.agents.values())
    expected = {
        key: raw.get("spec") for one in processes for key, raw in one.feed.objects.items() if key.kind != "Secret"
    }
    held = {key for key in store.objects if key.kind != "Secret"}
    labels = {one.feed.cluster: one.store.revisions.get(one.feed.cluster) for one in processes}
    services = store.objects.all(Service)
    return (
        held == expected.keys()
        and dict(store.revisions) == labels
        and all(
            services[key].spec.type == spec.get("type", "ClusterIP")
            for key, spec in expected.items()
            if key.kind == "Service"
        )
    )


async def settle(world: World) -> None:
    """Returns once every process holds what every API server has."""
    for process in (world.management, *world.agents.values()):
        await process.wait(lambda process=process: same_as_servers(world, process.store))


async def test_everyone_holds_what_every_cluster_has(tmp_path: Path) -> None:
    """Objects of three clusters come to all of them, edits and deletions too, and the labels agree."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        world.agents["cluster1"].feed.put(service("a"))
        world.agents["cluster2"].feed.put(service("b"))
        world.management.feed.put(service("c"))
        await settle(world)
        world.agents["cluster1"].feed.put(service("a", type="NodePort"))
        world.agents["cluster2"].feed.delete(key_of("cluster2", service("b")))
        await settle(world)

        assert service_key("cluster2", "b") not in world.agents["cluster1"].store.objects.all(Service)


async def test_what_is_wrong_with_a_manifest_is_known_everywhere(tmp_path: Path) -> None:
    """A relayed object has the problems that its own cluster found: what it selects is denied in all of them."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        policy = manifest("JWTPolicy", "broken", "apps", spec={"applyToRoutes": [{"rout": {}}]})
        world.agents["cluster1"].feed.put(policy)
        key = key_of("cluster1", policy)
        other = world.agents["cluster2"].store
        await world.agents["cluster2"].wait(lambda: key in other.objects.problems)

        assert other.objects.problems[key] == world.agents["cluster1"].store.objects.problems[key] != ()


async def test_an_outage_costs_what_changed(tmp_path: Path) -> None:
    """Of 2,000 objects three changed while there was no connection: a few kilobytes come after it, not two megabytes.

    What goes up are names and versions, which is how the protocol resumes.
    """
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        agent, wire = world.agents["cluster2"], world.wires["cluster2"]
        padding = {f"label-{n}": "x" * 60 for n in range(12)}
        services = [{**service(f"s{n}")} for n in range(2000)]
        for one in services:
            one["metadata"]["labels"] = padding
        before = wire.bytes_down
        world.agents["cluster1"].feed.put(*services)
        await settle(world)
        everything = wire.bytes_down - before
        wire.up = False
        wire.cut()
        await agent.wait(lambda: not agent.agent.connected)
        world.agents["cluster1"].feed.put({**services[0], "spec": {"type": "NodePort"}})
        world.management.feed.put(service("new"))
        world.agents["cluster1"].feed.delete(key_of("cluster1", services[1]))
        await world.management.wait(lambda: same_as_servers(world, world.management.store))
        wire.reset()
        wire.up = True
        await settle(world)

        assert everything > 1_500_000
        # One object of 900 bytes, one of 100, the names of one that is gone and of labels; the rest is TLS and HTTP/2.
        assert wire.bytes_down < 10_000
        assert wire.bytes_up < 2000 * 70


async def test_a_status_that_we_write_is_not_relayed(tmp_path: Path) -> None:
    """Nor are resourceVersions and managedFields: a status written by an agent would come back to it as a change."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        agent = world.agents["cluster1"]
        policy = manifest("JWTPolicy", "policy", "apps", spec={"applyToRoutes": [{"route": {}}]})
        agent.feed.put(policy)
        await settle(world)
        labels = dict(agent.store.revisions)
        before = world.wires["cluster1"].bytes_up
        for count in range(50):
            agent.feed.put({**policy, "status": {"numSelectedRoutes": count}})
            await asyncio.sleep(0)
        agent.feed.put(service("after"))
        await settle(world)

        assert agent.store.revisions["cluster1"] != labels["cluster1"]
        assert world.wires["cluster1"].bytes_up - before < 2000


@pytest.mark.parametrize("seed", range(4))
async def test_random_edits_cuts_and_kills_lose_nothing(tmp_path: Path, seed: int) -> None:
    """Whatever order things fail in, in the end everyone holds exactly what the API servers have."""
    chance = random.Random(seed)
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        processes = (world.management, *world.agents.values())
        for _ in range(40):
            process = chance.choice(processes)
            match chance.randrange(8):
                case 0:
                    world.wires[chance.choice(("cluster1", "cluster2"))].cut()
                case 1:
                    world.wires[chance.choice(("cluster1", "cluster2"))].cut_after = chance.randrange(1, 4000)
                case 2:
                    await process.kill()
                    process.feed.put(service(f"s{chance.randrange(8)}", type=chance.choice(("NodePort", "ClusterIP"))))
                    await process.start()
                case 3:
                    keys = [key for key in process.feed.objects if key.kind == "Service"]
                    if keys:
                        process.feed.delete(chance.choice(keys))
                case _:
                    process.feed.put(service(f"s{chance.randrange(8)}", type=chance.choice(("NodePort", "ClusterIP"))))
            await asyncio.sleep(chance.choice((0, 0, 0.001, 0.02)))
        await settle(world)


async def test_an_agent_starts_without_the_management_server(tmp_path: Path) -> None:
    """From its directory alone it has all objects with their labels, and what it was told beside them, at once."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        world.agents["cluster2"].feed.put(service("b"))
        world.management.facts.publish("trust-bundle", b"roots")
        agent = world.agents["cluster1"]
        agent.feed.put(service("a"))
        await settle(world)
        await agent.wait(lambda: agent.facts.received.get(MANAGEMENT) == {"trust-bundle": b"roots"})
        labels = dict(agent.store.revisions)
        await agent.kill()
        await world.management.kill()
        await agent.start(listing=False)

        assert agent.store.synced
        assert dict(agent.store.revisions) == labels
        assert {service_key("cluster1", "a"), service_key("cluster2", "b")} <= agent.store.objects.all(Service).keys()
        assert agent.facts.received[MANAGEMENT] == {"trust-bundle": b"roots"}
        await world.management.start()
        agent.feed.list()
        await settle(world)


async def test_a_management_server_that_lost_its_memory_takes_nothing_away(tmp_path: Path) -> None:
    """Until an agent has spoken, the others keep what they have of its cluster: nobody said that it is gone."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        world.agents["cluster2"].feed.put(service("b"))
        agent = world.agents["cluster1"]
        world.agents["cluster2"].own.set("sidecar~cluster2~apps~b", GOOD)
        await settle(world)
        await agent.wait(lambda: agent.remote.state("sidecar~cluster2~apps~b") == GOOD)
        await world.agents["cluster2"].kill()
        await world.management.kill()
        (world.management.directory / "objects.db").unlink()
        world.management.feed.put(service("c"))
        await world.management.start()
        await agent.wait(lambda: service_key(MANAGEMENT, "c") in agent.store.objects.all(Service))

        assert service_key("cluster2", "b") in agent.store.objects.all(Service)
        assert "cluster2" in agent.store.revisions
        assert agent.remote.state("sidecar~cluster2~apps~b") == GOOD
        assert world.management.server.warming == ("cluster2",)
        world.agents["cluster2"].feed.delete(service_key("cluster2", "b"))
        await world.agents["cluster2"].start()
        await settle(world)
        await agent.wait(lambda: not agent.remote.states)


async def test_a_new_agent_waits_until_every_cluster_has_been_heard(tmp_path: Path) -> None:
    """It would take a part for everything, and open what a policy of the missing cluster closes; skipWarming says not to."""
    async with run_world(tmp_path) as world:
        agent = world.agent("cluster1")
        agent.feed.put(manifest("Namespace", "apps"))
        world.management.register("cluster1", "missing")
        async with world.wires["cluster1"].open():
            await agent.start()
            await agent.wait(lambda: agent.agent.connected and "cluster1" in world.management.store.revisions)
            world.management.feed.put(service("c"))
            await world.management.wait(
                lambda: service_key(MANAGEMENT, "c") in world.management.store.objects.all(Service)
            )
            assert not agent.store.synced
            world.management.register("missing", skip_warming=True)
            await agent.wait(lambda: agent.store.synced)

            assert service_key(MANAGEMENT, "c") in agent.store.objects.all(Service)


async def test_a_deregistered_cluster_is_cut_off_and_forgotten(tmp_path: Path) -> None:
    """Its streams end, it is not let in again, and its objects are gone everywhere but with itself."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        one, two = world.agents["cluster1"], world.agents["cluster2"]
        two.feed.put(service("b"))
        two.own.set("sidecar~cluster2~apps~b", GOOD)
        two.facts.publish("intermediate-state", b"{}")
        await settle(world)
        await one.wait(lambda: bool(one.remote.states))
        world.management.feed.delete(ObjectKey("KubernetesCluster", MANAGEMENT, "gloo-mesh", "cluster2"))
        await one.wait(lambda: "cluster2" not in one.store.revisions and not one.remote.states)
        # The server's reason may cross what is being written; the next try is told it in any case.
        reason = "cluster cluster2 is not registered"
        await two.wait(lambda: not two.agent.connected and two.agent.view()["error"] == reason)
        view = {entry["cluster"]: entry for entry in world.management.server.view()}

        assert not [key for key in one.store.objects if key.cluster == "cluster2"]
        assert not [key for key in world.management.store.objects if key.cluster == "cluster2"]
        assert world.management.facts.received == {}
        assert service_key("cluster2", "b") in two.store.objects.all(Service)
        assert two.store.objects.all(Service).keys() >= one.store.objects.all(Service).keys()
        assert (view["cluster2"]["registered"], view["cluster2"]["connected"]) == (False, False)
        assert view["cluster2"]["refused"] == reason
        world.management.register("cluster2")
        await settle(world)
        assert two.agent.connected


async def test_states_of_proxies_go_both_ways(tmp_path: Path) -> None:
    """What a proxy has acknowledged is known to all, with the words of what it refused, until its agent says otherwise."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        one, two = world.agents["cluster1"], world.agents["cluster2"]
        node = "sidecar~cluster2~apps~b"
        for state in (GOOD, BAD):
            two.own.set(node, state)
            await one.wait(lambda state=state: one.remote.state(node) == state)
            await world.management.wait(lambda state=state: world.management.remote.state(node) == state)
        two.own.remove(node)
        await one.wait(lambda: one.remote.state(node) is None)
        two.own.set(node, GOOD)
        await one.wait(lambda: one.remote.state(node) == GOOD)
        await two.kill()
        await two.start()
        # The new process serves nobody yet.
        await one.wait(lambda: one.remote.state(node) is None)
        assert not two.remote.states


async def test_facts_go_up_and_down(tmp_path: Path) -> None:
    """Each agent is told what the management server tells all, and tells its own; agents do not hear each other's."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        one, two = world.agents["cluster1"], world.agents["cluster2"]
        one.facts.publish("intermediate-state", b"1")
        two.facts.publish("intermediate-state", b"2")
        world.management.facts.publish("trust-bundle", b"roots")
        expected = {"cluster1": {"intermediate-state": b"1"}, "cluster2": {"intermediate-state": b"2"}}
        await world.management.wait(lambda: world.management.facts.received == expected)
        for agent in (one, two):
            await agent.wait(lambda agent=agent: agent.facts.received == {MANAGEMENT: {"trust-bundle": b"roots"}})
        one.facts.withdraw("intermediate-state")
        await world.management.wait(lambda: "cluster1" not in world.management.facts.received)


async def test_certificates_are_signed_for_the_cluster_of_the_connection(tmp_path: Path) -> None:
    """The request comes with the name that the certificate of the connection proves; nobody can say another."""
    async with run_world(tmp_path, "cluster1") as world:
        agent = world.agents["cluster1"]
        await agent.wait(lambda: agent.agent.connected)

        assert await agent.agent.sign(SignPurpose.INTERMEDIATE, "csr") == "chain for cluster1"
        assert world.management.signed == [("cluster1", SignPurpose.INTERMEDIATE, "csr")]
        await world.management.kill()
        await agent.wait(lambda: not agent.agent.connected)
        with pytest.raises(RelayError, match="not connected"):
            await agent.agent.sign(SignPurpose.INTERMEDIATE, "csr")


async def test_secrets_go_where_a_policy_needs_them(tmp_path: Path) -> None:
    """A Secret that a policy refers to comes to the proxies' agents; another of the same namespace leaves its cluster never."""
    async with run_world(tmp_path, "cluster1", "cluster2") as world:
        provider = {"local": {"secretRef": {"objectRef": {"name": "keys"}, "key": "jwks"}}}
        policy = manifest("JWTPolicy", "policy", "apps", spec={"config": {"providers": {"p": provider}}})
        secrets = [manifest("Secret", name, "apps", data={"jwks": "e30="}) for name in ("keys", "private")]
        one, two = world.agents["cluster1"], world.agents["cluster2"]
        one.feed.put(policy, *secrets)
        key = key_of("cluster1", secrets[0])
        await two.wait(lambda: key in two.store.objects.all(Secret))
        assert set(two.store.objects.all(Secret)) == {key} == set(world.management.store.objects.all(Secret))
        one.feed.delete(key_of("cluster1", policy))
        await two.wait(lambda: key not in two.store.objects.all(Secret))


async def test_a_cut_that_nobody_is_told_of_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wire that swallows everything is given up after keepalive has not been answered; then all goes on."""
    quick = (("grpc.keepalive_time_ms", 300), ("grpc.keepalive_timeout_ms", 300))
    for name in ("agent", "server"):
        module = f"meshpass.relay.{name}.OPTIONS"
        from meshpass.relay.link import OPTIONS

        monkeypatch.setattr(module, (*(one for one in OPTIONS if one[0] not in dict(quick)), *quick))
    async with run_world(tmp_path, "cluster1") as world:
        agent, wire = world.agents["cluster1"], world.wires["cluster1"]
        await agent.wait(lambda: agent.agent.connected)
        wire.flowing.clear()
        await agent.wait(lambda: not agent.agent.connected, 10)
        world.management.feed.put(service("c"))
        wire.cut()
        wire.flowing.set()
        await settle(world)


async def test_listening_where_somebody_listens_is_an_error_of_words(tmp_path: Path) -> None:
    """It is told at once, not tried for ever."""
    async with run_world(tmp_path) as world:
        other = World(tmp_path / "other").management
        other.port = world.management.port
        other.directory = tmp_path / "other"
        with pytest.raises(MeshpassError, match="cannot listen for agents"):
            await other.start()
        await other.kill()


def test_the_support_watches_what_the_control_plane_watches() -> None:
    """Kinds that are added later are part of these tests."""
    assert {kind.kind for kind in WATCHED} >= {"Service", "Secret", "JWTPolicy", "KubernetesCluster"}


async def test_renewed_credentials_are_shown_to_whoever_connects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a restart, and also where only half of the files is there when the server looks; nobody misses an edit."""
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(server, "RETRY_SECONDS", 0.01)
    async with run_world(tmp_path, "cluster1") as world:
        management, agent = world.management, world.agents["cluster1"]
        before = await asyncio.to_thread(shown_certificate, management.port, agent.credentials)
        credentials = management.credentials
        credentials.private_key.write_text(encode_private_key(generate_key()))
        await management.wait(lambda: "cannot listen for agents" in caplog.text)
        assert management.credentials == credentials
        world.management.feed.put(service("edited"))
        await settle(world)
        after = await asyncio.to_thread(shown_certificate, management.port, agent.credentials)

        assert after != before
        assert after == ssl.PEM_cert_to_DER_cert(credentials.certificate.read_text())


def shown_certificate(port: int, credentials: RelayCredentials) -> bytes | None:
    """What the server shows, to a client that believes the relay's authority and shows its own."""
    context = ssl.create_default_context(cafile=str(credentials.ca))
    context.load_cert_chain(credentials.certificate, credentials.private_key)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as secured,
    ):
        return secured.getpeercert(binary_form=True)
