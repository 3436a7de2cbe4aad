"""Routes: which requests go where, under which selection class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from meshpass.ir.match import RouteMatch
from meshpass.ir.option import Retries, RouteOptions
from meshpass.ir.ref import ObjectRef


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedBackend:
    """A share of a route's requests; the weights of one route sum to 100."""

    backend: str
    weight: int
    host_rewrite: str = ""
    """The Host that these requests get; empty: they keep the client's."""


class PrefixRewrite(msgspec.Struct, frozen=True, tag=True):
    """The part of the path that the route's ``path`` matched (a prefix, or all of it) becomes ``value``."""

    value: str


class RegexRewrite(msgspec.Struct, frozen=True, tag=True):
    """Every part of the path that matches ``pattern`` (RE2) becomes ``substitution``, where backslash and digit is a group."""

    pattern: str
    substitution: str


PathRewrite = PrefixRewrite | RegexRewrite


class Forward(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The request goes to one of the backends; of a CONNECT request, what comes through its tunnel."""

    backends: tuple[WeightedBackend, ...]
    path_rewrite: PathRewrite | None = None
    retries: Retries | None = None
    """Where the options of the selection class say nothing of retries."""


class Redirect(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The client is sent elsewhere; what is empty or None stays as it asked."""

    status: int
    """301, 302, 303, 307 or 308."""
    host: str = ""
    path: str | None = None


class DirectResponse(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The proxy answers by itself."""

    status: int
    body: str
    names_host: bool = False
    """True: the request's host follows the body."""


RouteAction = Forward | Redirect | DirectResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Requests that match take this action, under the policies of their selection class."""

    name: str
    match: RouteMatch
    action: RouteAction
    selection_class: str
    """Hash of all properties that policies select routes by: equal class, equal policies (architecture §5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualHost:
    """The routes of some hosts; the first that matches is taken, and a request that none matches is answered 404."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]
    sources: frozenset[ObjectRef] = frozenset()
    """The route tables that the routes were made from."""
    redirect_to_https: bool = False
    """True: every request is answered 301 to the same URL with https."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteConfiguration:
    """All virtual hosts that one listener chooses from."""

    name: str
    virtual_hosts: tuple[VirtualHost, ...]
    options: Mapping[str, RouteOptions] = field(default_factory=lambda: MappingProxyType({}))
    """Selection class → what else is done with requests of its routes; classes without anything are not in it."""
    ignore_port: bool = False
    """True: the port in a request's Host does not matter, as on a gateway, whose port is not the one that clients see."""
