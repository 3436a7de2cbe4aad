"""Backend → Cluster and ClusterLoadAssignment."""

from __future__ import annotations

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from meshpass.envoy.address import build_address
from meshpass.envoy.config_source import ads_config_source
from meshpass.envoy.resource import build_resource, pack
from meshpass.envoy.snapshot import Resource
from meshpass.envoy.tls import HTTP2, build_upstream_socket
from meshpass.ir import Backend

CONNECT_SECONDS = 5
DNS_SECONDS = 5
"""A host name is looked up again after this long, or after its time to live where that is longer."""
MAX_RETRIES = 1024
"""At a time, per backend: as many as Envoy lets requests be. Of itself it would allow three."""

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def build_cluster(backend: Backend) -> Resource:
    """The cluster of a backend. Its endpoints come by EDS, unless Envoy has to look them up.

    All that is said here stays the same under a name: a cluster that changes is warmed anew and wants its endpoints
    again. Only new host names change it.
    """
    cluster = Cluster(
        name=backend.name,
        connect_timeout=Duration(seconds=CONNECT_SECONDS),
        circuit_breakers=CircuitBreakers(
            thresholds=[CircuitBreakers.Thresholds(max_retries=UInt32Value(value=MAX_RETRIES))]
        ),
    )
    if backend.resolve:
        _set_dns(cluster, backend)
    else:
        cluster.type = Cluster.EDS
        cluster.eds_cluster_config.eds_config.CopyFrom(ads_config_source())
    if backend.http2:
        http2 = HttpProtocolOptions.ExplicitHttpConfig(http2_protocol_options=Http2ProtocolOptions())
        cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(
            pack(HttpProtocolOptions(explicit_http_config=http2))
        )
    if backend.tls is not None:
        # Without ALPN where HTTP/1.1 or no HTTP at all is spoken: both are what a server does of itself.
        cluster.transport_socket.CopyFrom(build_upstream_socket(backend.tls, *((HTTP2,) if backend.http2 else ())))
    return build_resource(backend.name, cluster)


def build_endpoints(backend: Backend) -> Resource:
    """The endpoints of a backend's cluster."""
    return build_resource(backend.name, _build_assignment(backend))


def _set_dns(cluster: Cluster, backend: Backend) -> None:
    cluster.type = Cluster.STRICT_DNS
    cluster.dns_lookup_family = Cluster.V4_PREFERRED
    cluster.dns_refresh_rate.CopyFrom(Duration(seconds=DNS_SECONDS))
    cluster.respect_dns_ttl = True
    # A name that nobody answers for holds up nothing but its own requests.
    cluster.wait_for_warm_on_init.CopyFrom(BoolValue(value=False))
    cluster.load_assignment.CopyFrom(_build_assignment(backend))


def _build_assignment(backend: Backend) -> ClusterLoadAssignment:
    return ClusterLoadAssignment(
        cluster_name=backend.name,
        endpoints=[
            LocalityLbEndpoints(
                lb_endpoints=[
                    LbEndpoint(endpoint=Endpoint(address=build_address(endpoint.address, endpoint.port)))
                    for endpoint in backend.endpoints
                ]
            )
        ],
    )
