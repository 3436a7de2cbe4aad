"""What a translation says about objects: policies that hold nowhere, gates that keep them from holding, and tables."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support import public_keys as pem
from tests.support.objects import (
    BASE,
    CLIENT,
    build_snapshots,
    forward,
    jwt_policy,
    object_set,
    route_table,
    translate_objects,
)

from meshpass.api.objectset import ObjectKey
from meshpass.ir import PolicySet
from meshpass.translate import FeatureGates, Translation
from meshpass.translate.finding import Reason, Severity

POLICY = ObjectKey("JWTPolicy", "cluster1", "httpbin", "policy")
TABLE = ObjectKey("RouteTable", "cluster1", "httpbin", "table")
CONFIG = {"providers": {"me": {"local": {"inline": pem.P_256}}}}


def table(**labels: str) -> dict[str, Any]:
    return route_table(hosts=["www.example.com"], workloadSelectors=[{}], http=[forward(**labels)])


def policy(**labels: str) -> dict[str, Any]:
    return jwt_policy(applyToRoutes=[{"route": {"labels": labels}}], config=CONFIG)


def translate(*manifests: dict[str, Any], **gates: bool) -> Translation:
    return translate_objects(object_set(BASE, *manifests), gates=FeatureGates(**gates))


def told(translation: Translation, key: ObjectKey = POLICY) -> list[tuple[Severity, Reason]]:
    return [(finding.severity, finding.reason) for finding in translation.report.objects[key].findings]


def policies_on_the_table(translation: Translation) -> tuple[PolicySet, str]:
    """The client's policies, and the class of the table's route."""
    proxy = translation.proxies[CLIENT]
    (host,) = (host for host in proxy.routes[0].virtual_hosts if "www.example.com" in host.domains)
    return proxy.policies, host.routes[0].selection_class


def is_protected(translation: Translation) -> bool:
    policies, name = policies_on_the_table(translation)
    return bool(policies.pre.requirements[name]) or name in policies.denied


def test_a_policy_that_selects_a_route_counts_it_and_names_its_proxies() -> None:
    """The proxies are those whose acknowledgement makes it Programmed."""
    translation = translate(table(route="a"), policy(route="a"))
    report = translation.report.objects[POLICY]

    assert report.counts == {"numSelectedRoutes": 1, "numSelectedDestinationPorts": 0}
    assert CLIENT in report.nodes
    assert told(translation) == []
    assert is_protected(translation)


def test_a_policy_that_selects_nothing_says_so() -> None:
    """It is accepted all the same (decision 6)."""
    translation = translate(table(route="a"), policy(route="b"))

    assert told(translation) == [(Severity.NOTE, Reason.TARGET_NOT_FOUND)]
    assert translation.report.objects[POLICY].counts["numSelectedRoutes"] == 0
    assert not is_protected(translation)


def test_without_the_east_west_gate_a_policy_holds_on_no_mesh_route_and_says_so() -> None:
    """Decision 27: at gateways only."""
    translation = translate(table(route="a"), policy(route="a"), EnableJWTPolicyEastWestRoute=False)

    assert (Severity.WARNING, Reason.NO_EFFECT) in told(translation)
    assert translation.report.objects[POLICY].counts["numSelectedRoutes"] == 0
    assert not is_protected(translation)


REQUIRE_AUTH = {"gateway.gloo.solo.io/require_auth": "true"}


@pytest.mark.parametrize(
    ("labels", "manifests", "gate", "denied"),
    [
        pytest.param(REQUIRE_AUTH, [], True, True, id="asked-for-and-no-policy"),
        pytest.param(REQUIRE_AUTH, [], False, False, id="gate-is-off"),
        pytest.param({}, [], True, False, id="not-asked-for"),
        pytest.param({"gateway.gloo.solo.io/require_auth": "false"}, [], True, False, id="label-says-false"),
        pytest.param(REQUIRE_AUTH, [policy(**REQUIRE_AUTH)], True, False, id="a-policy-holds"),
    ],
)
def test_denial_by_default(labels: dict[str, str], manifests: list[dict[str, Any]], gate: bool, denied: bool) -> None:
    """Routes that ask for authentication are denied exactly as long as no policy holds on them."""
    translation = translate(table(**labels), *manifests, GatewayDefaultDenyAllHTTPRequests=gate)
    policies, name = policies_on_the_table(translation)

    assert (name in policies.denied) is denied
    assert build_snapshots(translation)


def test_a_table_outside_of_every_workspace_makes_no_routes() -> None:
    """Nor does a policy there protect any."""
    stranger = route_table(namespace="nowhere", hosts=["www.example.com"], workloadSelectors=[{}], http=[forward()])
    outside = jwt_policy(namespace="nowhere", config=CONFIG)
    translation = translate(stranger, outside)

    for kind, name in (("RouteTable", "table"), ("JWTPolicy", "policy")):
        assert told(translation, ObjectKey(kind, "cluster1", "nowhere", name))
    assert not any("www.example.com" in host.domains for host in translation.proxies[CLIENT].routes[0].virtual_hosts)
