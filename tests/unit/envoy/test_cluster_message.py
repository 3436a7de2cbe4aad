"""Backends and secrets as Envoy reads them; and that nothing prints a key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret as SecretMessage
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from envoy.service.discovery.v3.discovery_pb2 import Resource as DiscoveryResource
from google.protobuf.json_format import MessageToDict
from tests.support.reading import read_any

from meshpass.envoy.build import build_snapshot
from meshpass.envoy.snapshot import CLUSTER, ENDPOINTS, SECRET
from meshpass.ir import Backend, Endpoint, Proxy, TlsCertificate, TrustedAuthorities, UpstreamTls
from meshpass.memo import Memo

BACKEND = Backend(name="b", endpoints=(Endpoint("10.0.0.1", 80),))
KEY = "a key that nobody may see"


def build(backend: Backend) -> tuple[Any, bool]:
    """The cluster, and whether there are endpoints of it by EDS."""
    snapshot = build_snapshot(Proxy(node="n", backends=(backend,)), Memo())
    (cluster,) = snapshot.of(CLUSTER).values()
    return read_any(DiscoveryResource.FromString(cluster.wire).resource, Cluster), bool(snapshot.of(ENDPOINTS))


def context(tls: UpstreamTls, **rest: Any) -> dict[str, Any]:
    cluster, _ = build(replace(BACKEND, tls=tls, **rest))
    return MessageToDict(read_any(cluster.transport_socket.typed_config, UpstreamTlsContext))


def test_a_cluster_gets_its_endpoints_by_eds() -> None:
    """And does not change with them."""
    cluster, by_eds = build(BACKEND)
    assert (cluster.type, by_eds) == (Cluster.EDS, True)
    assert build(replace(BACKEND, endpoints=()))[0] == cluster
    assert cluster.circuit_breakers.thresholds[0].max_retries.value > 100


def test_host_names_are_looked_up_by_envoy() -> None:
    """Endpoints stand in the cluster, and no start waits for a name that nobody knows."""
    cluster, by_eds = build(replace(BACKEND, endpoints=(Endpoint("a.com", 443),), resolve=True))
    assert (cluster.type, by_eds) == (Cluster.STRICT_DNS, False)
    (locality,) = cluster.load_assignment.endpoints
    assert locality.lb_endpoints[0].endpoint.address.socket_address.address == "a.com"
    assert not cluster.wait_for_warm_on_init.value


def test_http2_is_said_outright() -> None:
    """Also by ALPN inside of TLS."""
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    assert options in build(replace(BACKEND, http2=True))[0].typed_extension_protocol_options
    assert options not in build(BACKEND)[0].typed_extension_protocol_options
    assert context(UpstreamTls(sni="a"), http2=True)["commonTlsContext"]["alpnProtocols"] == ["h2"]
    assert "alpnProtocols" not in context(UpstreamTls(sni="a"))["commonTlsContext"]
    assert not build(BACKEND)[0].HasField("transport_socket")


@pytest.mark.parametrize(
    ("tls", "names"),
    [
        (UpstreamTls(sni="a.com", authorities_file="ca"), ["a.com", "a.com"]),
        (UpstreamTls(sni="a.com", authorities_file="ca", subject_alt_names=("10.0.0.1",)), ["10.0.0.1"]),
        (UpstreamTls(authorities_file="ca"), []),
    ],
)
def test_a_server_has_to_have_the_name(tls: UpstreamTls, names: list[str]) -> None:
    """That it was asked by, unless other names are given."""
    told = context(tls)
    validation = told["commonTlsContext"]["validationContext"]
    assert told.get("sni", "") == tls.sni
    assert validation["trustedCa"] == {"filename": "ca"}
    assert [one["matcher"]["exact"] for one in validation.get("matchTypedSubjectAltNames", [])] == names


def test_who_is_to_be_verified_by_nobody_is_never_believed() -> None:
    """Only ``verify=False`` believes whoever answers."""
    told = context(UpstreamTls(sni="a.com"))["commonTlsContext"]
    assert told["validationContext"] == {"verifyCertificateHash": ["0" * 64]}
    assert context(UpstreamTls(sni="a.com", verify=False)) == {"sni": "a.com", "commonTlsContext": {}}


def test_secrets_are_resources() -> None:
    """A certificate with its key, and authorities."""
    secrets = (
        TlsCertificate(name="c", chain="chain", private_key=KEY),
        TrustedAuthorities(name="t", certificates="authorities"),
    )
    snapshot = build_snapshot(Proxy(node="n", secrets=secrets), Memo())
    read = {
        name: MessageToDict(read_any(DiscoveryResource.FromString(one.wire).resource, SecretMessage))
        for name, one in snapshot.of(SECRET).items()
    }
    certificate = read["c"]["tlsCertificate"]
    assert {name: base["inlineString"] for name, base in certificate.items()} == {
        "certificateChain": "chain",
        "privateKey": KEY,
    }
    assert read["t"]["validationContext"] == {"trustedCa": {"inlineString": "authorities"}}


def test_nothing_prints_a_key() -> None:
    """Neither a Resource nor a Snapshot nor what it was made from."""
    secret = TlsCertificate(name="c", chain="chain", private_key=KEY)
    snapshot = build_snapshot(Proxy(node="n", secrets=(secret,)), Memo())
    for told in (snapshot, snapshot.of(SECRET), snapshot.proxy):
        assert KEY not in f"{told!r} {told}"
    assert KEY.encode() in snapshot.of(SECRET)["c"].wire
