"""Routes: which requests go where, under which selection class."""

from __future__ import annotations

from dataclasses import dataclass

from meshpass.ir.match import RouteMatch
from meshpass.ir.ref import ObjectRef


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedBackend:
    """A share of a route's requests; the weights of one route sum to 100."""

    backend: str
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """The request goes to one of the backends."""

    backends: tuple[WeightedBackend, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectResponse:
    """The proxy answers by itself."""

    status: int
    body: str
    names_host: bool = False
    """True: the request's host follows the body."""


RouteAction = Forward | DirectResponse


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
    """The routes of some hosts, tried in order; no match is answered 404."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]
    sources: frozenset[ObjectRef] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteConfiguration:
    """All virtual hosts of a listener."""

    name: str
    virtual_hosts: tuple[VirtualHost, ...]
