"""VirtualDestinations: what is behind them, and what there is to say about them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.catalog import (
    build_catalog,
    build_endpoints,
    endpoint_slice,
    external_service,
    messages,
    service,
    virtual_destination,
)

from meshpass.api.objectset import ObjectKey
from meshpass.ir import Backend, Endpoint
from meshpass.memo import Memo
from meshpass.translate.backend import translate_backend
from meshpass.translate.destination import make_destination
from meshpass.translate.virtualentry import VirtualPort

WEB = {"number": 80, "protocol": "HTTP"}
APP = [{"labels": {"app": "httpbin"}}]
SPEC: dict[str, Any] = {"hosts": ["virtual.example"], "services": APP, "ports": [WEB]}


def built(*manifests: dict[str, Any], place: dict[str, Any] | None = None, **spec: Any) -> tuple[VirtualPort, str]:
    manifest = virtual_destination(place=place, **{**SPEC, **spec})
    catalog = build_catalog(manifest, *manifests)
    (entry,) = catalog.virtual_destinations.values()
    return entry.ports[0], "; ".join(messages(catalog, manifest))


def key(
    name: str = "httpbin", cluster: str = "cluster1", namespace: str = "httpbin", kind: str = "Service"
) -> ObjectKey:
    return ObjectKey(kind, cluster, namespace, name)


def test_it_stands_for_the_services_that_it_selects() -> None:
    """Those of its workspace, on the port of the same number."""
    port, words = built(
        service(http=80),
        service("other", http=80),
        service(http=80, place={"namespace": "elsewhere", "labels": {"app": "httpbin"}}),
    )

    assert (port.services, port.external_services) == (((key(), 80),), ())
    assert words == ""


@pytest.mark.parametrize("cluster", ["mgmt", "cluster1", "cluster2"])
def test_wherever_it_is_it_stands_for_services_of_every_cluster(cluster: str) -> None:
    """One of each; those of the caller's own come first."""
    both = [service(http=80, place={"cluster": one, "labels": {"app": "httpbin"}}) for one in ("cluster1", "cluster2")]
    port, _ = built(*both, place={"cluster": cluster})

    assert port.services == ((key(), 80), (key(cluster="cluster2"), 80))
    assert port.failover


def test_services_of_one_cluster_alone_leave_nothing_to_fail_over_to() -> None:
    """So none of its pods is ever left alone for what it answers."""
    port, _ = built(service(http=80))

    assert not port.failover


def test_of_several_services_of_a_cluster_the_oldest_is_taken() -> None:
    """And the destination says so."""
    young = service("a", http=80, place={"labels": {"app": "httpbin"}, "created": "2024-02-01T00:00:00Z"})
    old = service("z", http=80, place={"labels": {"app": "httpbin"}, "created": "2024-01-01T00:00:00Z"})
    port, words = built(young, old)

    assert port.services == ((key("z"), 80),)
    assert words == "spec.services: selects 2 Services of cluster cluster1; the oldest, httpbin/z, is used"


@pytest.mark.parametrize("target", [{"number": 8000}, {"name": "web"}])
def test_a_target_port_is_the_port_of_the_services(target: dict[str, Any]) -> None:
    """By number or name."""
    port, _ = built(service(web=8000, other=80), ports=[{**WEB, "targetPort": target}])

    assert port.services == ((key(), 8000),)


def test_a_service_without_the_port_is_left_out_and_named() -> None:
    """With the path of the field that says which port."""
    assert "spec.ports[0].number: Service httpbin has no such port" in built(service(http=81))[1]
    words = built(service(http=80), ports=[{**WEB, "targetPort": {"name": "web"}}])[1]
    assert "spec.ports[0].targetPort: Service httpbin has no such port" in words


def test_with_nothing_behind_it_it_has_no_endpoints() -> None:
    """Its requests are answered 503, and it says why."""
    port, words = built()

    assert (port.services, port.problem) == ((), "")
    assert "selects no Service and no ExternalService" in words


def test_external_services_are_behind_it_with_their_tls() -> None:
    """By the port's number or name."""
    outside = external_service(hosts=["api.example.com"], ports=[{"number": 443, "name": "https", "protocol": "HTTPS"}])
    port, words = built(outside, services=[], externalServices=[{}], ports=[{**WEB, "targetPort": {"name": "https"}}])

    assert port.external_services == ((key("outside", kind="ExternalService"), 443),)
    assert port.requests.tls is not None
    assert (port.requests.tls.sni, port.requests.resolve, words) == ("api.example.com", True, "")


def test_what_is_behind_it_is_spoken_to_in_one_way() -> None:
    """A Service is not sent TLS because something outside is, nor the other way round."""
    outside = external_service(hosts=["api.example.com"], ports=[{"number": 80, "protocol": "HTTPS"}])
    port, words = built(service(http=80), outside, externalServices=[{}])

    assert "not all spoken to with the same TLS" in port.why_not(http=True)
    assert "spec.ports[0]: its Services and ExternalServices" in words


def test_a_broken_external_service_is_left_out() -> None:
    """If there is nothing else, nothing is sent."""
    broken = external_service(hosts=["api.example.com"], ports=[{"number": 80, "clientsideTls": {"mode": "MUTUAL"}}])
    port, words = built(broken, services=[], externalServices=[{}])
    beside, _ = built(broken, service(http=80), externalServices=[{}])

    assert "MUTUAL needs" in port.problem
    assert "ExternalService outside" in words
    assert (beside.problem, beside.external_services) == ("", ())


@pytest.mark.parametrize(
    ("protocol", "name", "http2"), [("HTTP", "http", False), ("GRPC", "http", True), ("http", "grpc", True)]
)
def test_http2_is_spoken_where_either_side_says_so(protocol: str, name: str, http2: bool) -> None:
    """The port itself, or all that is behind it."""
    manifests = service(http=80)
    manifests["spec"]["ports"][0]["name"] = name
    port, _ = built(manifests, ports=[{"number": 80, "protocol": protocol}])

    assert port.requests.http2 is http2


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"hosts": ["*.example"]}, "spec.hosts[0]: a virtual destination has no wildcards"),
        ({"hosts": ["a_b"]}, "spec.hosts[0]: 'a_b' is no part of a DNS name"),
        ({"ports": [WEB, WEB]}, "spec.ports[1].number: another port has this number"),
        ({"externalWorkloads": [{}]}, "no effect yet: spec.externalWorkloads[0]"),
        ({"clientMode": {"tlsTermination": {}}}, "spec.clientMode.tlsTermination: has no effect: gateways"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(spec: dict[str, Any], words: str) -> None:
    """In its status."""
    assert words in built(service(http=80), **spec)[1]


def test_a_destination_that_cannot_be_read_whole_is_not_sent_to() -> None:
    """What could not be read may have been what is behind it."""
    assert built(service(http=80), portz=[])[0].problem == "it cannot be read whole"


def test_its_endpoints_are_all_that_is_behind_it() -> None:
    """Of Services and of ExternalServices."""
    manifest = virtual_destination(**SPEC, externalServices=[{}])
    objects = (
        manifest,
        service(http=80),
        endpoint_slice("httpbin", "10.0.0.1", http=8080),
        external_service(hosts=[], addresses=["192.0.2.1"], ports=[{"number": 80}]),
    )
    catalog, memo = build_catalog(*objects), Memo()
    (entry,) = catalog.virtual_destinations.values()
    found = translate_backend(make_destination(entry, entry.ports[0]), catalog, build_endpoints(*objects), memo)

    assert found == Backend(
        name="virtual/cluster1/httpbin/virtual:80", endpoints=(Endpoint("10.0.0.1", 8080), Endpoint("192.0.2.1", 80))
    )


def test_what_is_counted() -> None:
    """By the names of the status."""
    counts = build_catalog(virtual_destination(**SPEC), service(http=80)).counts

    assert list(counts.values()) == [{"ownedByWorkspace": "team", "numSelectedBackingServices": 1}]
