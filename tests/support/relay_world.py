"""Both ends of the relay in one process, their stores fed by hand, and a wire between them that can be cut and counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from meshpass.api.kinds import CORE_KINDS, KINDS
from meshpass.api.objectset import ObjectKey
from meshpass.errors import MeshpassError
from meshpass.identity.relay import RelayCredentials, ensure_agent_credentials, ensure_server_credentials
from meshpass.kube.objectlog import ObjectLog
from meshpass.kube.resource import group_version
from meshpass.kube.store import ObjectStore
from meshpass.kube.stored import KIND_BY_NAME
from meshpass.relay.agent import RelayAgent
from meshpass.relay.facts import Facts
from meshpass.relay.server import RelayServer
from meshpass.relay.settings import RelayAgentSettings, RelayServerSettings
from meshpass.relay.signing import SignPurpose
from meshpass.xds.remote import RemoteStates

TRUST_DOMAIN = "mesh.example.com"
MANAGEMENT = "mgmt"
WATCHED = (*CORE_KINDS, *KINDS)


def manifest(kind: str, name: str, namespace: str = "", *, spec: Any = None, **content: Any) -> dict[str, Any]:
    """A manifest; ``labels`` are its labels."""
    metadata: dict[str, Any] = {"name": name, "labels": content.pop("labels", {})}
    if namespace:
        metadata["namespace"] = namespace
    raw = {"apiVersion": group_version(KIND_BY_NAME[kind]), "kind": kind, "metadata": metadata, **content}
    return raw if spec is None else {**raw, "spec": spec}


def key_of(cluster: str, raw: Mapping[str, Any]) -> ObjectKey:
    """Where an object is stored."""
    return ObjectKey(raw["kind"], cluster, raw["metadata"].get("namespace", ""), raw["metadata"]["name"])


class Feed:
    """The API server of one cluster, as far as a store sees one."""

    def __init__(self, cluster: str, version: int = 0) -> None:
        self.cluster = cluster
        self.objects: dict[ObjectKey, dict[str, Any]] = {}
        self._version = version
        self._store: ObjectStore | None = None

    def attach(self, store: ObjectStore, *, listing: bool = True) -> None:
        """From now on the store is told; of what there is already, by lists."""
        self._store = store
        store.expect(self.cluster, WATCHED)
        if listing:
            self.list()

    def list(self) -> None:
        """What informers do when they start."""
        assert self._store is not None
        for kind in WATCHED:
            items = [raw for key, raw in self.objects.items() if key.kind == kind.kind]
            self._store.replace(self.cluster, kind, items, str(self._version))

    def detach(self) -> None:
        """The process with the store is gone."""
        self._store = None

    def put(self, *raws: Mapping[str, Any]) -> None:
        """Create or replace objects."""
        for raw in raws:
            self._version += 1
            metadata = {**raw["metadata"], "resourceVersion": str(self._version)}
            stored = msgspec.json.decode(msgspec.json.encode({**raw, "metadata": metadata}))
            self.objects[key_of(self.cluster, raw)] = stored
            if self._store is not None:
                self._store.upsert(self.cluster, KIND_BY_NAME[raw["kind"]], stored)

    def delete(self, *keys: ObjectKey) -> None:
        """Delete objects."""
        for key in keys:
            self._version += 1
            raw = self.objects.pop(key)
            gone = {**raw, "metadata": {**raw["metadata"], "resourceVersion": str(self._version)}}
            if self._store is not None:
                self._store.delete(self.cluster, KIND_BY_NAME[key.kind], gone)


class Process:
    """A management server or an agent: a store with its log, facts and states, as long as it runs."""

    def __init__(self, feed: Feed, directory: Path) -> None:
        self.feed = feed
        self.directory = directory
        self.log: ObjectLog | None = None
        self.store = ObjectStore()
        self.facts = Facts()
        self.own = RemoteStates()
        self.remote = RemoteStates()
        self._task: asyncio.Task[Any] | None = None

    def open(self, *, listing: bool = True) -> None:
        """A new process on the same directory."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log = ObjectLog(self.directory / "objects.db")
        restored = self.log.load()
        self.store = ObjectStore(log=self.log)
        self.facts = Facts(self.log, restored.facts)
        self.own, self.remote = RemoteStates(), RemoteStates()
        self.expect()
        self.store.restore(restored)
        self.feed.attach(self.store, listing=listing)

    def expect(self) -> None:
        """What the store waits for beside its own cluster."""

    def run(self, end: Any) -> asyncio.Task[Any]:
        """Have this end of the relay run."""
        self._task = asyncio.get_running_loop().create_task(end.run())
        return self._task

    async def kill(self) -> None:
        """The process is gone, between any two steps of the event loop; nothing is put in order."""
        self.feed.detach()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError, BaseExceptionGroup, MeshpassError):
                await self._task
            self._task = None
        if self.log is not None:
            self.log.close()

    async def wait(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Returns once the condition holds."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 (of several sources of change at once)
                await asyncio.sleep(0.005)


class Management(Process):
    """The management server."""

    server: RelayServer

    def __init__(self, directory: Path) -> None:
        super().__init__(Feed(MANAGEMENT), directory)
        self.port = 0
        self.signed: list[tuple[str, SignPurpose, str]] = []

    @property
    def credentials(self) -> RelayCredentials:
        """What the server shows."""
        return ensure_server_credentials(self.directory, ["127.0.0.1", "localhost"])

    async def start(self, *, listing: bool = True) -> None:
        """Serve agents, on the port of the first time."""
        self.open(listing=listing)

        async def sign(cluster: str, purpose: SignPurpose, csr: str) -> str:
            self.signed.append((cluster, purpose, csr))
            return f"chain for {cluster}"

        self.server = RelayServer(
            self.store,
            settings=RelayServerSettings(
                management_cluster=MANAGEMENT, listen=f"127.0.0.1:{self.port}", trust_domain=TRUST_DOMAIN
            ),
            credentials=self.credentials,
            own=self.own,
            remote=self.remote,
            facts=self.facts,
            sign=sign,
        )
        running = self.run(self.server)
        listening = asyncio.ensure_future(self.server.wait_listening())  # noqa: TID251 (ends with the server's own task)
        await asyncio.wait((running, listening), timeout=10, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        self.port = await listening

    def register(self, *clusters: str, skip_warming: bool = False) -> None:
        """Make clusters part of the mesh."""
        spec = {"skipWarming": True} if skip_warming else {}
        self.feed.put(*(manifest("KubernetesCluster", cluster, "gloo-mesh", spec=spec) for cluster in clusters))


class Agent(Process):
    """An agent."""

    agent: RelayAgent

    def __init__(
        self, cluster: str, directory: Path, address: Callable[[], str], credentials: RelayCredentials
    ) -> None:
        super().__init__(Feed(cluster), directory)
        self.cluster = cluster
        self.address = address
        self.credentials = credentials

    def expect(self) -> None:
        self.store.expect_relayed(MANAGEMENT)

    async def start(self, *, listing: bool = True) -> None:
        """Connect, and stay connected."""
        self.open(listing=listing)
        self.agent = RelayAgent(
            self.store,
            settings=RelayAgentSettings(cluster=self.cluster, management_cluster=MANAGEMENT, server=self.address()),
            credentials=self.credentials,
            own=self.own,
            remote=self.remote,
            facts=self.facts,
            jitter=lambda: 0.1,
        )
        self.run(self.agent)

    def seen(self) -> set[ObjectKey]:
        """The objects of other clusters that it has."""
        return {key for key in self.store.objects if key.cluster != self.cluster}


class Wire:
    """A TCP proxy on loopback that can be cut, stalled and counted."""

    def __init__(self, target: Callable[[], int]) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.up = True
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.bytes_up = 0
        self.bytes_down = 0
        self.cut_after: int | None = None
        """Cut once so many more bytes have come down."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Inside, it accepts connections."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            self.cut()
            self._server.close()

    def cut(self) -> None:
        """Break every connection off."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def reset(self) -> None:
        """Count from nothing."""
        self.bytes_up = self.bytes_down = 0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.up:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target())
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        with suppress(OSError, ExceptionGroup):
            async with asyncio.TaskGroup() as tasks:
                pumps = (
                    tasks.create_task(self._pump(reader, back, up=True)),
                    tasks.create_task(self._pump(there, writer, up=False)),
                )
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
        self._writers -= {writer, back}
        writer.transport.abort()
        back.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        while data := await reader.read(65536):
            await self.flowing.wait()
            if up:
                self.bytes_up += len(data)
            else:
                self.bytes_down += len(data)
                if self.cut_after is not None:
                    self.cut_after -= len(data)
                    if self.cut_after <= 0:
                        self.cut_after = None
                        self.cut()
                        return
            writer.write(data)
            await writer.drain()


class World:
    """A management server, agents, and a wire for each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.management = Management(directory / "management-server")
        self.agents: dict[str, Agent] = {}
        self.wires: dict[str, Wire] = {}

    def agent(self, cluster: str, *, named: str | None = None, trust_domain: str = TRUST_DOMAIN) -> Agent:
        """An agent that is not started yet; ``named`` is whom its certificate is for, if for another cluster."""
        directory = self.directory / "agents" / cluster
        credentials = ensure_agent_credentials(
            self.management.directory, directory / "credentials", trust_domain, named or cluster
        )
        wire = self.wires[cluster] = Wire(lambda: self.management.port)
        agent = Agent(cluster, directory, lambda: f"127.0.0.1:{wire.port}", credentials)
        self.agents[cluster] = agent
        return agent


@asynccontextmanager
async def run_world(directory: Path, *clusters: str) -> AsyncIterator[World]:
    """A mesh of one workspace that has everything; these clusters are registered, and their agents connected and told."""
    world = World(directory)
    for cluster in clusters:
        world.agent(cluster)
    world.management.feed.put(
        manifest(
            "Workspace",
            "all",
            "gloo-mesh",
            spec={"workloadClusters": [{"name": "*", "namespaces": [{"name": "*"}]}]},
        )
    )
    for feed in (world.management.feed, *(agent.feed for agent in world.agents.values())):
        feed.put(manifest("Namespace", "apps"))
    world.management.register(*clusters)
    await world.management.start()
    try:
        async with AsyncExitStack() as stack:
            for wire in world.wires.values():
                await stack.enter_async_context(wire.open())
            for agent in world.agents.values():
                await agent.start()
            for agent in world.agents.values():
                await agent.wait(lambda agent=agent: agent.store.synced)  # type: ignore[misc]
            yield world
    finally:
        for process in (world.management, *world.agents.values()):
            await process.kill()
