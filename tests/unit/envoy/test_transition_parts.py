"""Ways from one task to another of which secrets, backends with TLS and several route configurations are part."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType

from tests.support.reading import Reading, same_bytes

from meshpass.envoy.build import build_snapshot
from meshpass.envoy.class_move import rename_contested
from meshpass.envoy.snapshot import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, TYPE_URL_ORDER, Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.ir import (
    CALLERS,
    Backend,
    DownstreamTls,
    Forward,
    GatewayListener,
    HttpChain,
    InboundListener,
    JwtProvider,
    JwtRequirement,
    MutualTlsMode,
    PhasePolicies,
    PolicySet,
    Proxy,
    Route,
    RouteConfiguration,
    RouteMatch,
    RouteOptions,
    TlsCertificate,
    TrustedAuthorities,
    UpstreamTls,
    VirtualHost,
    WeightedBackend,
)
from meshpass.memo import Memo

TIMEOUT = RouteOptions(timeout_milliseconds=1)


def provider(name: str) -> JwtProvider:
    return JwtProvider(
        name=name,
        issuer=name,
        audiences=(),
        jwks="{}",
        headers=(),
        query_parameters=(),
        keep_token=False,
        clock_skew_seconds=0,
        payload_header="",
        payload_key="key",
    )


def policies(**classes: str) -> PolicySet:
    """Class → the provider of which it requires a token; empty: none."""
    requirements = {name: (JwtRequirement(providers=(needed,)),) if needed else () for name, needed in classes.items()}
    providers = tuple(provider(name) for name in sorted({needed for needed in classes.values() if needed}))
    nothing = MappingProxyType(dict.fromkeys(classes, ()))
    return PolicySet(
        pre=PhasePolicies(providers=providers, requirements=MappingProxyType(requirements)),
        post=PhasePolicies(requirements=nothing),
    )


def table(name: str, backend: str, **classes: str) -> RouteConfiguration:
    """A host for each class, whose requests go to the backend."""
    forward = Forward(backends=(WeightedBackend(backend=backend, weight=100),))
    hosts = (
        VirtualHost(
            name=f"{name}-{host}",
            domains=(f"{host}.example.com",),
            routes=(Route(name="r", match=RouteMatch(), action=forward, selection_class=selection_class),),
        )
        for host, selection_class in classes.items()
    )
    return RouteConfiguration(name=name, virtual_hosts=tuple(hosts))


def gateway(
    *tables: RouteConfiguration, certificate: str, backend: str, told: PolicySet, chain: str = "chain"
) -> Proxy:
    """A gateway with a chain for each table, all of which show the certificate."""
    chains = tuple(
        HttpChain(
            name=f"{chain}-{one.name}",
            route_configuration=one.name,
            server_names=(f"{one.name}.example.com",),
            tls=DownstreamTls(certificate=certificate),
        )
        for one in tables
    )
    tls = UpstreamTls(sni=backend, authorities_file="ca", certificate=f"{backend}-certificate")
    return Proxy(
        node="n",
        listeners=(GatewayListener(name="gateway", address="127.0.0.1", port=443, chains=chains),),
        routes=tables,
        backends=(Backend(name=backend, endpoints=(), tls=tls),),
        secrets=tuple(
            TlsCertificate(name=name, chain="c", private_key="k")
            for name in sorted({certificate, f"{backend}-certificate"})
        ),
        policies=told,
    )


def plan(old: Proxy, new: Proxy) -> tuple[Snapshot, ...]:
    """What Envoy has, and the steps."""
    memo = Memo()
    current = build_snapshot(old, memo)
    return (current, *plan_transition(current, build_snapshot(new, memo), memo))


OLD = gateway(table("a", "web", one="x"), certificate="old", backend="web", told=policies(x="p"))
NEW = gateway(table("b", "shop", one="x"), certificate="new", backend="shop", told=policies(x="p"))


def test_every_step_is_whole_in_every_order_of_types() -> None:
    """Nothing refers to a secret, backend or route configuration that is not there yet or no more.

    But a new cluster or listener, which waits for its endpoints, secrets and routes: they come next.
    """
    for has, step in pairwise(plan(OLD, NEW)):
        assert Reading(step).dangling() == []
        for upto in range(len(TYPE_URL_ORDER)):
            mixed = {
                one: {**has.of(one), **(step.of(one) if index <= upto else {})}
                for index, one in enumerate(TYPE_URL_ORDER)
            }
            wrong = Reading(Snapshot(proxy=step.proxy, resources=mixed)).dangling()
            assert set(wrong) <= (Reading(step).awaited() if upto < len(TYPE_URL_ORDER) - 1 else set())


def test_what_goes_goes_last() -> None:
    """Secrets and backends of both sides until listeners and routes have moved; old route configurations even then."""
    current, expanded, switched, last = plan(OLD, NEW)
    both = {"old", "new", "web-certificate", "shop-certificate"}
    assert expanded.of(SECRET).keys() == switched.of(SECRET).keys() == both
    assert expanded.of(CLUSTER).keys() == switched.of(CLUSTER).keys() == {"web", "shop"}
    assert expanded.of(LISTENER)["gateway"].version == current.of(LISTENER)["gateway"].version
    assert switched.of(LISTENER)["gateway"].version == last.of(LISTENER)["gateway"].version
    assert [set(step.of(ROUTES)) for step in (expanded, switched, last)] == [{"a"}, {"a", "b"}, {"b"}]
    assert last.of(SECRET).keys() == {"new", "shop-certificate"}


def test_a_secret_that_is_renewed_is_one_step() -> None:
    """Under its name; the target says nothing that was not said."""
    renewed = TlsCertificate(name=OLD.secrets[0].name, chain="renewed", private_key="k")
    _, first, *rest = plan(OLD, replace(OLD, secrets=(renewed, *OLD.secrets[1:])))
    assert all(same_bytes(first, step) for step in rest)


def test_classes_are_compared_over_all_route_configurations() -> None:
    """A route may leave a class in one while the class is opened by way of another; the options move with the name."""
    old = replace(
        OLD,
        routes=(
            table("a", "web", one="x"),
            replace(table("b", "web", two="y"), options=MappingProxyType({"x": TIMEOUT})),
        ),
        policies=policies(x="p", y="p"),
    )
    new = replace(
        old,
        routes=(
            table("a", "web", one="y"),
            replace(table("b", "web", two="x"), options=MappingProxyType({"x": TIMEOUT})),
        ),
        policies=policies(x="", y="p"),
    )
    between = rename_contested(old, new)
    assert between is not None
    first, second = between.routes
    assert first.virtual_hosts[0] is new.routes[0].virtual_hosts[0]
    assert second.virtual_hosts[0].routes[0].selection_class == "x+"
    assert second.options == {"x+": TIMEOUT}
    for step in plan(old, new):
        reading = Reading(step)
        found = {name: verdict for (name, _), verdict in reading.route_verdicts().items()}
        assert found["a-one"] == frozenset({"p"})
        assert reading.dangling() == []


def test_names_stay_where_only_options_or_the_place_of_a_table_change() -> None:
    """Options come with the routes that they are for."""
    told = policies(x="")
    options = MappingProxyType({"x": TIMEOUT})
    (only,) = OLD.routes
    assert rename_contested(OLD, replace(OLD, routes=(replace(only, options=options),), policies=told)) is None
    equal = replace(only, virtual_hosts=tuple(replace(host) for host in only.virtual_hosts))
    assert rename_contested(OLD, replace(OLD, routes=(equal,), policies=told)) is None
    assert rename_contested(OLD, replace(OLD, routes=(replace(only, name="z"),), policies=told)) is not None


def peers(*identities: str) -> tuple[TrustedAuthorities, ...]:
    return (TrustedAuthorities(name="peers", certificates="roots", identities=identities),)


def test_who_answered_before_may_answer_until_its_endpoints_are_gone() -> None:
    """And whoever answers from now on is accepted from the first step on, before its endpoints are sent."""
    memo = Memo()
    old, new = (Proxy(node="n", secrets=peers(*names)) for names in (("a", "b"), ("b", "c")))
    more = replace(new, secrets=peers("b", "c", "d"))
    steps = plan_transition(build_snapshot(old, memo), build_snapshot(new, memo), memo)
    further = plan_transition(steps[-1], build_snapshot(more, memo), memo)

    assert [accepted(step) for step in steps] == [("a", "b", "c"), ("b", "c")]
    assert {accepted(step) for step in further} == {("b", "c", "d")}
    assert TYPE_URL_ORDER.index(SECRET) < TYPE_URL_ORDER.index(ENDPOINTS)


def test_who_may_not_call_any_more_may_not_from_the_first_step_on() -> None:
    """Nothing has to be gone before: it is shut out at once."""
    memo = Memo()
    listener = InboundListener(
        name="i", address="", port=1, backend="b", selection_class="c", mutual_tls=MutualTlsMode.STRICT
    )
    old, new = (
        Proxy(
            node="n",
            listeners=(listener,),
            secrets=(TrustedAuthorities(name=CALLERS, certificates="roots", identities=names),),
        )
        for names in (("a", "b"), ("b",))
    )
    steps = plan_transition(build_snapshot(old, memo), build_snapshot(new, memo), memo)

    assert {accepted(step) for step in steps} == {("b",)}


def accepted(step: Snapshot) -> tuple[str, ...] | None:
    (secret,) = step.proxy.secrets
    assert isinstance(secret, TrustedAuthorities)
    return secret.identities
