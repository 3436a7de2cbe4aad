"""The access log of a connection manager: an entry for every request, streamed to the control plane.

Envoy's HTTP entry always holds the path with its query and the Referer, either of which may hold a token. Its TCP entry
holds neither and is written for HTTP requests just as well: what is wanted of the request goes along as one custom tag,
without the query, so that a token in the query never leaves the proxy. (Of headers, host and method apart, only the
request's id goes along, and the addresses, times and dynamic metadata that every entry has. The latter hold the payload
of the verified token, in full: the control plane takes two claims of it, hashed, and forgets the rest.)
"""

from __future__ import annotations

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from envoy.config.core.v3.config_source_pb2 import ApiVersion
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.extensions.access_loggers.grpc.v3.als_pb2 import CommonGrpcAccessLogConfig, TcpGrpcAccessLogConfig
from envoy.type.tracing.v3.custom_tag_pb2 import CustomTag
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import UInt32Value

from meshpass.envoy.filters import ASKED_HOST, ASKED_PATH, CLASS_KEY, ROUTE_METADATA, Side
from meshpass.envoy.resource import pack

FLUSH_MILLISECONDS = 250
"""An entry waits this long for others at most."""
BUFFER_BYTES = 32 * 1024
"""About 60 entries: the control plane reads a message of this size in about a millisecond."""

DECISION_TAG = "decision"
DECISION_FIELDS = ("class", "method", "host", "path", "status", "details")
"""What the lines of the tag's value are. No header of a request that Envoy takes has a line break in it."""
_DECISION_FORMAT = (
    f"%METADATA(ROUTE:{ROUTE_METADATA}:{CLASS_KEY})%",
    "%REQ(:METHOD):16%",
    # As they were asked for: when the entry is written, the route may have rewritten both.
    f"%FILTER_STATE({ASKED_HOST}:PLAIN):253%",
    f"%FILTER_STATE({ASKED_PATH}:PLAIN):256%",
    "%RESPONSE_CODE%",
    "%RESPONSE_CODE_DETAILS%",
)


CONTROL_PLANE = "meshpass"
"""The cluster of the bootstrap that leads to the control plane."""


def build_access_log(side: Side, *, cluster: str = CONTROL_PLANE) -> AccessLog:
    """Entries go to the access log service behind ``cluster``; the stream's log name is the side.

    Requests never wait for the service. While it cannot be reached, Envoy drops entries. One that is connected and does
    not read makes Envoy 1.40 keep its TCP entries, without a limit (its HTTP entries have one): about 0.5 kB for each
    request until the connection ends. So the cluster needs a short HTTP/2 keepalive, and the service has to read always.
    """
    common = CommonGrpcAccessLogConfig(
        log_name=side.value,
        grpc_service=GrpcService(envoy_grpc=GrpcService.EnvoyGrpc(cluster_name=cluster)),
        transport_api_version=ApiVersion.V3,
        buffer_flush_interval=Duration(nanos=FLUSH_MILLISECONDS * 1_000_000),
        buffer_size_bytes=UInt32Value(value=BUFFER_BYTES),
        # One tag, not six: each costs Envoy a lookup and an allocation per request.
        custom_tags=[CustomTag(tag=DECISION_TAG, value="\n".join(_DECISION_FORMAT))],
    )
    return AccessLog(
        name="envoy.access_loggers.tcp_grpc", typed_config=pack(TcpGrpcAccessLogConfig(common_config=common))
    )
