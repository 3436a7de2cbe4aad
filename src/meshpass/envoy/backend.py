"""Backend → Cluster and ClusterLoadAssignment."""

from __future__ import annotations

from types import MappingProxyType

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.cluster.v3.outlier_detection_pb2 import OutlierDetection as OutlierDetectionMessage
from envoy.config.core.v3.address_pb2 import BindConfig, ExtraSourceAddress, SocketAddress
from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from meshpass.envoy.address import build_address
from meshpass.envoy.config_source import ads_config_source
from meshpass.envoy.resource import build_resource, pack
from meshpass.envoy.snapshot import Resource
from meshpass.envoy.tls import HTTP2, build_peer_socket, build_upstream_socket
from meshpass.ir import Backend, OutlierDetection, PeerTls
from meshpass.ir import Endpoint as BackendEndpoint

CONNECT_SECONDS = 5
DNS_SECONDS = 5
"""A host name is looked up again after this long, or after its time to live where that is longer."""
MAX_RETRIES = 1024
"""At a time, per backend: as many as Envoy lets requests be. Of itself it would allow three."""

MUTUAL_TLS = MappingProxyType({"mutual-tls": "true"})
"""What an endpoint says of itself that is spoken to by mutual TLS."""

_SOCKET_MATCH = "envoy.transport_socket_match"
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
    # Without ALPN where HTTP/1.1 or no HTTP at all is spoken: both are what a server does of itself.
    protocols = (HTTP2,) if backend.http2 else ()
    if backend.tls is not None:
        cluster.transport_socket.CopyFrom(build_upstream_socket(backend.tls, *protocols))
    if backend.peer is not None:
        cluster.transport_socket_matches.append(_build_match(backend.peer, protocols))
    if backend.outlier is not None:
        _set_outlier_detection(cluster, backend.outlier)
    if backend.anywhere:
        cluster.upstream_bind_config.CopyFrom(_build_any_source())
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


def _build_match(peer: PeerTls, protocols: tuple[str, ...]) -> Cluster.TransportSocketMatch:
    """For endpoints that say so; all others get plain text."""
    match = Struct()
    match.update(MUTUAL_TLS)
    return Cluster.TransportSocketMatch(
        name="mutual-tls", match=match, transport_socket=build_peer_socket(peer, *protocols)
    )


def _set_outlier_detection(cluster: Cluster, outlier: OutlierDetection) -> None:
    """Failures in a row count, nothing else. An endpoint that does not answer at all counts like one that answers 503."""
    failures, never = UInt32Value(value=outlier.consecutive_failures), UInt32Value()
    cluster.outlier_detection.CopyFrom(
        OutlierDetectionMessage(
            split_external_local_origin_errors=True,
            consecutive_gateway_failure=failures,
            enforcing_consecutive_gateway_failure=UInt32Value(value=100),
            consecutive_local_origin_failure=failures,
            enforcing_consecutive_5xx=never,
            enforcing_success_rate=never,
            enforcing_local_origin_success_rate=never,
            interval=_milliseconds(outlier.interval_milliseconds),
            base_ejection_time=_milliseconds(outlier.ejection_milliseconds),
            max_ejection_percent=UInt32Value(value=100),
        )
    )
    # Else, where most of what is left has failed, Envoy would send to all of them, also to those that are left alone.
    cluster.common_lb_config.healthy_panic_threshold.SetInParent()


def _milliseconds(number: int) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(number)
    return duration


def _build_any_source() -> BindConfig:
    """Whatever address leads there, also where the bootstrap says otherwise."""
    return BindConfig(
        source_address=SocketAddress(address="0.0.0.0", port_value=0),  # noqa: S104 - connections begin there
        extra_source_addresses=[ExtraSourceAddress(address=SocketAddress(address="::", port_value=0))],
    )


def _build_assignment(backend: Backend) -> ClusterLoadAssignment:
    """Each priority as a locality of its own. None may be left out, even if nothing is in it."""
    last = max((endpoint.priority for endpoint in backend.endpoints), default=0)
    return ClusterLoadAssignment(
        cluster_name=backend.name,
        endpoints=[
            LocalityLbEndpoints(
                priority=priority,
                lb_endpoints=[_build_endpoint(one) for one in backend.endpoints if one.priority == priority],
            )
            for priority in range(last + 1)
        ],
    )


def _build_endpoint(endpoint: BackendEndpoint) -> LbEndpoint:
    message = LbEndpoint(endpoint=Endpoint(address=build_address(endpoint.address, endpoint.port)))
    if endpoint.mutual_tls:
        message.metadata.CopyFrom(_SPEAKS_MUTUAL_TLS)
    return message


def _make_metadata() -> Metadata:
    metadata = Metadata()
    metadata.filter_metadata[_SOCKET_MATCH].update(MUTUAL_TLS)
    return metadata


_SPEAKS_MUTUAL_TLS = _make_metadata()
