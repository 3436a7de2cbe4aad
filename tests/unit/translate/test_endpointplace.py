"""Where endpoints are: what slices say, what pods say, and which of them counts."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.catalog import build_endpoints, endpoint_slice, pod, service
from tests.support.objects import object_set, read_objects

from meshpass.ir import Endpoint
from meshpass.memo import Memo
from meshpass.translate.endpointindex import EndpointIndex

PORT = ("cluster1", "httpbin", "httpbin", "http")
READY = [{"type": "Ready", "status": "True"}]


def selecting(target: Any = 8080, **port: Any) -> dict[str, Any]:
    """A Service that selects pods by label."""
    made = service(http=80)
    made["spec"] = {"selector": {"app": "a"}, "ports": [{"name": "http", "port": 80, "targetPort": target, **port}]}
    return made


def ready(name: str = "one", ip: str = "10.0.0.1", **status: Any) -> dict[str, Any]:
    made = pod(name, ip, app="a")
    made["status"] |= {"conditions": READY, **status}
    made["spec"] = {"containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 8081}]}]}
    return made


def endpoints(*manifests: dict[str, Any]) -> list[Endpoint]:
    return [one.endpoint for one in build_endpoints(*manifests).places.get(PORT, ())]


def test_a_service_without_slices_has_the_ready_pods_that_it_selects() -> None:
    """Sorted; each with the name of its pod, for subsets."""
    index = build_endpoints(selecting(), ready("two", "10.0.0.2"), ready(), pod("other", "10.0.0.3", app="b"))

    assert index.places == {PORT: ((Endpoint("10.0.0.1", 8080), "one"), (Endpoint("10.0.0.2", 8080), "two"))}


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({"conditions": []}, id="says-nothing"),
        pytest.param({"conditions": [{"type": "Ready", "status": "False"}]}, id="not-ready"),
        pytest.param({"conditions": [{"type": "Initialized", "status": "True"}]}, id="something-else"),
        pytest.param({"podIP": ""}, id="no-address"),
        pytest.param({"podIP": "nonsense"}, id="no-ip-address"),
        pytest.param({"phase": "Failed"}, id="ended"),
    ],
)
def test_pods_that_are_not_ready_do_not_count(status: dict[str, Any]) -> None:
    """A pod has to say that it is, and where."""
    assert endpoints(selecting(), ready(**status)) == []


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        pytest.param(selecting("web"), [Endpoint("10.0.0.1", 8081)], id="named"),
        pytest.param(selecting("nope"), [], id="no-such-name"),
        pytest.param(selecting(None), [Endpoint("10.0.0.1", 80)], id="same-number"),
        pytest.param(selecting(70000), [], id="no-port"),
        pytest.param(selecting(protocol="UDP"), [], id="udp"),
    ],
)
def test_ports_lead_to_target_ports(port: dict[str, Any], expected: list[Endpoint]) -> None:
    """As Kubernetes has it."""
    assert endpoints(port, ready()) == expected


def test_a_slice_that_is_there_says_all_even_if_it_is_empty() -> None:
    """A Service whose pods are all gone has no endpoints; one that selects nobody has those that somebody wrote."""
    empty = endpoint_slice("httpbin", http=8080)
    assert endpoints(selecting(), ready(), empty) == []

    written = endpoint_slice("httpbin", "10.0.0.9", http=8080)
    assert endpoints(service(http=80), ready(), written) == [Endpoint("10.0.0.9", 8080)]
    assert endpoints(service(http=80), ready()) == []


def test_the_address_of_a_pod_that_a_slice_names_is_what_the_pod_says() -> None:
    """A real API server refuses loopback addresses in slices, and not in the status of a pod."""
    named = endpoint_slice("httpbin", "192.0.2.1", pods={"192.0.2.1": "one"}, http=8080)

    assert endpoints(service(http=80), named, ready(ip="127.0.0.9")) == [Endpoint("127.0.0.9", 8080)]
    assert endpoints(service(http=80), named, ready(ip="")) == [Endpoint("192.0.2.1", 8080)]
    assert endpoints(service(http=80), named) == [Endpoint("192.0.2.1", 8080)]


def test_what_speaks_mutual_tls_is_said_of_addresses_of_sidecars_alone() -> None:
    """On ports that a Service leads to; and of none where workloads have no identities."""
    guarded = ready()
    guarded["metadata"]["annotations"] = {"meshpass.dev/proxy": "sidecar"}
    bare = ready("bare", "10.0.0.2")
    by_hand = endpoint_slice("other", "10.0.0.1", "10.0.0.2", http=9999)
    world = object_set(selecting(), service("other", http=80), guarded, bare, by_hand)

    index = build_endpoints(objects=world, has_identities=True)
    assert mutual(index) == {("10.0.0.1", 8080)}
    assert mutual(build_endpoints(objects=world)) == set()
    straight = world.with_changes(read_objects(endpoint_slice("other", "10.0.0.1", http=8080)))
    accounts = build_endpoints(objects=straight, has_identities=True).accounts
    assert {key.name: found for key, found in accounts.items()} == {
        "httpbin": {("httpbin", "")},
        "other": {("httpbin", "")},
    }


def mutual(index: EndpointIndex) -> set[tuple[str, int]]:
    return {one.endpoint[:2] for found in index.places.values() for one in found if one.endpoint.mutual_tls}


def test_what_did_not_change_keeps_its_identity() -> None:
    """So that backends do."""
    memo = Memo()
    world = object_set(selecting(), ready(), endpoint_slice("other", "10.0.0.9", http=80))
    before = build_endpoints(objects=world, memo=memo)
    assert build_endpoints(objects=world, memo=memo) is before
