"""Services and their endpoints, as routes see them."""

from __future__ import annotations

from typing import Any

from meshpass.api.core import EndpointSlice, Service
from meshpass.api.manifest import parse_object
from meshpass.api.objectset import ObjectKey
from meshpass.ir import Endpoint
from meshpass.translate.service import ServicePort, index_endpoints, index_services, translate_backend

KEY = ObjectKey("Service", "cluster1", "httpbin", "httpbin")


def service(*ports: dict[str, Any]) -> Service:
    raw = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "httpbin", "namespace": "httpbin"}}
    found = parse_object({**raw, "spec": {"ports": list(ports)}}).object
    assert isinstance(found, Service)
    return found


def endpoint_slice(name: str, *endpoints: dict[str, Any], labels: dict[str, str] | None = None, **fields: Any) -> Any:
    ports = fields.pop("ports", [{"name": "http", "port": 8080}])
    metadata = {"name": name, "namespace": "httpbin"}
    metadata["labels"] = {"kubernetes.io/service-name": "httpbin"} if labels is None else labels  # type: ignore[assignment]
    raw = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4"}
    found = parse_object({**raw, "endpoints": list(endpoints), "ports": ports}).object
    assert isinstance(found, EndpointSlice)
    return {ObjectKey("EndpointSlice", "cluster1", "httpbin", name): found}


def test_only_tcp_ports_that_exist_count_each_number_once() -> None:
    """The first of two with one number is kept."""
    found = index_services(
        {
            KEY: service(
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "http", "port": 80},
                {"name": "again", "port": 80},
                {"name": "zero", "port": 0},
                {"name": "huge", "port": 70000},
            )
        }
    )

    assert found[KEY].ports == (ServicePort(name="http", number=80),)


def test_the_short_name_is_known_in_the_services_own_namespace_only() -> None:
    """The longer ones everywhere; names of hosts have no case."""
    entry = index_services({KEY: service({"port": 80})})[KEY]
    everywhere = ("httpbin.httpbin", "httpbin.httpbin.svc", "httpbin.httpbin.svc.cluster.local")

    assert entry.hostnames("httpbin") == ("httpbin", *everywhere)
    assert entry.hostnames("other") == everywhere


def test_endpoints_of_all_slices_of_a_service_are_one_sorted_set() -> None:
    """What is not ready does not count; what does not say counts as ready (Kubernetes' API: nil is true)."""
    slices = {
        **endpoint_slice("b", {"addresses": ["10.0.0.2", "10.0.0.1"], "conditions": {"ready": True}}),
        **endpoint_slice("a", {"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.3"], "conditions": {"ready": False}}),
    }
    found = index_endpoints(slices)

    place = ("cluster1", "httpbin", "httpbin", "http")
    assert found == {place: (Endpoint(address="10.0.0.1", port=8080), Endpoint(address="10.0.0.2", port=8080))}


def test_a_slice_of_no_service_and_ports_and_addresses_that_are_none_are_left_out() -> None:
    """Envoy would refuse the whole cluster for one of them."""
    good = {"addresses": ["10.0.0.1"]}
    slices = {
        **endpoint_slice("a", good, labels={}),
        **endpoint_slice("b", {"addresses": ["a name"]}, ports=[{"name": "http", "port": 8080}]),
        **endpoint_slice("c", good, ports=[{"name": "all"}]),
    }

    assert not any(index_endpoints(slices).values())


def test_a_backend_is_named_by_its_service_and_port() -> None:
    """So that equal ones of different routes are one."""
    entry = index_services({KEY: service({"name": "http", "port": 80})})[KEY]
    backend = translate_backend(entry, entry.ports[0], (Endpoint(address="10.0.0.1", port=8080),))

    assert backend.name == "cluster1/httpbin/httpbin:80"
    assert [endpoint.port for endpoint in backend.endpoints] == [8080]
