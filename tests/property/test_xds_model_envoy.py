"""A model Envoy on an AdsStream: whatever it is sent, in whatever order it answers, no route lacks what it refers to."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from meshpass.envoy.snapshot import CLUSTER, EXTENSION_CONFIG, LISTENER, ROUTES, Resource, Snapshot
from meshpass.ir import Proxy
from meshpass.xds.event import Event, InSync, Send
from meshpass.xds.memory import Plan
from meshpass.xds.request import DeltaRequest
from meshpass.xds.stream import AdsStream

Route = tuple[str, str]
"""The cluster that the route goes to, and the class whose requirement it carries."""

BAD = "bad"
"""A cluster or class of this name is refused by the model Envoy, and so is a route to cluster ``bad-route``."""

names = st.sampled_from(("a", "b", "c", BAD, "bad-route"))
routings = st.frozensets(st.tuples(names, st.sampled_from(("A", "B", "C", BAD))), max_size=4)
GOOD = frozenset({("a", "A"), ("d", "D")})


def resource(type_url: str, name: str, version: str = "1") -> Resource:
    return Resource(type_url=type_url, name=name, version=version, wire=b"w")


def build(clusters: frozenset[str], classes: frozenset[str], routes: frozenset[Route], listener: str) -> Snapshot:
    """The Snapshot of a proxy whose whole IR is written into its node id."""
    told = ";".join(
        (",".join(sorted(clusters)), ",".join(sorted(classes)), ",".join(sorted("/".join(r) for r in routes)), listener)
    )
    return Snapshot(
        proxy=Proxy(node=told),
        resources={
            CLUSTER: {name: resource(CLUSTER, name) for name in sorted(clusters)},
            EXTENSION_CONFIG: {"jwt": resource(EXTENSION_CONFIG, "jwt", ",".join(sorted(classes)))},
            LISTENER: {"outbound": resource(LISTENER, "outbound", listener)},
            ROUTES: {"table": resource(ROUTES, "table", told.split(";")[2])},
        },
    )


def consistent(routes: frozenset[Route], listener: str = "1") -> Snapshot:
    return build(frozenset(r[0] for r in routes), frozenset(r[1] for r in routes), routes, listener)


def parse_routes(text: str) -> frozenset[Route]:
    return frozenset((part.split("/")[0], part.split("/")[1]) for part in text.split(",") if part)


def parse_names(text: str) -> frozenset[str]:
    return frozenset(text.split(",")) - {""}


def plan(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
    """Expand, switch, contract, made from the IR alone, as the real one is."""
    if current is None:
        return (target,)
    old, new = (snapshot.proxy.node.split(";") for snapshot in (current, target))
    clusters = parse_names(old[0]) | parse_names(new[0])
    classes = parse_names(old[1]) | parse_names(new[1])
    expanded = build(clusters, classes, parse_routes(old[2]), old[3])
    switched = build(clusters, classes, parse_routes(new[2]), new[3])
    return (expanded, switched, target)


def plan_at_once(current: Snapshot | None, target: Snapshot) -> tuple[Snapshot, ...]:
    """Expand and switch in one step: what comes first is up to the stream."""
    return plan(current, target)[-2:]


class ModelEnvoy(RuleBasedStateMachine):
    """Applies responses in the order of their arrival, answers them in any order."""

    @initialize(resumes=st.booleans(), routes=routings, plan=st.sampled_from((plan, plan_at_once)))
    def connect(self, resumes: bool, routes: frozenset[Route], plan: Plan) -> None:
        good = frozenset(route for route in routes if not any(part.startswith(BAD) for part in route))
        had = consistent(good) if resumes else None
        self.stream = AdsStream(plan)
        self.target: Snapshot | None = None
        self.has: dict[str, dict[str, str]] = {}
        self.refused: set[tuple[str, str]] = set()
        self.inbox: list[Send] = []
        self.answers: list[DeltaRequest] = []
        self.was_in_sync = False
        if had is not None:
            self.has = {t: {n: r.version for n, r in of_type.items()} for t, of_type in had.resources.items()}
        self.ask(CLUSTER, "*")
        if had is not None:
            for type_url, name in ((LISTENER, "*"), (EXTENSION_CONFIG, "jwt"), (ROUTES, "table")):
                self.ask(type_url, name)

    def ask(self, type_url: str, name: str) -> None:
        had: Mapping[str, str] = self.has.setdefault(type_url, {})
        self.take(
            self.stream.receive(
                DeltaRequest(type_url=type_url, subscribe=(name,), initial_versions=dict(had), node="node")
            )
        )
        self.asked = {*getattr(self, "asked", ()), type_url}

    def take(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if isinstance(event, Send):
                self.inbox.append(event)
            elif isinstance(event, InSync):
                assert event.snapshot is self.target
                assert self.has == self.wanted()
                self.was_in_sync = True

    def wanted(self) -> dict[str, dict[str, str]]:
        assert self.target is not None
        return {t: {n: r.version for n, r in of_type.items()} for t, of_type in self.target.resources.items()}

    @rule(routes=routings, listener=st.sampled_from(("1", "2")))
    def retarget(self, routes: frozenset[Route], listener: str) -> None:
        self.target = consistent(routes, listener)
        self.take(self.stream.retarget(self.target))

    @precondition(lambda self: self.inbox)
    @rule()
    def apply(self) -> None:
        send = self.inbox.pop(0)
        bad = {(send.type_url, r.name) for r in send.resources if self.is_bad(r)}
        has = self.has[send.type_url]
        # Envoy applies the good ones of a rejected response of clusters or listeners, and none of other types.
        if not bad or send.type_url in {CLUSTER, LISTENER}:
            has.update({r.name: r.version for r in send.resources if not self.is_bad(r)})
        if not bad:
            for name in send.removed:
                has.pop(name, None)
        self.refused |= bad
        self.answers.append(
            DeltaRequest(type_url=send.type_url, nonce=send.nonce, error="the words of Envoy" if bad else None)
        )
        if send.type_url == CLUSTER and LISTENER not in self.asked:
            self.ask(LISTENER, "*")
        if send.type_url == LISTENER and ROUTES not in self.asked:
            self.ask(EXTENSION_CONFIG, "jwt")
            self.ask(ROUTES, "table")

    @precondition(lambda self: self.answers)
    @rule(which=st.integers(min_value=0, max_value=9))
    def answer(self, which: int) -> None:
        self.take(self.stream.receive(self.answers.pop(which % len(self.answers))))

    @precondition(lambda self: ROUTES in self.asked)
    @rule(asked=st.sampled_from(((EXTENSION_CONFIG, "jwt"), (ROUTES, "table"), (CLUSTER, "a"))))
    def ask_again(self, asked: tuple[str, str]) -> None:
        self.take(self.stream.receive(DeltaRequest(type_url=asked[0], subscribe=(asked[1],))))

    def is_bad(self, of: Resource) -> bool:
        if of.type_url == CLUSTER:
            return of.name == BAD
        if of.type_url == EXTENSION_CONFIG:
            return BAD in parse_names(of.version)
        return of.type_url == ROUTES and any(route[0] == "bad-route" for route in parse_routes(of.version))

    @invariant()
    def no_route_lacks_what_it_refers_to(self) -> None:
        """Once everything was there, every route has its cluster and its class; before, what Envoy refused may lack."""
        routes = parse_routes(getattr(self, "has", {}).get(ROUTES, {}).get("table", ""))
        for cluster, name in routes:
            assert cluster in self.has[CLUSTER] or (not self.was_in_sync and (CLUSTER, cluster) in self.refused)
            if self.was_in_sync:
                assert name in parse_names(self.has[EXTENSION_CONFIG]["jwt"])

    def drain(self) -> None:
        while self.inbox or self.answers:
            while self.inbox:
                self.apply()
                self.no_route_lacks_what_it_refers_to()
            self.answer(0)

    def teardown(self) -> None:
        """Everything answered: in the target or held by a rejection. A target without bad parts is always reached."""
        if not hasattr(self, "stream"):
            return
        self.drain()
        if self.target is not None:
            assert self.stream.in_sync != bool(self.stream.rejections)
            assert not self.stream.in_sync or self.has == self.wanted()
        self.target = consistent(GOOD)
        self.take(self.stream.retarget(self.target))
        self.drain()
        assert self.stream.in_sync
        assert self.has == self.wanted()


ModelEnvoy.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestAdsStream = ModelEnvoy.TestCase
