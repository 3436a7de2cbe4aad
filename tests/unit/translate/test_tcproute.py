"""TCP and TLS routes of a table."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.objects import BASE, CLIENT, object_set, route_table, translate_objects

from meshpass.api.objectset import ObjectKey
from meshpass.ir import DirectResponse, Forward, RouteConfiguration
from meshpass.translate import Translation

DATABASE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "db", "namespace": "httpbin"},
    "spec": {
        "ports": [{"name": "tcp-sql", "port": 5432}, {"name": "tls", "port": 5433}, {"name": "http", "port": 8080}]
    },
}


def to(*ports: int) -> dict[str, Any]:
    return {"destinations": [{"ref": {"name": "db"}, "port": {"number": port}} for port in ports]}


def run(*tables: dict[str, Any]) -> Translation:
    return translate_objects(object_set(BASE, DATABASE, *tables))


def tunnels(translation: Translation) -> dict[str, str]:
    """Authority of CONNECT → where its tunnel ends, or the status of its answer."""
    (routes,) = translation.proxies[CLIENT].routes
    assert isinstance(routes, RouteConfiguration)
    found = {}
    for host in routes.virtual_hosts:
        for route in host.routes:
            if not route.match.connect or host.name == "*":
                continue
            match route.action:
                case Forward(backends=backends):
                    end = ",".join(f"{one.backend.rpartition(':')[2]}={one.weight}" for one in backends)
                case DirectResponse(status=status):
                    end = str(status)
                case _:
                    raise AssertionError(route.action)
            found.update(dict.fromkeys(host.domains, end))
    return found


def findings(translation: Translation) -> list[str]:
    key = ObjectKey("RouteTable", "cluster1", "httpbin", "table")
    return sorted(finding.path for finding in translation.report.objects[key].findings)


def test_ports_that_are_not_http_are_reached_without_a_table() -> None:
    """By every name of the Service, on their own port."""
    found = tunnels(run())
    assert found["db:5432"] == found["db.httpbin.svc.cluster.local:5432"] == "5432=100"
    assert "db:8080" not in found


def test_the_first_route_for_a_port_is_taken() -> None:
    """Those that name it as well as those that name none, in their order; every other port has what is for any."""
    tcp = [
        {"matchers": [{"port": 1}, {"port": 2}], "forwardTo": to(5432)},
        {"matchers": [{"port": 2}], "forwardTo": to(5433)},
        {"forwardTo": to(5433)},
    ]
    found = tunnels(run(route_table(hosts=["a.example.com"], tcp=tcp)))
    assert {name: end for name, end in found.items() if name.startswith("a.")} == {
        "a.example.com:1": "5432=100",
        "a.example.com:2": "5432=100",
        "a.example.com:*": "5433=100",
    }


def test_a_matcher_for_port_0_is_for_any() -> None:
    """As the API has it."""
    tcp = [{"matchers": [{"port": 0}, {"port": 7}], "forwardTo": to(5432)}]
    assert tunnels(run(route_table(hosts=["a.example.com"], tcp=tcp)))["a.example.com:*"] == "5432=100"


def test_weights_are_shared() -> None:
    """As those of HTTP routes are."""
    forward = to(5432, 5433)
    forward["destinations"][0]["weight"] = 70
    tcp = [{"matchers": [{"port": 1}], "forwardTo": forward}]
    assert tunnels(run(route_table(hosts=["a.example.com"], tcp=tcp)))["a.example.com:1"] == "5432=70,5433=30"


def test_tls_routes_are_for_server_names() -> None:
    """Those that they ask for, each a host of the table or within a wildcard of it; others are not touched."""
    tls = [
        {"matchers": [{"sniHosts": ["one.example.com"], "port": 443}], "forwardTo": to(5432)},
        {"matchers": [{"sniHosts": ["*.example.com"], "port": 443}], "forwardTo": to(5433)},
    ]
    found = tunnels(run(route_table(hosts=["*.example.com"], tls=tls)))
    assert (found["one.example.com:443"], found["*.example.com:443"]) == ("5432=100", "5433=100")


def test_the_short_name_of_a_service_is_a_server_name() -> None:
    """All names of the Service mean it."""
    tls = [{"matchers": [{"sniHosts": ["db"], "port": 5433}], "forwardTo": to(5432)}]
    found = tunnels(run(route_table(hosts=["db"], tls=tls)))
    assert found["db.httpbin:5433"] == "5432=100"
    assert found["db:5432"] == "5432=100"


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"tcp": [{"matchers": [{"port": 1}], "forwardTo": {"destinations": [{"ref": {"name": "no"}}]}}]}, "ref"),
        ({"tcp": [{"matchers": [{"port": 1}]}]}, "destinations"),
        ({"tcp": [{"matchers": [{"port": 1}], "forwardTo": to(9)}]}, "port"),
        ({"tls": [{"matchers": [{"sniHosts": ["b.example.org"], "port": 1}], "forwardTo": to(5432)}]}, "sniHosts[0]"),
        ({"tls": [{"matchers": [{"sniHosts": ["a.*.com"], "port": 1}], "forwardTo": to(5432)}]}, "sniHosts[0]"),
        ({"tls": [{"matchers": [{"sniHosts": ["*-a.example.com"], "port": 1}], "forwardTo": to(5432)}]}, "sniHosts[0]"),
    ],
)
def test_a_wrong_route_opens_no_tunnel(spec: dict[str, Any], path: str) -> None:
    """500, and the status names the field."""
    translation = run(route_table(hosts=["a.example.com"], **spec))
    assert tunnels(translation)["a.example.com:1"] == "500"
    assert [found.endswith(path) for found in findings(translation)] == [True]


def test_a_table_that_cannot_be_read_opens_no_tunnel() -> None:
    """What could not be read may have been the port of a matcher."""
    table = route_table(
        hosts=["a.example.com"], tcp=[{"matchers": [{"port": 1, "nonsense": 2}], "forwardTo": to(5432)}]
    )
    assert tunnels(run(table))["a.example.com:1"] == "500"


@pytest.mark.parametrize(
    ("spec", "found"), [({}, ["spec.tcp[0].matchers"]), ({"virtualGateways": [{"name": "g"}]}, [])]
)
def test_a_wildcard_without_a_port_is_told_to_be_for_no_workload(spec: dict[str, Any], found: list[str]) -> None:
    """A gateway listens on ports of its own; a workload asks for one."""
    translation = run(route_table(hosts=["*.example.com"], tcp=[{"forwardTo": to(5432)}], **spec))
    assert [path for path in findings(translation) if path.startswith("spec.tcp")] == found


def test_only_http_is_delegated() -> None:
    """TCP and TLS routes of a table without hosts are told to have no effect."""
    tls = [{"matchers": [{"sniHosts": ["a.example.com"]}], "forwardTo": to(5433)}]
    translation = run(route_table(http=[{"directResponse": {"status": 200}}], tcp=[{"forwardTo": to(5432)}], tls=tls))
    assert {"spec.tcp", "spec.tls"} <= set(findings(translation))
