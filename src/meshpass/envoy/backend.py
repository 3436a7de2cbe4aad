"""Backend → Cluster and ClusterLoadAssignment."""

from __future__ import annotations

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.config.endpoint.v3.endpoint_components_pb2 import Endpoint, LbEndpoint, LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from google.protobuf.duration_pb2 import Duration

from meshpass.envoy.address import build_address
from meshpass.envoy.resource import build_resource
from meshpass.envoy.snapshot import Resource
from meshpass.ir import Backend


def ads_config_source() -> ConfigSource:
    """Subscribed on the one stream, and waited for as long as it takes: a proxy without policy serves nothing."""
    return ConfigSource(
        ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3, initial_fetch_timeout=Duration()
    )


def build_cluster(name: str) -> Resource:
    """A cluster whose endpoints come by EDS.

    It says nothing that can change: a cluster that changes under its name is warmed anew and wants its endpoints again.
    """
    cluster = Cluster(
        name=name,
        type=Cluster.EDS,
        eds_cluster_config=Cluster.EdsClusterConfig(eds_config=ads_config_source()),
        connect_timeout=Duration(seconds=5),
    )
    return build_resource(name, cluster)


def build_endpoints(backend: Backend) -> Resource:
    """The endpoints of a backend's cluster."""
    assignment = ClusterLoadAssignment(
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
    return build_resource(backend.name, assignment)
