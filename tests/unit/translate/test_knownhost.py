"""Hosts that sidecars reach without a route table."""

from __future__ import annotations

from typing import Any

from tests.support.catalog import (
    build_catalog,
    build_endpoints,
    external_endpoint,
    external_service,
    messages,
    service,
    virtual_destination,
)

from meshpass.ir import Endpoint
from meshpass.memo import Memo
from meshpass.translate.backend import translate_backend
from meshpass.translate.knownhost import KnownHost, known_hosts


def known(*manifests: dict[str, Any], namespace: str = "httpbin", cluster: str = "cluster1") -> list[KnownHost]:
    return list(known_hosts(cluster, namespace, build_catalog(*manifests)))


def test_services_of_the_own_cluster_are_known_by_their_names() -> None:
    """Whichever workspace they are in: policies of the callee protect them, not the caller's ignorance."""
    (one, two) = known(service(http=80, tcp_db=5432), service(http=80, place={"cluster": "cluster2"}))

    assert (one.names[0], one.port, one.destination.http) == ("httpbin", 80, True)
    assert (two.port, two.destination.http) == (5432, False)
    assert one.names[-1] == "httpbin.httpbin.svc.cluster.local"


def test_what_the_workspace_has_outside_is_known_in_all_of_it() -> None:
    """And nowhere else."""
    outside = external_service(hosts=["api.example.com"], ports=[{"number": 80}])
    virtual = virtual_destination(hosts=["virtual.example"], services=[{}], ports=[{"number": 80, "protocol": "HTTP"}])

    for place in ({}, {"namespace": "team"}, {"cluster": "cluster2"}):
        assert {one.names for one in known(outside, virtual, **place)} == {("api.example.com",), ("virtual.example",)}
    assert known(outside, virtual, namespace="elsewhere") == []
    assert known(outside, virtual, namespace="nobody") == []


def test_each_host_without_endpoints_leads_to_itself() -> None:
    """Requests for one are never sent to another."""
    manifest = external_service(hosts=["a.example", "b.example"], ports=[{"number": 80}])
    catalog = build_catalog(manifest)
    found = known_hosts("cluster1", "httpbin", catalog)

    assert [one.names for one in found] == [("a.example",), ("b.example",)]
    backends = [translate_backend(one.destination, catalog, build_endpoints(), Memo()) for one in found]
    assert [one.endpoints for one in backends] == [(Endpoint("a.example", 80),), (Endpoint("b.example", 80),)]
    assert len({one.name for one in backends}) == 2
    assert all(one.resolve for one in backends)


def test_hosts_with_endpoints_lead_to_those_together() -> None:
    """Wildcards among them."""
    (found,) = known(
        external_service(hosts=["*.example.com", "api.example.org"], ports=[{"number": 80}], selector={"outside": "x"}),
        external_endpoint("x", http=8080),
    )

    assert found.names == ("*.example.com", "api.example.org")
    assert found.destination.host == "api.example.org"


def test_who_speaks_tls() -> None:
    """The client, unless proxies are told to; a port that neither can verify is not known for requests."""
    ports = [
        {"number": 443, "protocol": "HTTPS"},
        {"number": 444, "protocol": "HTTPS", "clientsideTls": {}},
        {"number": 445, "protocol": "HTTPS", "clientsideTls": {"mode": "MUTUAL"}},
        {"number": 446, "protocol": "TCP"},
    ]
    found = known(external_service(hosts=["api.example.com"], ports=ports))

    assert [(one.port, one.destination.http, one.destination.tunnel) for one in found] == [
        (443, False, True),
        (444, True, False),
        (446, False, True),
    ]


def test_the_oldest_comes_first_where_names_are_claimed_twice() -> None:
    """The younger one is told."""
    port = {"number": 80}
    young = external_service("a", hosts=["x.example"], ports=[port], place={"created": "2024-02-01T00:00:00Z"})
    old = virtual_destination(
        "z",
        hosts=["x.example"],
        services=[{}],
        ports=[{**port, "protocol": "HTTP"}],
        place={"created": "2024-01-01T00:00:00Z"},
    )
    catalog = build_catalog(young, old)

    assert [one.destination.key.name for one in known_hosts("cluster1", "httpbin", catalog)] == ["z", "a"]
    assert "x.example:80 without a route table leads to the older VirtualDestination httpbin/z" in "; ".join(
        messages(catalog, young)
    )
