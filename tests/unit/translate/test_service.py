"""Services, as routes see them."""

from __future__ import annotations

import pytest
from tests.support.objects import object_set

from meshpass.api.core import Service
from meshpass.api.objectset import ObjectKey
from meshpass.translate.protocol import Protocol
from meshpass.translate.service import ServiceEntry, ServicePort, make_service_entry

KEY = ObjectKey("Service", "cluster1", "httpbin", "httpbin")


def entry(*ports: dict[str, object]) -> ServiceEntry:
    raw = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "httpbin", "namespace": "httpbin"}}
    return make_service_entry(KEY, object_set({**raw, "spec": {"ports": list(ports)}}).all(Service)[KEY])


def test_only_tcp_ports_that_exist_count_each_number_once() -> None:
    """The first of two with one number is kept."""
    found = entry(
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "http", "port": 80},
        {"name": "again", "port": 80},
        {"name": "zero", "port": 0},
        {"name": "huge", "port": 70000},
    )

    assert found.ports == (ServicePort(name="http", number=80),)


def test_the_short_name_is_known_in_the_services_own_namespace_only() -> None:
    """The longer ones everywhere; names of hosts have no case."""
    everywhere = ("httpbin.httpbin", "httpbin.httpbin.svc", "httpbin.httpbin.svc.cluster.local")

    assert entry({"port": 80}).hostnames("httpbin") == ("httpbin", *everywhere)
    assert entry({"port": 80}).hostnames("other") == everywhere


@pytest.mark.parametrize(
    ("port", "protocol"),
    [
        pytest.param({}, Protocol.HTTP, id="nothing"),
        pytest.param({"name": "web"}, Protocol.HTTP, id="a-name-that-says-nothing"),
        pytest.param({"name": "http-admin"}, Protocol.HTTP, id="http"),
        pytest.param({"name": "grpc"}, Protocol.HTTP2, id="grpc"),
        pytest.param({"name": "grpc-web-ui"}, Protocol.HTTP2, id="grpc-web"),
        pytest.param({"name": "http2-x"}, Protocol.HTTP2, id="http2"),
        pytest.param({"name": "tcp-db"}, Protocol.TCP, id="tcp"),
        pytest.param({"name": "MONGO"}, Protocol.TCP, id="mongo-whatever-its-case"),
        pytest.param({"name": "https"}, Protocol.TLS, id="https"),
        pytest.param({"name": "httpsomething"}, Protocol.HTTP, id="no-dash"),
        pytest.param({"name": "tcp", "appProtocol": "http"}, Protocol.HTTP, id="appProtocol-comes-first"),
        pytest.param({"appProtocol": "kubernetes.io/h2c"}, Protocol.HTTP2, id="h2c"),
        pytest.param({"name": "grpc", "appProtocol": "own.example/x"}, Protocol.HTTP, id="an-unknown-appProtocol"),
    ],
)
def test_what_a_port_speaks(port: dict[str, object], protocol: Protocol) -> None:
    """Its appProtocol says it, else the first part of its name."""
    (found,) = entry({"port": 80, **port}).ports

    assert found.protocol is protocol


def test_a_port_that_speaks_http2_is_another_backend() -> None:
    """So that a proxy has both until its routes have moved."""
    (plain,), (other,) = entry({"port": 80}).ports, entry({"port": 80, "name": "grpc"}).ports

    assert plain.backend(KEY) == "cluster1/httpbin/httpbin:80"
    assert other.backend(KEY).startswith("cluster1/httpbin/httpbin:80-")
    assert len(other.backend(KEY)) == len("cluster1/httpbin/httpbin:80-") + 16
