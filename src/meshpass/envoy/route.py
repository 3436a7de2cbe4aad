"""RouteConfiguration, VirtualHost, Route → Envoy's messages of the same names."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from envoy.config.route.v3 import route_components_pb2 as route_v3
from envoy.config.route.v3.route_pb2 import RouteConfiguration as RouteConfigurationMessage
from google.protobuf.wrappers_pb2 import UInt32Value

from meshpass.envoy.filters import OWN_HEADERS, Side
from meshpass.envoy.framing import frame
from meshpass.envoy.resource import build_serialised
from meshpass.envoy.route_action import set_action
from meshpass.envoy.route_match import build_match
from meshpass.envoy.route_option import set_options
from meshpass.envoy.selection_class import set_selection_class
from meshpass.envoy.snapshot import ROUTES, Resource, content_version
from meshpass.ir import Route, RouteConfiguration, RouteOptions, VirtualHost
from meshpass.memo import Memo

MAX_DIRECT_RESPONSE_BYTES = 4 * 2**20
"""What the API allows, under 1 MiB of characters, is at most this many bytes."""

NO_OPTIONS = RouteOptions()


class ClassOptions:
    """The options that matter to a host; other hosts' ones may change without its being built again.

    One object for equal options, made through the memo: a thousand hosts are looked up by it.
    """

    __slots__ = ("by_class",)

    def __init__(self, options: tuple[tuple[str, RouteOptions], ...]) -> None:
        self.by_class = dict(options)


class Part(NamedTuple):
    """A piece of a route configuration."""

    body: bytes
    digest: bytes


def build_route_configuration(routes: RouteConfiguration, memo: Memo) -> Resource:
    """The resource of a route configuration.

    Of ten thousand routes, only those of virtual hosts that changed are built again: each host is kept as bytes, which
    are joined, and as their hash, from which the version is made.
    """
    head = _serialise_head(routes)
    options: dict[tuple[str, ...], ClassOptions] = {}
    parts = []
    for host in routes.virtual_hosts:
        classes = memo(_classes, host)
        if classes not in options:
            chosen = tuple((name, routes.options[name]) for name in classes if name in routes.options)
            options[classes] = memo(ClassOptions, chosen)
        parts.append(memo(_build_virtual_host, host, options[classes], memo))
    version = content_version(b"".join((head.digest, *(part.digest for part in parts))))
    sources = frozenset().union(*(host.sources for host in routes.virtual_hosts))
    bodies = (head.body, *(part.body for part in parts))
    return build_serialised(ROUTES, routes.name, bodies, version=version, sources=sources)


def _serialise_head(routes: RouteConfiguration) -> Part:
    message = RouteConfigurationMessage(
        name=routes.name,
        request_headers_to_remove=OWN_HEADERS,
        max_direct_response_body_size_bytes=UInt32Value(value=MAX_DIRECT_RESPONSE_BYTES),
        ignore_port_in_host_matching=routes.ignore_port,
    )
    return _part(message.SerializeToString(deterministic=True))


def _classes(host: VirtualHost) -> tuple[str, ...]:
    return tuple(dict.fromkeys(route.selection_class for route in host.routes))


def _build_virtual_host(host: VirtualHost, options: ClassOptions, memo: Memo) -> Part:
    by_class = options.by_class
    head = route_v3.VirtualHost(
        name=host.name, domains=host.domains, routes=[_redirect_to_https()] if host.redirect_to_https else []
    )
    routes = () if host.redirect_to_https else host.routes
    built = (memo(_build_route, route, by_class.get(route.selection_class, NO_OPTIONS), memo) for route in routes)
    body = frame(
        RouteConfigurationMessage.VIRTUAL_HOSTS_FIELD_NUMBER, head.SerializeToString(deterministic=True), *built
    )
    return _part(body)


def _redirect_to_https() -> route_v3.Route:
    """A route of its own, not ``require_tls``: that leaves the port of plain HTTP in the URL, where https is not spoken."""
    return route_v3.Route(match=route_v3.RouteMatch(prefix="/"), redirect=route_v3.RedirectAction(https_redirect=True))


def _build_route(route: Route, options: RouteOptions, memo: Memo) -> bytes:
    message = route_v3.Route(name=route.name, match=build_match(route.match))
    set_action(message, route, options)
    return frame(
        route_v3.VirtualHost.ROUTES_FIELD_NUMBER,
        message.SerializeToString(deterministic=True),
        memo(_build_class, route.selection_class, options),
    )


def _build_class(selection_class: str, options: RouteOptions) -> bytes:
    """What all routes of a class with these options have in common."""
    message = route_v3.Route()
    set_selection_class(message, Side.OUTBOUND, selection_class)
    set_options(message, options)
    body: bytes = message.SerializeToString(deterministic=True)
    return body


def _part(body: bytes) -> Part:
    return Part(body, hashlib.sha256(body).digest())
