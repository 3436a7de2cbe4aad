"""Sidecars: which pods have one, where it listens, and annotations that are odd."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.objects import build_snapshots, object_set, translate_objects

from meshpass.api.core import Pod, Service
from meshpass.ir import Endpoint, InboundListener
from meshpass.translate.sidecar import Sidecar, find_sidecars


def pod(name: str = "app", ip: str = "127.0.1.1", proxy: str = "sidecar", **annotations: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "a",
            "labels": {"app": "app"},
            "annotations": {"meshpass.dev/proxy": proxy, **annotations},
        },
        "spec": {"containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 8080}]}]},
        "status": {"podIP": ip},
    }


def with_addresses(text: str) -> dict[str, Any]:
    return pod(**{"meshpass.dev/app-addresses": text})


def service(*ports: dict[str, Any], name: str = "s", **selector: str) -> dict[str, Any]:
    spec = {"ports": list(ports), "selector": selector or {"app": "app"}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "a"}, "spec": spec}


def find(*manifests: dict[str, Any]) -> tuple[Sidecar, ...]:
    objects = object_set(*manifests)
    return find_sidecars(objects.all(Pod), objects.all(Service))


def inbound_ports(sidecar: Sidecar) -> list[int]:
    return [one.port for one in sidecar.listeners if isinstance(one, InboundListener)]


def test_a_pod_with_the_annotation_and_an_address_has_one() -> None:
    """Others have none; those found are sorted by node."""
    found = find(pod("b"), pod("a"), pod("c", proxy="none"), pod("d", ip=""), pod("e", proxy=""))

    assert [one.node for one in found] == ["sidecar~cluster1~a~a", "sidecar~cluster1~a~b"]


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        pytest.param([{"port": 80}], [80], id="same-number"),
        pytest.param([{"port": 80, "targetPort": 8080}], [8080], id="number"),
        pytest.param([{"port": 80, "targetPort": "web"}], [8080], id="name"),
        pytest.param([{"port": 80, "targetPort": "none"}], [], id="no-such-name"),
        pytest.param([{"port": 80, "protocol": "UDP"}], [], id="udp"),
        pytest.param(
            [{"port": 80, "targetPort": 8080}, {"port": 81, "targetPort": 8080}], [8080], id="two-lead-to-one"
        ),
        pytest.param([{"port": 9}, {"port": 8}], [8, 9], id="sorted"),
    ],
)
def test_inbound_listeners_are_the_target_ports(ports: list[dict[str, Any]], expected: list[int]) -> None:
    """One for each port of the pod that a Service leads to."""
    (sidecar,) = find(pod(), service(*ports))

    assert inbound_ports(sidecar) == expected
    assert [backend.name for backend in sidecar.application] == [f"inbound:{port}" for port in expected]


def test_a_service_that_selects_others_or_nobody_leads_nowhere() -> None:
    """An empty selector selects no pod (a Service whose endpoints are written by hand)."""
    other = service({"port": 80}, name="other", app="other")
    nobody = service({"port": 81}, name="nobody")
    nobody["spec"]["selector"] = {}

    assert inbound_ports(find(pod(), other, nobody)[0]) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('{"8080": "127.0.0.1:18080"}', Endpoint("127.0.0.1", 18080), id="address"),
        pytest.param('{"9": "127.0.0.1:1"}', Endpoint("127.0.0.1", 8080), id="another-port"),
        pytest.param("", Endpoint("127.0.0.1", 8080), id="empty"),
        pytest.param("not json", Endpoint("127.0.0.1", 8080), id="no-json"),
        pytest.param("[]", Endpoint("127.0.0.1", 8080), id="list"),
        pytest.param('{"a": "127.0.0.1:1"}', Endpoint("127.0.0.1", 8080), id="no-number"),
        pytest.param('{"8080": 5}', Endpoint("127.0.0.1", 8080), id="no-text"),
        pytest.param('{"8080": "127.0.0.1"}', Endpoint("127.0.0.1", 8080), id="no-port"),
        pytest.param('{"8080": ":80"}', Endpoint("127.0.0.1", 8080), id="no-host"),
        pytest.param('{"8080": "127.0.0.1:x"}', Endpoint("127.0.0.1", 8080), id="odd-port"),
        pytest.param('{"8080": "127.0.0.1:-1"}', Endpoint("127.0.0.1", 8080), id="negative-port"),
    ],
)
def test_addresses_of_the_application(text: str, expected: Endpoint) -> None:
    """What cannot be read is as if it were not there: the port on the loopback address."""
    (sidecar,) = find(with_addresses(text), service({"port": 80, "targetPort": 8080}))

    assert sidecar.application[0].endpoints == (expected,)


@pytest.mark.parametrize(
    "manifests",
    [
        pytest.param(
            [with_addresses(json.dumps({"8080": "127.0.0.1:99999999999"})), service({"port": 80, "targetPort": 8080})],
            id="annotation",
        ),
        pytest.param([pod(), service({"port": 80, "targetPort": 2**40})], id="target-port"),
        pytest.param([pod(), service({"port": 80, "targetPort": -1})], id="negative-target-port"),
    ],
)
def test_no_port_stops_the_control_plane(manifests: list[dict[str, Any]]) -> None:
    """Whatever a pod or a Service says, there is a Snapshot."""
    assert build_snapshots(translate_objects(object_set(*manifests)))
