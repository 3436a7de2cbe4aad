"""When an Envoy of which nobody knows what it has is closed before it is told, and how."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support.churn import ASKS, PROTECTED, Ask, Policy, World
from tests.support.model_envoy import ModelEnvoy, resources_of
from tests.support.objects import BASE, CLIENT, SERVER, build_snapshots, jwt_policy, object_set, translate_objects
from tests.support.tokens import public_pem

from meshpass.envoy.class_move import plain_name
from meshpass.envoy.closing import close_unknown
from meshpass.envoy.snapshot import CLUSTER, ENDPOINTS, EXTENSION_CONFIG, LISTENER, ROUTES, Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.ir import InboundListener, Proxy
from meshpass.memo import Memo

MAIN = World().policies["main"]
OTHER = replace(World(), policies={"main": replace(MAIN, claims="internal", phase="postAuthz")})


def snapshot(world: World, memo: Memo) -> Snapshot:
    objects = [*world.tables().values(), *(policy.manifest(name) for name, policy in world.policies.items())]
    return build_snapshots(translate_objects(object_set(BASE, *objects), memo), memo)[CLIENT]


def with_policy(policy: Policy) -> World:
    return replace(World(), policies={"main": policy})


JWT, RULES = "meshpass.outbound.pre.jwt", "meshpass.outbound.pre.authorization"


@pytest.mark.parametrize(
    ("changed", "closes"),
    [
        pytest.param((), False, id="nothing"),
        pytest.param(((EXTENSION_CONFIG, RULES),), False, id="one-filter"),
        pytest.param(((ROUTES, "outbound"), (LISTENER, "outbound")), False, id="routes-and-listeners"),
        pytest.param(((EXTENSION_CONFIG, RULES), (CLUSTER, "any"), (ENDPOINTS, "any")), False, id="where-it-leads"),
        pytest.param(((EXTENSION_CONFIG, RULES), (EXTENSION_CONFIG, JWT)), True, id="two-filters"),
        pytest.param(((EXTENSION_CONFIG, RULES), (ROUTES, "outbound")), True, id="a-filter-and-routes"),
        pytest.param(((EXTENSION_CONFIG, RULES), (LISTENER, "outbound")), True, id="a-filter-and-a-listener"),
    ],
)
def test_only_what_envoy_would_exchange_one_by_one_is_closed(
    changed: tuple[tuple[str, str], ...], closes: bool
) -> None:
    """Filters among themselves, or with the routes that name what the filters know; never one resource alone."""
    target = snapshot(World(), Memo())
    held = ModelEnvoy(target).versions
    for type_url, name in changed:
        assert type_url in {CLUSTER, ENDPOINTS} or name in held[type_url], sorted(held[type_url])
        held[type_url][name] = "another"
    assert (close_unknown(held, target) is not None) == closes


def test_an_envoy_without_filters_is_not_closed() -> None:
    """It has nothing that could be looked up wrongly."""
    assert close_unknown({}, snapshot(World(), Memo())) is None


def test_the_first_filter_closes_every_route_that_nobody_knows() -> None:
    """One resource, no listener, no route: after it each request is refused, whatever the other filters are."""
    memo = Memo()
    model = ModelEnvoy(snapshot(World(), memo))
    closed = close_unknown(model.versions, snapshot(OTHER, memo))
    assert closed is not None
    assert [one.name for one in resources_of(closed)] == ["meshpass.outbound.pre.jwt"]
    for resource in resources_of(closed):
        model.take(resource)
    assert [ask for ask in ASKS if model.ask(ask).passed] == []


def test_the_way_from_there_opens_what_the_target_opens() -> None:
    """The names of classes that were given meanwhile are gone in the end, and their policies are known by them."""
    memo = Memo()
    target = snapshot(OTHER, memo)
    model = ModelEnvoy(snapshot(World(), memo))
    closed = close_unknown(model.versions, target)
    assert closed is not None
    steps = plan_transition(closed, target, memo)
    assert steps[-1] is target
    classes = closed.proxy.policies.pre.requirements.keys()
    assert {plain_name(name) for name in classes} == target.proxy.policies.pre.requirements.keys()
    assert not classes & target.proxy.policies.pre.requirements.keys()
    for resource in resources_of(steps[-1]):
        model.take(resource)
    for host in PROTECTED:
        assert model.ask(Ask(host=host, token="dev")).passed
        assert not model.ask(Ask(host=host)).passed


def test_two_targets_never_close_under_the_same_name() -> None:
    """A way that was broken off has left routes under its names."""
    memo = Memo()
    held = ModelEnvoy(snapshot(World(), memo)).versions
    names = []
    for claims in ("internal", "not external"):
        policy = replace(OTHER.policies["main"], claims=claims)
        closed = close_unknown(held, snapshot(with_policy(policy), memo))
        assert closed is not None
        names.append(closed.proxy.policies.pre.requirements.keys())
    assert not names[0] & names[1]


def on_service(**config: Any) -> dict[str, Any]:
    providers = {"dev": {"issuer": "https://dev.example.com", "local": {"inline": public_pem("main")}}}
    return jwt_policy(
        "inner", applyToDestinations=[{"selector": {"name": "httpbin"}}], config={"providers": providers} | config
    )


def test_where_a_workload_is_called_its_listener_takes_part() -> None:
    """The class is in the listener there. The other side of the proxy is left alone."""
    memo = Memo()
    rule = {"claims": [{"key": "org", "values": ["internal"]}], "phase": {"postAuthz": {}}}
    old, new = (
        build_snapshots(translate_objects(object_set(BASE, one), memo), memo)[SERVER]
        for one in (on_service(), on_service(**rule))
    )
    closed = close_unknown(ModelEnvoy(old).versions, new)
    assert closed is not None
    assert [one.name for one in resources_of(closed)] == ["meshpass.inbound.pre.jwt"]
    (before,) = inbound_classes(new.proxy)
    (during,) = inbound_classes(closed.proxy)
    assert during != before
    assert plain_name(during) == before
    assert during in closed.proxy.inbound_policies.pre.requirements
    assert closed.proxy.policies == new.proxy.policies
    assert plan_transition(closed, new, memo)[-1] is new


def inbound_classes(proxy: Proxy) -> list[str]:
    return [one.selection_class for one in proxy.listeners if isinstance(one, InboundListener)]
