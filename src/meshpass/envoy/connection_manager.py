"""The HTTP connection manager of every place where a proxy takes HTTP requests: how much of a client is believed and borne."""

from __future__ import annotations

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation as Mutation
from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.protocol_pb2 import Http2ProtocolOptions, HttpProtocolOptions
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.http.early_header_mutation.header_mutation.v3.header_mutation_pb2 import (
    HeaderMutation as EarlyHeaderMutation,
)
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from meshpass.envoy.access_log import build_access_log
from meshpass.envoy.filters import BARE_PATH, SAVED_PATH, Side, build_http_filters
from meshpass.envoy.local_reply import build_local_replies, tell_unreached
from meshpass.envoy.resource import pack

IDLE_SECONDS = 3600
"""A stream may be silent for so long: long polls, tunnels and WebSockets are; Envoy's default would be 5 minutes."""
HEADERS_SECONDS = 10
"""Within so long the headers of a request must be there; a client that sends them byte by byte is cut off."""

EDGE_STREAMS = 100
EDGE_STREAM_WINDOW_BYTES = 64 * 1024
EDGE_CONNECTION_WINDOW_BYTES = 2**20
EDGE_BUFFER_BYTES = 32 * 1024
"""What Envoy's documentation tells of a proxy at the edge ("Configuring Envoy as an edge proxy")."""


def build_connection_manager(name: str, side: Side, *, tunnels: bool) -> HttpConnectionManager:
    """HTTP/1.1 and HTTP/2 (with prior knowledge or ALPN), with WebSockets; CONNECT if ``tunnels``."""
    manager = HttpConnectionManager(
        stat_prefix=name,
        codec_type=HttpConnectionManager.AUTO,
        # A path is brought to its one form before routes are matched: neither `/a/../b` nor `//b` nor `/x%2f..%2fb`
        # passes by a route for `/b`.
        normalize_path=BoolValue(value=True),
        merge_slashes=True,
        path_with_escaped_slashes_action=HttpConnectionManager.UNESCAPE_AND_FORWARD,
        skip_xff_append=True,
        # Envoy would call a client internal, and tell the application so, whose x-forwarded-for is a private address.
        internal_address_config=_nobody_is_internal(),
        stream_idle_timeout=Duration(seconds=IDLE_SECONDS),
        request_headers_timeout=Duration(seconds=HEADERS_SECONDS),
        # RFC 8441: WebSockets over HTTP/2.
        http2_protocol_options=Http2ProtocolOptions(allow_connect=True),
        upgrade_configs=[HttpConnectionManager.UpgradeConfig(upgrade_type="websocket")],
        local_reply_config=build_local_replies(),
        access_log=[build_access_log(side)],
        early_header_mutation_extensions=[_prepare_headers()],
        http_filters=build_http_filters(side),
    )
    if tunnels:
        manager.upgrade_configs.append(HttpConnectionManager.UpgradeConfig(upgrade_type="CONNECT"))
    return manager


def tell_caller(manager: HttpConnectionManager) -> None:
    """Have the application told who calls, on connections by mutual TLS.

    It is in ``x-forwarded-client-cert``: the SPIFFE ID of the caller and of this workload, and the hash of the caller's
    certificate. What a client says there of itself is always taken away. The caller is told where the application is not
    reached.
    """
    manager.forward_client_cert_details = HttpConnectionManager.SANITIZE_SET
    manager.set_current_client_cert_details.uri = True
    manager.local_reply_config.mappers.append(tell_unreached())


def harden(manager: HttpConnectionManager) -> None:
    """Make it one for clients from anywhere."""
    # The address of the connection is the client's: what it says of itself in x-forwarded-for comes before that, and
    # x-forwarded-proto is what the connection is.
    manager.use_remote_address.CopyFrom(BoolValue(value=True))
    manager.skip_xff_append = False
    # `x_org` is the same variable as `x-org` to many applications, and would pass by what is done with headers here.
    manager.common_http_protocol_options.headers_with_underscores_action = HttpProtocolOptions.REJECT_REQUEST
    http2 = manager.http2_protocol_options
    # Browsers would open WebSockets over HTTP/2, without the key that the application wants in HTTP/1.1: they fail.
    # Without the offer, browsers open them in HTTP/1.1.
    http2.allow_connect = False
    http2.max_concurrent_streams.CopyFrom(UInt32Value(value=EDGE_STREAMS))
    http2.initial_stream_window_size.CopyFrom(UInt32Value(value=EDGE_STREAM_WINDOW_BYTES))
    http2.initial_connection_window_size.CopyFrom(UInt32Value(value=EDGE_CONNECTION_WINDOW_BYTES))


def _nobody_is_internal() -> HttpConnectionManager.InternalAddressConfig:
    """An address that nobody has: no address at all would mean all private ones."""
    return HttpConnectionManager.InternalAddressConfig(
        cidr_ranges=[CidrRange(address_prefix="255.255.255.255", prefix_len=UInt32Value(value=32))]
    )


def _prepare_headers() -> TypedExtensionConfig:
    """What happens to a request's headers before any filter sees them, with the path in its one form already.

    The path is kept as it is now, with its query and without. Headers of the proxy's own that a client sent are taken
    away: by ``x-envoy-*`` it could ask for retries, timeouts and more that is for policies to say.
    """
    mutations = [Mutation(remove_on_match=_beginning(prefix)) for prefix in ("x-envoy-", "x-meshpass-")]
    mutations += [_write(SAVED_PATH, "%REQ(:PATH)%"), _write(BARE_PATH, "%PATH(NQ:PATH)%")]
    return TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=pack(EarlyHeaderMutation(mutations=mutations)),
    )


def _beginning(prefix: str) -> Mutation.RemoveOnMatch:
    return Mutation.RemoveOnMatch(key_matcher=StringMatcher(prefix=prefix))


def _write(name: str, value: str) -> Mutation:
    header = HeaderValueOption(
        header=HeaderValue(key=name, value=value), append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    )
    return Mutation(append=header)
