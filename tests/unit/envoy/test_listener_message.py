"""Listeners as Envoy reads them: chains, TLS, tunnels, and what clients are believed and borne."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener as ListenerMessage
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext
from envoy.service.discovery.v3.discovery_pb2 import Resource as DiscoveryResource
from google.protobuf.json_format import MessageToDict
from tests.support.reading import read_any

from meshpass.envoy.build import build_snapshot
from meshpass.envoy.listener import build_listener
from meshpass.envoy.snapshot import EXTENSION_CONFIG
from meshpass.ir import (
    DownstreamTls,
    GatewayListener,
    HttpChain,
    InboundListener,
    Listener,
    OutboundListener,
    Proxy,
    TcpChain,
    TlsVersion,
    WeightedBackend,
)
from meshpass.memo import Memo

OUTBOUND = OutboundListener(name="outbound", address="127.0.0.1", port=15001, route_configuration="outbound")
INBOUND = InboundListener(name="in", address="127.0.0.1", port=80, backend="app", selection_class="c")
PLAIN = HttpChain(name="plain", route_configuration="plain")
SECURE = HttpChain(
    name="secure", route_configuration="secure", server_names=("*.a.com",), tls=DownstreamTls(certificate="cert")
)
ANY_SECURE = replace(SECURE, name="any", server_names=())
PASSED = TcpChain(name="passed", backends=(WeightedBackend(backend="db", weight=100),))


def gateway(*chains: HttpChain | TcpChain) -> GatewayListener:
    return GatewayListener(name="gateway", address="127.0.0.1", port=443, chains=chains)


def read(listener: Listener) -> Any:
    return read_any(DiscoveryResource.FromString(build_listener(listener).wire).resource, ListenerMessage)


def managers(listener: Listener) -> list[Any]:
    return [read_any(chain.filters[0].typed_config, HttpConnectionManager) for chain in read(listener).filter_chains]


@pytest.mark.parametrize("listener", [OUTBOUND, INBOUND, gateway(PLAIN)])
def test_the_order_of_filters_is_the_same_everywhere(listener: Listener) -> None:
    """What is kept for the access log, then preflights; faults behind all authorization, the router last."""
    (manager,) = managers(listener)
    names = [one.name for one in manager.http_filters]
    assert names[:2] == ["envoy.filters.http.set_filter_state", "envoy.filters.http.cors"]
    assert names[-2:] == ["envoy.filters.http.fault", "router"]
    assert all(one.startswith("meshpass.") for one in names[2:-2])
    between = names[6:-6]
    assert between == (["meshpass.inbound.access"] if listener is INBOUND else [])
    assert len(names) == 12 + len(between)


@pytest.mark.parametrize(
    ("listener", "upgrades", "in_http2"),
    [
        (OUTBOUND, ["websocket", "CONNECT"], True),
        (INBOUND, ["websocket"], True),
        (gateway(PLAIN), ["websocket"], False),
    ],
)
def test_tunnels_begin_at_workloads_only(listener: Listener, upgrades: list[str], in_http2: bool) -> None:
    """WebSockets everywhere; over HTTP/2 not from browsers, whose requests lack what applications want."""
    (manager,) = managers(listener)
    assert [one.upgrade_type for one in manager.upgrade_configs] == upgrades
    assert manager.http2_protocol_options.allow_connect == in_http2
    assert manager.codec_type == HttpConnectionManager.AUTO


def test_only_gateways_are_at_the_edge() -> None:
    """There, addresses are those of connections, and clients have narrower limits."""
    (edge,), (inner,) = managers(gateway(PLAIN)), managers(OUTBOUND)
    assert edge.use_remote_address.value
    assert not edge.skip_xff_append
    assert edge.common_http_protocol_options.headers_with_underscores_action == 1
    assert edge.http2_protocol_options.max_concurrent_streams.value == 100
    assert inner.skip_xff_append
    assert not inner.use_remote_address.value
    assert not inner.http2_protocol_options.HasField("max_concurrent_streams")
    assert read(gateway(PLAIN)).per_connection_buffer_limit_bytes.value == 32 * 1024


def matches(*chains: HttpChain | TcpChain) -> dict[str, dict[str, Any]]:
    return {one.name: MessageToDict(one.filter_chain_match) for one in read(gateway(*chains)).filter_chains}


def test_no_two_chains_are_for_the_same_connection() -> None:
    """TLS with names, TLS without, plain HTTP; what is passed on as it is takes what nobody else does."""
    assert matches(SECURE, ANY_SECURE, PLAIN) == {
        "secure": {"serverNames": ["*.a.com"], "transportProtocol": "tls"},
        "any": {"transportProtocol": "tls"},
        "plain": {"transportProtocol": "raw_buffer"},
    }
    assert matches(SECURE, PASSED)["passed"] == {}
    assert matches(PLAIN) == {"plain": {}}
    assert matches(replace(PASSED, server_names=("b.com",))) == {
        "passed": {"serverNames": ["b.com"], "transportProtocol": "tls"}
    }


def test_tls_is_looked_into_only_where_a_chain_asks_for_it() -> None:
    """A server of plain TCP may be the first to speak."""
    names = {
        "plain": read(gateway(PLAIN, PASSED)),
        "tls": read(gateway(PASSED, SECURE)),
        "sni": read(gateway(replace(PASSED, server_names=("b.com",)))),
    }
    assert {name: len(one.listener_filters) for name, one in names.items()} == {"plain": 0, "tls": 1, "sni": 1}


def test_another_chain_changes_nothing_else_of_the_listener() -> None:
    """Or Envoy would end the connections of all chains."""
    one, two = read(gateway(SECURE)), read(gateway(SECURE, PLAIN))
    assert one.filter_chains[0] == two.filter_chains[0]
    for message in (one, two):
        del message.filter_chains[:]
    assert one == two


def context(tls: DownstreamTls, chain: HttpChain | TcpChain = SECURE) -> dict[str, Any]:
    (built,) = read(gateway(replace(chain, tls=tls))).filter_chains
    message = MessageToDict(read_any(built.transport_socket.typed_config, DownstreamTlsContext))
    return {"required": message.get("requireClientCertificate"), **message["commonTlsContext"]}


def test_a_certificate_by_name_is_followed() -> None:
    """Over the one stream; HTTP/2 is offered before HTTP/1.1, and nothing for what is no HTTP."""
    told = context(DownstreamTls(certificate="cert"))
    (secret,) = told["tlsCertificateSdsSecretConfigs"]
    assert (secret["name"], "ads" in secret["sdsConfig"]) == ("cert", True)
    assert (told["alpnProtocols"], told["required"]) == (["h2", "http/1.1"], False)
    assert told["tlsParams"] == {"tlsMinimumProtocolVersion": "TLSv1_2", "tlsMaximumProtocolVersion": "TLSv1_3"}
    assert "validationContext" not in told
    assert "alpnProtocols" not in context(DownstreamTls(certificate="cert"), PASSED)


def test_clients_are_asked_for_a_certificate_where_there_are_authorities() -> None:
    """With names of each kind that they can be."""
    told = context(DownstreamTls(certificate="cert", authorities="ca", subject_alt_names=("a.com", "10.0.0.1")))
    assert told["required"] is True
    both = told["combinedValidationContext"]
    assert both["validationContextSdsSecretConfig"]["name"] == "ca"
    assert [
        (one["sanType"], one["matcher"]["exact"])
        for one in both["defaultValidationContext"]["matchTypedSubjectAltNames"]
    ] == [
        ("DNS", "a.com"),
        ("URI", "a.com"),
        ("IP_ADDRESS", "10.0.0.1"),
    ]


def test_versions_and_ciphers_are_limited() -> None:
    """As named."""
    told = DownstreamTls(
        certificate="c",
        minimum_version=TlsVersion.TLS_1_0,
        maximum_version=TlsVersion.TLS_1_1,
        cipher_suites=("AES128-SHA",),
    )
    assert context(told)["tlsParams"] == {
        "tlsMinimumProtocolVersion": "TLSv1_0",
        "tlsMaximumProtocolVersion": "TLSv1_1",
        "cipherSuites": ["AES128-SHA"],
    }


def test_what_is_no_http_has_no_http_filters() -> None:
    """A weight of 0 is no share; Envoy refuses one."""
    (chain,) = read(replace(INBOUND, tcp=True)).filter_chains
    assert read_any(chain.filters[0].typed_config, TcpProxy).cluster == "app"
    shares = (*PASSED.backends, WeightedBackend(backend="b", weight=0), WeightedBackend(backend="c", weight=3))
    (chain,) = read(gateway(replace(PASSED, backends=shares))).filter_chains
    weighted = read_any(chain.filters[0].typed_config, TcpProxy).weighted_clusters.clusters
    assert [(one.name, one.weight) for one in weighted] == [("db", 100), ("c", 3)]


@pytest.mark.parametrize(
    ("listeners", "sides"),
    [
        ((), set()),
        ((OUTBOUND, INBOUND), {"outbound", "inbound"}),
        ((OUTBOUND, replace(INBOUND, tcp=True)), {"outbound"}),
        ((gateway(PASSED, PLAIN),), {"outbound"}),
        ((gateway(PASSED),), set()),
    ],
)
def test_only_filters_that_a_listener_asks_for_are_there(listeners: tuple[Listener, ...], sides: set[str]) -> None:
    """Others would never be acknowledged."""
    snapshot = build_snapshot(Proxy(node="n", listeners=listeners), Memo())
    assert {name.split(".")[1] for name in snapshot.of(EXTENSION_CONFIG)} == sides
