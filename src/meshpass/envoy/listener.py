"""Listeners → Envoy's Listener."""

from __future__ import annotations

from typing import assert_never

from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, FilterChainMatch, ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener as ListenerMessage
from envoy.config.route.v3 import route_components_pb2 as route_v3
from envoy.config.route.v3.route_pb2 import RouteConfiguration as RouteConfigurationMessage
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.extensions.filters.network.direct_response.v3.config_pb2 import Config as DirectResponse
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    Rds,
)
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import UInt32Value

from meshpass.envoy.access import build_connection_access
from meshpass.envoy.access_rule import build_cidr
from meshpass.envoy.address import build_address
from meshpass.envoy.config_source import ads_config_source
from meshpass.envoy.connection_manager import EDGE_BUFFER_BYTES, build_connection_manager, harden, tell_caller
from meshpass.envoy.filters import OWN_HEADERS, Side
from meshpass.envoy.resource import build_resource, pack
from meshpass.envoy.selection_class import set_selection_class
from meshpass.envoy.snapshot import Resource
from meshpass.envoy.tls import HTTP1, HTTP2, build_caller_socket, build_downstream_socket
from meshpass.ir import (
    CALLERS,
    GatewayListener,
    HttpChain,
    InboundListener,
    Listener,
    MutualTlsMode,
    OutboundListener,
    TcpChain,
    WeightedBackend,
)

PEER_NAMES = "*.meshpass.internal"
"""What proxies of the mesh ask for (SNI) where they speak mutual TLS with each other."""
SILENCE_MILLISECONDS = 500
"""A client of a port that is not HTTP, if it says nothing for so long, waits for the server to speak: it is no proxy of the
mesh, which begins with TLS at once."""


def build_listener(listener: Listener) -> Resource:
    """The resource of one listener."""
    message = ListenerMessage(name=listener.name, address=build_address(listener.address, listener.port))
    match listener:
        case OutboundListener():
            # Whoever comes this way speaks with the workload's identity: nobody but programs of its own place may.
            own = FilterChainMatch(source_type=FilterChainMatch.SAME_IP_OR_LOOPBACK)
            message.filter_chains.append(
                FilterChain(filter_chain_match=own, filters=[_http(_build_outbound(listener))])
            )
        case InboundListener():
            _set_inbound(message, listener)
        case GatewayListener():
            _set_gateway(message, listener)
        case _:  # pragma: no cover
            assert_never(listener)
    return build_resource(listener.name, message)


def _build_outbound(listener: OutboundListener) -> HttpConnectionManager:
    manager = build_connection_manager(listener.name, Side.OUTBOUND, tunnels=True)
    manager.rds.CopyFrom(_rds(listener.route_configuration))
    return manager


def _set_inbound(message: ListenerMessage, listener: InboundListener) -> None:
    """The chain of mutual TLS, the plain one, or both. Which of them changes without the connections of the other."""
    # Connections from elsewhere are closed before anybody says a word.
    blocks = [build_cidr(block) for block in (listener.access.peer_blocks if listener.access is not None else ())]
    plain = FilterChain(
        filter_chain_match=FilterChainMatch(source_prefix_ranges=blocks) if blocks else None,
        filters=_build_inbound(listener, mutual=False),
    )
    if listener.mutual_tls is MutualTlsMode.DISABLE:
        message.filter_chains.append(plain)
        return
    message.listener_filters.append(_tls_inspector())
    # All of these are the same in both modes: whatever differs beside the chains would be another listener.
    message.continue_on_listener_filters_timeout = True
    if listener.tcp:
        message.listener_filters_timeout.FromMilliseconds(SILENCE_MILLISECONDS)
    message.filter_chains.append(
        FilterChain(
            name="mutual-tls",
            filter_chain_match=FilterChainMatch(
                transport_protocol="tls",
                server_names=[PEER_NAMES],
                source_prefix_ranges=blocks,
            ),
            filters=_build_inbound(listener, mutual=True),
            transport_socket=build_caller_socket(
                listener.callers or CALLERS, *(() if listener.tcp else (HTTP2, HTTP1))
            ),
        )
    )
    if listener.mutual_tls is MutualTlsMode.PERMISSIVE:
        # Whatever it is: the application may speak TLS of its own.
        plain.name = "plain"
        message.filter_chains.append(plain)


def _build_inbound(listener: InboundListener, *, mutual: bool) -> list[Filter]:
    if listener.tcp:
        only = WeightedBackend(backend=listener.backend, weight=100)
        access = listener.access
        if access is None:
            return [_tcp(listener.name, (only,))]
        # Who is let in is asked when the first bytes come, and until then an application may speak: not to those who show
        # no identity where every rule asks for one.
        backends = (only,) if mutual or access.identities is None else ()
        return [build_connection_access(listener.name, access), _tcp(listener.name, backends)]
    manager = build_connection_manager(listener.name, Side.INBOUND, tunnels=False)
    everything = route_v3.Route(
        match=route_v3.RouteMatch(prefix="/"),
        route=route_v3.RouteAction(cluster=listener.backend, timeout=Duration()),
    )
    if mutual:
        tell_caller(manager)
    set_selection_class(everything, Side.INBOUND, listener.selection_class)
    manager.route_config.CopyFrom(
        RouteConfigurationMessage(
            name=listener.name,
            request_headers_to_remove=OWN_HEADERS,
            virtual_hosts=[route_v3.VirtualHost(name="application", domains=["*"], routes=[everything])],
        )
    )
    return [_http(manager)]


def _set_gateway(message: ListenerMessage, listener: GatewayListener) -> None:
    """One filter chain for each chain. Where only these change, Envoy leaves the connections of all others alone."""
    looks_into_tls = any(map(_is_tls, listener.chains))
    if looks_into_tls:
        # Only then: where the server speaks first, as MySQL does, waiting for the client's first bytes is a deadlock.
        message.listener_filters.append(_tls_inspector())
    message.per_connection_buffer_limit_bytes.CopyFrom(UInt32Value(value=EDGE_BUFFER_BYTES))
    message.filter_chains.extend(_build_chain(chain, listener, mixed=looks_into_tls) for chain in listener.chains)


def _tls_inspector() -> ListenerFilter:
    return ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=pack(TlsInspector()))


def _is_tls(chain: HttpChain | TcpChain) -> bool:
    return chain.tls is not None or bool(chain.server_names) or (isinstance(chain, TcpChain) and chain.only_tls)


def _build_chain(chain: HttpChain | TcpChain, listener: GatewayListener, *, mixed: bool) -> FilterChain:
    message = FilterChain(name=chain.name, filter_chain_match=FilterChainMatch(server_names=chain.server_names))
    if _is_tls(chain):
        message.filter_chain_match.transport_protocol = "tls"
    elif mixed and isinstance(chain, HttpChain):
        message.filter_chain_match.transport_protocol = "raw_buffer"
    match chain:
        case HttpChain():
            manager = build_connection_manager(listener.name, Side.OUTBOUND, tunnels=False)
            harden(manager)
            manager.rds.CopyFrom(_rds(chain.route_configuration))
            message.filters.append(_http(manager))
            protocols: tuple[str, ...] = (HTTP2, HTTP1)
        case TcpChain():
            message.filters.append(_tcp(chain.name, chain.backends))
            protocols = ()
        case _:  # pragma: no cover
            assert_never(chain)
    if chain.tls is not None:
        message.transport_socket.CopyFrom(build_downstream_socket(chain.tls, *protocols))
    return message


def _rds(name: str) -> Rds:
    return Rds(config_source=ads_config_source(), route_config_name=name)


def _http(manager: HttpConnectionManager) -> Filter:
    return Filter(name="envoy.filters.network.http_connection_manager", typed_config=pack(manager))


def _tcp(name: str, backends: tuple[WeightedBackend, ...]) -> Filter:
    if not backends:
        # It says nothing and closes the connection.
        return Filter(name="envoy.filters.network.direct_response", typed_config=pack(DirectResponse()))
    proxy = TcpProxy(stat_prefix=name)
    match backends:
        case (only,):
            proxy.cluster = only.backend
        case several:
            proxy.weighted_clusters.clusters.extend(
                TcpProxy.WeightedCluster.ClusterWeight(name=share.backend, weight=share.weight)
                for share in several
                if share.weight
            )
    return Filter(name="envoy.filters.network.tcp_proxy", typed_config=pack(proxy))
