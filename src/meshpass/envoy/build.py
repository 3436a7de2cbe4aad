"""Proxy → Snapshot."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import assert_never

from meshpass.envoy.access import build_access_filter
from meshpass.envoy.authorization import build_authorization_filter
from meshpass.envoy.backend import build_cluster, build_endpoints
from meshpass.envoy.claim_header import build_claim_header_filter
from meshpass.envoy.filters import Side
from meshpass.envoy.finish import build_finish_filter
from meshpass.envoy.jwt import build_jwt_filter
from meshpass.envoy.listener import build_listener
from meshpass.envoy.route import build_route_configuration
from meshpass.envoy.snapshot import CLUSTER, ENDPOINTS, EXTENSION_CONFIG, LISTENER, ROUTES, SECRET, Resource, Snapshot
from meshpass.envoy.tls import build_secret
from meshpass.ir import (
    Backend,
    GatewayListener,
    HttpChain,
    InboundListener,
    Listener,
    OutboundListener,
    Phase,
    PolicySet,
    Proxy,
    RouteConfiguration,
    Secret,
)
from meshpass.memo import Memo


def build_snapshot(proxy: Proxy, memo: Memo) -> Snapshot:
    """Everything that the Envoy of ``proxy`` is told. Parts that proxies share are built and serialised once."""
    clusters, endpoints = memo(_build_backends, proxy.backends, memo)
    own_clusters, own_endpoints = memo(_build_backends, proxy.application, memo)
    return Snapshot(
        proxy=proxy,
        resources=MappingProxyType(
            {
                CLUSTER: memo(_join, own_clusters, clusters),
                ENDPOINTS: memo(_join, own_endpoints, endpoints),
                SECRET: memo(_build_secrets, proxy.secrets, memo),
                EXTENSION_CONFIG: memo(_build_filters, _sides(proxy), proxy.policies, proxy.inbound_policies, memo),
                LISTENER: _by_name(memo(build_listener, listener) for listener in proxy.listeners),
                ROUTES: _build_routes(proxy.routes, memo),
            }
        ),
    )


def _build_backends(backends: tuple[Backend, ...], memo: Memo) -> tuple[dict[str, Resource], dict[str, Resource]]:
    return (
        _by_name(memo(build_cluster, backend) for backend in backends),
        _by_name(memo(build_endpoints, backend) for backend in backends if not backend.resolve),
    )


def _build_secrets(secrets: tuple[Secret, ...], memo: Memo) -> Mapping[str, Resource]:
    return _by_name(memo(build_secret, secret) for secret in secrets)


def _join(own: dict[str, Resource], shared: dict[str, Resource]) -> Mapping[str, Resource]:
    return ChainMap(own, shared) if own else shared


def _sides(proxy: Proxy) -> tuple[Side, ...]:
    """The sides that the proxy has: a filter configuration that no listener asks for would never be acknowledged."""
    return tuple(sorted({side for listener in proxy.listeners for side in _sides_of(listener)}))


def _sides_of(listener: Listener) -> Iterator[Side]:
    match listener:
        case OutboundListener():
            yield Side.OUTBOUND
        case InboundListener():
            if not listener.tcp:
                yield Side.INBOUND
        case GatewayListener():
            if any(isinstance(chain, HttpChain) for chain in listener.chains):
                yield Side.OUTBOUND
        case _:  # pragma: no cover
            assert_never(listener)


def _build_filters(
    sides: tuple[Side, ...], outbound: PolicySet, inbound: PolicySet, memo: Memo
) -> Mapping[str, Resource]:
    by_side = {Side.OUTBOUND: outbound, Side.INBOUND: inbound}
    return _by_name(resource for side in sides for resource in memo(_build_policies, side, by_side[side], memo))


def _build_policies(side: Side, policies: PolicySet, memo: Memo) -> tuple[Resource, ...]:
    resources = []
    for phase in Phase:
        of_phase = policies.of(phase)
        sources = policies.sources
        resources += [
            memo(build_jwt_filter, side, phase, of_phase, sources),
            build_authorization_filter(side, phase, policies),
            build_claim_header_filter(side, phase, policies),
            build_finish_filter(side, phase, of_phase, sources),
        ]
    if side is Side.INBOUND:
        resources.append(build_access_filter(policies))
    return tuple(resources)


def _build_routes(routes: tuple[RouteConfiguration, ...], memo: Memo) -> Mapping[str, Resource]:
    # Megabytes for each edit: an old one is kept by the streams that still send it, and by nothing else.
    return _by_name(memo.while_held(build_route_configuration, one, memo) for one in routes)


def _by_name(resources: Iterable[Resource]) -> dict[str, Resource]:
    return {resource.name: resource for resource in resources}
