"""Mutual TLS, priorities, outliers and sources as Envoy reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener as ListenerMessage
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret as SecretMessage
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext, UpstreamTlsContext
from envoy.service.discovery.v3.discovery_pb2 import Resource as DiscoveryResource
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tests.support.reading import read_any

from meshpass.envoy.backend import build_cluster, build_endpoints
from meshpass.envoy.listener import build_listener
from meshpass.envoy.snapshot import Resource
from meshpass.envoy.tls import NO_CERTIFICATE, build_secret
from meshpass.ir import (
    Backend,
    Endpoint,
    InboundListener,
    MutualTlsMode,
    OutboundListener,
    OutlierDetection,
    PeerTls,
    TrustedAuthorities,
)

PLAIN, MUTUAL = Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80, mutual_tls=True)
BACKEND = Backend(name="b", endpoints=(PLAIN, MUTUAL), peer=PeerTls(sni="80.b.meshpass.internal", peers="peers/b"))
INBOUND = InboundListener(name="inbound-80", address="10.0.0.9", port=80, backend="inbound:80", selection_class="c")


def read(resource: Resource, message: type[Message]) -> Any:
    return read_any(DiscoveryResource.FromString(resource.wire).resource, message)


def shown(resource: Resource, message: type[Message]) -> dict[str, Any]:
    return MessageToDict(read(resource, message), preserving_proto_field_name=True)


def test_endpoints_say_whether_they_are_spoken_to_by_mutual_tls() -> None:
    """The cluster has a socket for those that do, and none for the others, which get plain text."""
    cluster = read(build_cluster(BACKEND), Cluster)
    (match,) = cluster.transport_socket_matches
    (locality,) = read(build_endpoints(BACKEND), ClusterLoadAssignment).endpoints
    said = [dict(one.metadata.filter_metadata["envoy.transport_socket_match"]) for one in locality.lb_endpoints]

    assert said == [{}, dict(match.match)]
    assert dict(match.match)
    assert not cluster.HasField("transport_socket")


@pytest.mark.parametrize(("http2", "protocols"), [(False, []), (True, ["h2"])])
def test_who_may_answer_is_said_by_a_secret_alone(http2: bool, protocols: list[str]) -> None:
    """So that the cluster stays as it is when that changes. Its own certificate comes the same way."""
    cluster = read(build_cluster(replace(BACKEND, http2=http2)), Cluster)
    context = read_any(cluster.transport_socket_matches[0].transport_socket.typed_config, UpstreamTlsContext)
    common = context.common_tls_context

    assert context.sni == "80.b.meshpass.internal"
    assert common.validation_context_sds_secret_config.name == "peers/b"
    assert [one.name for one in common.tls_certificate_sds_secret_configs] == ["workload-identity"]
    assert list(common.alpn_protocols) == protocols
    assert common.tls_params.tls_minimum_protocol_version == common.tls_params.TLSv1_3


@pytest.mark.parametrize(
    ("identities", "matchers"),
    [
        (("spiffe://a/x", "spiffe://a/"), [{"exact": "spiffe://a/x"}, {"prefix": "spiffe://a/"}]),
        (None, []),
    ],
)
def test_identities_are_names_that_a_certificate_must_have(identities: Any, matchers: list[dict[str, str]]) -> None:
    """As URIs: whole, or beginning so."""
    secret = TrustedAuthorities(name="s", certificates="roots", identities=identities)
    context = shown(build_secret(secret), SecretMessage)["validation_context"]

    assert [one["matcher"] for one in context.get("match_typed_subject_alt_names", [])] == matchers
    assert {one["san_type"] for one in context.get("match_typed_subject_alt_names", [])} <= {"URI"}
    assert context["trusted_ca"]["inline_string"] == "roots"
    assert "verify_certificate_hash" not in context


@pytest.mark.parametrize(("certificates", "identities"), [("roots", ()), ("", ("spiffe://a/",)), ("", None)])
def test_no_names_or_no_authorities_are_nobody(certificates: str, identities: Any) -> None:
    """Envoy would believe anybody; so it is to see a certificate that there is not."""
    secret = TrustedAuthorities(name="s", certificates=certificates, identities=identities)
    context = shown(build_secret(secret), SecretMessage)["validation_context"]

    assert context["verify_certificate_hash"] == [NO_CERTIFICATE]
    assert "match_typed_subject_alt_names" not in context


def chains(mode: MutualTlsMode, **changes: Any) -> dict[str, Any]:
    message = read(build_listener(replace(INBOUND, mutual_tls=mode, **changes)), ListenerMessage)
    return {chain.name: chain for chain in message.filter_chains}


def test_modes_are_chains() -> None:
    """Which of them there are, and nothing else, differs between those that know TLS: Envoy then ends no connection."""
    assert list(chains(MutualTlsMode.PERMISSIVE)) == ["mutual-tls", "plain"]
    assert list(chains(MutualTlsMode.STRICT)) == ["mutual-tls"]
    assert list(chains(MutualTlsMode.DISABLE)) == [""]
    both, one, none = (
        read(build_listener(replace(INBOUND, tcp=True, mutual_tls=mode)), ListenerMessage)
        for mode in (MutualTlsMode.PERMISSIVE, MutualTlsMode.STRICT, MutualTlsMode.DISABLE)
    )
    del both.filter_chains[1]
    assert both == one
    assert not none.listener_filters
    assert one.listener_filters_timeout.ToMilliseconds() == 500
    assert one.continue_on_listener_filters_timeout


def test_callers_show_a_certificate_where_they_ask_for_the_mesh() -> None:
    """Any other TLS is the application's own, and goes where plain text goes."""
    found = chains(MutualTlsMode.PERMISSIVE)
    match = found["mutual-tls"].filter_chain_match
    context = read_any(found["mutual-tls"].transport_socket.typed_config, DownstreamTlsContext)

    assert (match.transport_protocol, list(match.server_names)) == ("tls", ["*.meshpass.internal"])
    assert not found["plain"].HasField("filter_chain_match")
    assert not found["plain"].HasField("transport_socket")
    assert context.require_client_certificate.value
    assert context.common_tls_context.validation_context_sds_secret_config.name == "callers"
    assert list(context.common_tls_context.alpn_protocols) == ["h2", "http/1.1"]
    tcp = chains(MutualTlsMode.PERMISSIVE, tcp=True)["mutual-tls"]
    assert not read_any(tcp.transport_socket.typed_config, DownstreamTlsContext).common_tls_context.alpn_protocols


def test_the_chains_differ_in_what_the_application_and_the_caller_are_told_alone() -> None:
    """Nowhere is what a client says of itself passed on."""
    managers = [
        read_any(chain.filters[0].typed_config, HttpConnectionManager)
        for chain in chains(MutualTlsMode.PERMISSIVE).values()
    ]
    mutual, plain = managers
    assert mutual.forward_client_cert_details == HttpConnectionManager.SANITIZE_SET
    assert MessageToDict(mutual.set_current_client_cert_details) == {"uri": True}
    assert plain.forward_client_cert_details == HttpConnectionManager.SANITIZE
    for manager in (mutual, plain):
        manager.ClearField("forward_client_cert_details")
        manager.ClearField("set_current_client_cert_details")
        manager.ClearField("local_reply_config")
    assert mutual == plain
    outbound = OutboundListener(name="outbound", address="10.0.0.9", port=15001, route_configuration="outbound")
    (chain,) = read(build_listener(outbound), ListenerMessage).filter_chains
    manager = read_any(chain.filters[0].typed_config, HttpConnectionManager)
    assert manager.forward_client_cert_details == HttpConnectionManager.SANITIZE


def test_no_priority_is_left_out() -> None:
    """Also where nothing is in it; without endpoints there is the first one."""
    far = replace(BACKEND, endpoints=(PLAIN, Endpoint("10.0.0.3", 80, mutual_tls=True, priority=2)))
    for backend, expected in ((far, [(0, 1), (1, 0), (2, 1)]), (replace(BACKEND, endpoints=()), [(0, 0)])):
        message = read(build_endpoints(backend), ClusterLoadAssignment)
        assert [(one.priority, len(one.lb_endpoints)) for one in message.endpoints] == expected


def test_failures_in_a_row_are_the_only_reason_to_leave_an_endpoint_alone() -> None:
    """And all of them may be: then the next priority has the requests."""
    backend = replace(BACKEND, outlier=OutlierDetection(consecutive_failures=4))
    found = shown(build_cluster(backend), Cluster)
    outlier = found["outlier_detection"]

    assert (outlier["consecutive_gateway_failure"], outlier["consecutive_local_origin_failure"]) == (4, 4)
    assert outlier["enforcing_consecutive_gateway_failure"] == 100
    for never in ("consecutive_5xx", "success_rate", "local_origin_success_rate"):
        assert outlier[f"enforcing_{never}"] == 0
    assert (outlier["interval"], outlier["base_ejection_time"]) == ("1s", "5s")
    assert outlier["max_ejection_percent"] == 100
    assert read(build_cluster(backend), Cluster).common_lb_config.HasField("healthy_panic_threshold")
    assert "outlier_detection" not in shown(build_cluster(BACKEND), Cluster)


def test_what_may_be_beyond_the_pods_is_reached_from_any_address() -> None:
    """Of both versions of IP; all else from where the bootstrap says."""
    found = shown(build_cluster(replace(BACKEND, anywhere=True)), Cluster)["upstream_bind_config"]

    assert found["source_address"]["address"] == "0.0.0.0"
    assert [one["address"]["address"] for one in found["extra_source_addresses"]] == ["::"]
    assert "upstream_bind_config" not in shown(build_cluster(BACKEND), Cluster)
