"""ExternalServices: where their ports are, and what there is to say about them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.catalog import build_catalog, external_endpoint, external_service, messages

from meshpass.ir import Endpoint
from meshpass.translate.catalog import Catalog
from meshpass.translate.externalentry import ExternalEntry, ExternalPort

HTTP = {"number": 80, "name": "http"}
SELECTED = {"outside": "outside"}


def entry_of(catalog: Catalog) -> ExternalEntry:
    (found,) = catalog.external_services.values()
    return found


def port_of(*endpoints: dict[str, Any], **spec: Any) -> ExternalPort:
    spec = {"hosts": ["api.example.com"], "ports": [HTTP], **spec}
    return entry_of(build_catalog(external_service(**spec), *endpoints)).ports[0]


def told(*endpoints: dict[str, Any], **spec: Any) -> str:
    manifest = external_service(**{"hosts": ["api.example.com"], "ports": [HTTP], **spec})
    return "; ".join(messages(build_catalog(manifest, *endpoints), manifest))


def test_hosts_are_looked_up() -> None:
    """Without ExternalEndpoints; names have no case."""
    port = port_of(hosts=["API.example.com."])

    assert (port.endpoints, port.requests.resolve) == ((Endpoint("api.example.com", 80),), True)
    assert told() == ""


def test_addresses_are_gone_to() -> None:
    """Single ones, however they are written; a range cannot be gone to."""
    port = port_of(hosts=[], addresses=["192.0.2.1", "192.0.2.2/32", "198.51.100.0/24", "nonsense"])
    words = told(hosts=[], addresses=["192.0.2.1", "198.51.100.0/24", "nonsense"])

    assert (port.endpoints, port.requests.resolve) == ((Endpoint("192.0.2.1", 80), Endpoint("192.0.2.2", 80)), False)
    assert "spec.addresses[1]: is a range" in words
    assert "spec.addresses[2]: is no IP address" in words


def test_a_target_port_is_where_it_is_behind_the_name() -> None:
    """The number that clients use is another."""
    assert port_of(ports=[{**HTTP, "targetPort": {"number": 8080}}]).endpoints == (Endpoint("api.example.com", 8080),)


@pytest.mark.parametrize(
    ("port", "ports", "expected"),
    [
        pytest.param(HTTP, {"http": 8080, "other": 1}, 8080, id="same-name"),
        pytest.param(HTTP, {"web": 8080}, 8080, id="its-only-one"),
        pytest.param(HTTP, {}, 80, id="none-said"),
        pytest.param(HTTP, {"one": 80, "two": 81}, 80, id="same-number"),
        pytest.param(HTTP, {"one": 1, "two": 2}, None, id="none-of-them"),
        pytest.param({**HTTP, "targetPort": {"name": "web"}}, {"http": 1, "web": 8080}, 8080, id="target-name"),
        pytest.param({**HTTP, "targetPort": {"name": "web"}}, {"http": 1}, None, id="no-such-target-name"),
        pytest.param({**HTTP, "targetPort": {"number": 9}}, {"other": 1}, 9, id="target-number"),
        pytest.param({**HTTP, "targetPort": {"number": 9}}, {"http": 8080}, 8080, id="a-name-beats-the-target-number"),
    ],
)
def test_which_port_of_an_endpoint_is_meant(port: dict[str, Any], ports: dict[str, int], expected: int | None) -> None:
    """That of the same name, the target's number, its only one. An endpoint without it is left out and named."""
    end = external_endpoint("outside", "192.0.2.1", place={"labels": SELECTED}, **ports)
    found = port_of(end, ports=[port], selector=SELECTED)
    words = told(end, ports=[port], selector=SELECTED)

    assert found.endpoints == (() if expected is None else (Endpoint("192.0.2.1", expected),))
    assert ("ExternalEndpoint outside has no such port" in words) is (expected is None)
    assert bool(found.problem) is (expected is None)


def test_endpoints_are_addresses_or_names() -> None:
    """One name among them makes all of them be looked up, which leaves an address what it is."""
    ends = [external_endpoint("a", http=1), external_endpoint("b", "B.example.", http=2)]
    for end in ends:
        end["metadata"]["labels"] = SELECTED
    port = port_of(*ends, selector=SELECTED)

    assert port.endpoints == (Endpoint("192.0.2.1", 1), Endpoint("b.example", 2))
    assert port.requests.resolve


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("unix:///run/x.sock", "is a unix socket"),
        ("", "is neither an IP address nor a host name"),
        ("*.example.com", "is neither"),
        ("a b", "is neither"),
    ],
)
def test_an_endpoint_that_cannot_be_gone_to_is_left_out(address: str, words: str) -> None:
    """The hosts are not looked up instead: somebody said that it is not there."""
    end = external_endpoint(address=address, http=1)
    manifest = external_service(hosts=["api.example.com"], ports=[HTTP], selector=SELECTED)
    catalog = build_catalog(manifest, end)

    assert entry_of(catalog).ports[0].endpoints == ()
    assert "none of its ExternalEndpoints" in entry_of(catalog).ports[0].problem
    assert words in "; ".join(messages(catalog, end))


@pytest.mark.parametrize(
    "place", [{"cluster": "cluster2"}, {"namespace": "elsewhere"}, {"labels": {"outside": "another"}}]
)
def test_only_endpoints_of_its_workspace_and_cluster_are_selected(place: dict[str, Any]) -> None:
    """Without any the hosts are looked up, and the service says so."""
    end = external_endpoint(http=1, place={"labels": SELECTED, **place})

    assert port_of(end, selector=SELECTED).endpoints == (Endpoint("api.example.com", 80),)
    assert "spec.selector: selects no ExternalEndpoint" in told(end, selector=SELECTED)


def test_an_endpoint_that_cannot_be_read_whole_is_left_out() -> None:
    """What could not be read may have been its port."""
    end = external_endpoint(http=1)
    end["spec"]["ports"][0]["numbr"] = 2

    assert port_of(end, selector=SELECTED).endpoints == ()


def test_wildcards_need_endpoints() -> None:
    """Nobody can look them up; the other hosts are served."""
    hosts = ["*.example.com", "api.example.org"]
    without, selected = told(hosts=hosts), told(external_endpoint(http=1), hosts=hosts, selector=SELECTED)

    assert "spec.hosts[0]: a wildcard needs ExternalEndpoints" in without
    assert port_of(hosts=hosts).endpoints == (Endpoint("api.example.org", 80),)
    assert port_of(hosts=hosts[:1]).problem == "none of its hosts and addresses can be reached"
    assert selected == ""


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param({"hosts": []}, "spec.hosts: is needed, or spec.addresses", id="nothing"),
        pytest.param({"hosts": ["a_b"]}, "spec.hosts[0]: 'a_b' is no part of a DNS name", id="no-name"),
        pytest.param({"ports": []}, "spec.ports: is needed", id="no-ports"),
        pytest.param(
            {"ports": [HTTP, {"number": 80}]}, "spec.ports[1].number: another port has this number", id="twice"
        ),
        pytest.param({"ports": [{"name": "x"}]}, "spec.ports[0].number: is needed", id="no-number"),
        pytest.param(
            {"ports": [{**HTTP, "targetPort": {"name": "x"}}]},
            "targetPort.name needs ExternalEndpoints",
            id="target-name",
        ),
        pytest.param(
            {"ports": [{**HTTP, "egressGatewayRoutes": {"portMatch": 8080}}]},
            "no effect yet: spec.ports[0].egressGatewayRoutes",
            id="egress",
        ),
        pytest.param({"subjectAltNames": ["x"]}, "spec.subjectAltNames: has no effect: no port speaks TLS", id="names"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(spec: dict[str, Any], words: str) -> None:
    """In the status of the service."""
    assert words in told(**spec)


def test_a_service_that_cannot_be_read_whole_is_not_sent_to() -> None:
    """What could not be read may have been how its server is verified."""
    port = port_of(ports=[{**HTTP, "clientsideTls": {"caCertificate": "/x"}}])

    assert port.problem == "it cannot be read whole"


def test_hosts_and_addresses_exclude_each_other() -> None:
    """The reading of manifests says so."""
    assert port_of(addresses=["192.0.2.1"]).problem == "it cannot be read whole"


def test_what_is_counted() -> None:
    """By the names of the status."""
    catalog = build_catalog(
        external_service(hosts=["api.example.com"], ports=[HTTP], selector=SELECTED), external_endpoint(http=1)
    )

    assert next(iter(catalog.counts.values())) == {
        "ownedByWorkspace": "team",
        "numSelectedExternalEndpoints": 1,
        "numSelectedVirtualGateways": 0,
    }


def test_an_endpoint_says_what_is_wrong_with_it() -> None:
    """And that nobody selects it."""
    end = external_endpoint(http=1, other=2)
    end["spec"]["ports"] += [{"number": 3}, {"name": "http", "number": 0}]
    end["spec"]["locality"] = {"region": "r"}
    words = "; ".join(messages(build_catalog(end), end))

    assert "spec.ports[2].name: is needed" in words
    assert "spec.ports[3].name: another port has this name" in words
    assert "spec.ports[3].number: is needed" in words
    assert "no effect yet: spec.locality" in words
    assert "no ExternalService selects it" in words


def test_a_service_of_no_workspace_is_nothing() -> None:
    """It can be no destination."""
    assert not build_catalog(external_service(place={"namespace": "nobody"})).external_services
