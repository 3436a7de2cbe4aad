"""Rotation: whatever is late, whoever crashes, every proxy believes every proxy, at every moment.

Real stores on a real disk, real certificates. A message is what was true when it was sent; Hypothesis decides when it
comes, and who is killed. A proxy is an Envoy: it keeps what it has, and a stream of it is in sync or not.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import deque
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.support.identities import START, certificates, make_ca, settle

from meshpass.identity.acknowledged import AcknowledgedTrust
from meshpass.identity.authority import is_signed_by
from meshpass.identity.intermediate import IntermediateStore
from meshpass.identity.roots import RootStore
from meshpass.identity.trust import IntermediateState, Phase, TrustBundle
from meshpass.identity.workload import WorkloadIssuer
from meshpass.ir import CALLERS, WORKLOAD_IDENTITY, Proxy, TlsCertificate, TrustedAuthorities
from meshpass.translate.identity import NO_IDENTITIES, Identities, spiffe_id

DOMAIN = "cluster.local"
CLUSTERS = ("cluster1", "cluster2")
PROXIES = ("a", "b")
GIVEN = [make_ca(f"given {number}") for number in range(2)]
BELOW = [make_ca(f"below {number}", signed_by=GIVEN[0]) for number in range(2)]

KINDS = (
    *("bundle", "request", "answer", "report"),
    *(f"{name} {kind}" for name in PROXIES for kind in ("sent", "acknowledged")),
)
"""What is on its way between processes, and between an agent and its proxies."""

clusters = st.sampled_from(CLUSTERS)
stuck_channels = st.frozensets(
    st.sampled_from([f"{cluster} {kind}" for cluster in CLUSTERS for kind in KINDS]), max_size=5
)


def build_proxy(node: str, name: str, identities: Identities) -> Proxy:
    """What a translation makes of the identities."""
    certificate = identities.certificates[spiffe_id(DOMAIN, "a", name)]
    return Proxy(
        node=node,
        secrets=(
            TrustedAuthorities(name=CALLERS, certificates=identities.authorities, identities=(f"spiffe://{DOMAIN}/",)),
            TlsCertificate(name=WORKLOAD_IDENTITY, chain=certificate.chain, private_key=certificate.private_key),
        ),
    )


class Envoy:
    """What it has been sent, and what it holds. ``held`` outlives every process but its own."""

    def __init__(self) -> None:
        self.inbox: deque[Proxy] = deque()
        self.held: Proxy | None = None
        self.acknowledgements: deque[Proxy] = deque()

    def apply(self) -> None:
        self.held = self.inbox.popleft()
        self.acknowledgements.append(self.held)


class Agent:
    """A process that issues, translates and serves; what is in its directory is all that outlives it."""

    def __init__(self, directory: Path, cluster: str, tasks: asyncio.TaskGroup) -> None:
        self.directory = directory
        self.cluster = cluster
        self.envoys = {name: Envoy() for name in PROXIES[:1]}
        self.bundles: deque[TrustBundle] = deque()
        self.signing: deque[tuple[str, asyncio.Future[str]]] = deque()
        self.signed: deque[tuple[str, asyncio.Future[str]]] = deque()
        self.reports: deque[IntermediateState] = deque()
        self.last: IntermediateState | None = None
        self._tasks = tasks
        self._tick = asyncio.Event()
        self.start()

    def start(self) -> None:
        self.store = IntermediateStore(self.directory, self.cluster, clock=lambda: START, sleep=self._sleep)
        self.issuer = WorkloadIssuer(self.store, clock=lambda: START, sleep=self._sleep)
        self.trust = AcknowledgedTrust(self.store, self.issuer)
        self.targets: dict[str, Proxy] = {}
        self.acknowledged: dict[str, Proxy] = {}
        self._running = [
            self._tasks.create_task(self.store.run(self._sign)),
            self._tasks.create_task(self.issuer.run()),
        ]

    def kill(self) -> None:
        """With all that was on its way to it or from it; Envoys go on."""
        for task in self._running:
            task.cancel()
        for queue in (self.bundles, self.signing, self.signed, self.reports):
            queue.clear()
        self.last = None
        for envoy in self.envoys.values():
            envoy.inbox.clear()
            envoy.acknowledgements.clear()

    def reconcile(self) -> None:
        """Translate, publish, report, as the loop of a process does whenever anything changed."""
        self.issuer.follow(frozenset(spiffe_id(DOMAIN, "a", name) for name in self.envoys))
        identities = self.issuer.identities
        if identities is NO_IDENTITIES:
            return
        for name, envoy in self.envoys.items():
            proxy = build_proxy(f"{self.cluster}/{name}", name, identities)
            known = self.targets.get(name)
            if known is None or known.secrets != proxy.secrets:
                self.targets[name] = proxy
                envoy.inbox.append(proxy)
        self.report()

    def report(self) -> None:
        if not self.targets:
            return
        self.trust.observe(
            self.targets.values(),
            lambda node: self.acknowledged.get(node.partition("/")[2]) is self.targets[node.partition("/")[2]],
        )
        state = self.trust.state()
        if state != self.last:
            self.last = state
            self.reports.append(state)

    async def _sign(self, csr_pem: str) -> str:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.signing.append((csr_pem, answer))
        return await answer

    def wake(self) -> None:
        """Whoever sleeps wakes."""
        self._tick.set()
        self._tick = asyncio.Event()

    async def _sleep(self, _seconds: float) -> None:
        await self._tick.wait()


async def at_once(_seconds: float) -> None:
    """No time to settle: what is late is decided elsewhere."""


class Rotations(RuleBasedStateMachine):
    """Roots are made, given and rotated, while everything is late."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.files = tempfile.TemporaryDirectory()
        self.directory = Path(self.files.name)
        self.tasks = asyncio.TaskGroup()
        self.loop.run_until_complete(self.tasks.__aenter__())
        self.believed: dict[tuple[str, str], bool] = {}
        self.open_roots()
        self.agents: dict[str, Agent] = {}

    def open_roots(self) -> None:
        self.roots = RootStore(self.directory / "server", DOMAIN, clock=lambda: START, sleep=at_once, settle_seconds=0)
        self.states: dict[str, IntermediateState] = {}
        self.told = -1

    def settle(self) -> None:
        self.loop.run_until_complete(settle())
        for agent in self.agents.values():
            agent.reconcile()
        self.loop.run_until_complete(settle())
        self.tell()

    def tell(self) -> None:
        if self.told != self.roots.revision:
            self.told = self.roots.revision
            for agent in self.agents.values():
                agent.bundles.append(self.roots.bundle)

    @initialize(given=st.booleans())
    def begin(self, given: bool) -> None:
        if given:
            self.roots.use(GIVEN[0].pem, GIVEN[0].key_pem)
        for cluster in CLUSTERS:
            self.agents[cluster] = Agent(self.directory / cluster, cluster, self.tasks)
        self.tell()
        self.deliver_all()

    @rule(stuck=stuck_channels, rounds=st.integers(1, 12))
    def go_on(self, stuck: frozenset[str], rounds: int) -> None:
        """Messages come, but those of the channels that are stuck; those wait."""
        for _ in range(rounds):
            for cluster, agent in self.agents.items():
                open_to = {kind for kind in KINDS if f"{cluster} {kind}" not in stuck}
                self.serve(cluster, agent, open_to)
                for name, envoy in agent.envoys.items():
                    if f"{name} sent" in open_to and envoy.inbox:
                        envoy.apply()
                        self.everyone_believes_everyone()
                    if f"{name} acknowledged" in open_to and envoy.acknowledgements:
                        agent.acknowledged[name] = envoy.acknowledgements.popleft()
                        agent.report()
                if "report" in open_to and agent.reports:
                    self.states[cluster] = agent.reports.popleft()
                    self.roots.observe(self.states, frozenset(CLUSTERS))
            self.loop.run_until_complete(self.roots._step())
            self.tell()

    def serve(self, cluster: str, agent: Agent, open_to: set[str]) -> None:
        if "bundle" in open_to and agent.bundles:
            agent.store.trust(agent.bundles.popleft())
        if "request" in open_to and agent.signing:
            csr_pem, answer = agent.signing.popleft()
            agent.signed.append((self.roots.sign(csr_pem, cluster), answer))
        if "answer" in open_to and agent.signed:
            chain, answer = agent.signed.popleft()
            answer.set_result(chain)
        agent.wake()
        self.settle()

    @rule(given=st.sampled_from([None, *GIVEN, *BELOW]))
    def wish(self, given) -> None:
        """Somebody wants another root, or another authority below the same one."""
        if given is not None:
            self.roots.use(given.pem, given.key_pem, "" if given in GIVEN else GIVEN[0].pem)
        elif not self.roots.given and self.roots.bundle.phase is Phase.STEADY:
            self.roots.rotate()
        self.tell()

    @rule(cluster=clusters)
    def another_intermediate(self, cluster: str) -> None:
        self.agents[cluster].store.rotate()
        self.settle()

    @rule(cluster=clusters)
    def workload_starts(self, cluster: str) -> None:
        agent = self.agents[cluster]
        agent.envoys.setdefault(PROXIES[1], Envoy())
        self.settle()

    @rule(cluster=clusters)
    def workload_ends(self, cluster: str) -> None:
        agent = self.agents[cluster]
        agent.envoys.pop(PROXIES[1], None)
        agent.targets.pop(PROXIES[1], None)
        agent.acknowledged.pop(PROXIES[1], None)
        self.settle()

    @rule(cluster=clusters)
    def agent_is_killed(self, cluster: str) -> None:
        agent = self.agents[cluster]
        agent.kill()
        agent.start()
        agent.bundles.append(self.roots.bundle)
        self.settle()

    @rule()
    def server_is_killed(self) -> None:
        self.open_roots()
        for agent in self.agents.values():
            for queue in (agent.signing, agent.signed):
                for _, answer in queue:
                    answer.set_exception(ConnectionError("the server is gone"))
                queue.clear()
            agent.bundles.clear()
            agent.reports.clear()
            agent.last = None
            agent.report()
        self.settle()

    @rule(cluster=clusters)
    def relay_is_cut_and_healed(self, cluster: str) -> None:
        """What was on its way is lost, and said again."""
        agent = self.agents[cluster]
        for queue in (agent.signing, agent.signed):
            for _, answer in queue:
                answer.set_exception(ConnectionError("cut"))
            queue.clear()
        agent.reports.clear()
        agent.bundles.clear()
        agent.bundles.append(self.roots.bundle)
        agent.last = None
        agent.report()
        self.settle()

    def deliver_all(self) -> None:
        """Everything comes, in the end."""
        for _ in range(100):
            self.go_on(frozenset(), 1)
            if self.is_done():
                break
        assert self.is_done(), (self.roots.bundle.phase, self.roots.late)

    def is_done(self) -> bool:
        """Nothing is on its way, and everyone has what is wanted."""
        wanted = self.roots.bundle
        return (
            wanted.phase is Phase.STEADY
            and self.roots._file.queued is None
            and all(
                agent.issuer.trust.trusts == wanted.trusts
                and agent.issuer.trust.issuer == wanted.signing
                and agent.trust.state().late == ()
                and not (agent.bundles or agent.reports or agent.signing or agent.signed)
                and not any(envoy.inbox or envoy.acknowledgements for envoy in agent.envoys.values())
                for agent in self.agents.values()
            )
        )

    @invariant()
    def everyone_believes_everyone(self) -> None:
        holders = [
            envoy.held for agent in self.agents.values() for envoy in agent.envoys.values() if envoy.held is not None
        ]
        for one in holders:
            for other in holders:
                assert self.believes(one.secrets[0].certificates, other.secrets[1].chain), (one.node, other.node)

    def believes(self, roots: str, chain: str) -> bool:
        key = (roots, chain)
        if key not in self.believed:
            shown = certificates(chain)
            self.believed[key] = all(map(is_signed_by, shown, shown[1:])) and any(
                is_signed_by(shown[-1], root) for root in certificates(roots)
            )
        return self.believed[key]

    def teardown(self) -> None:
        if self.agents:
            self.deliver_all()
        for agent in self.agents.values():
            agent.kill()
        self.loop.run_until_complete(self.tasks.__aexit__(None, None, None))
        self.loop.close()
        self.files.cleanup()


TestRotations = Rotations.TestCase
TestRotations.settings = settings(max_examples=25, stateful_step_count=40)
