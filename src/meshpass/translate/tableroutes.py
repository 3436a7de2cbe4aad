"""TableRoutes: what one RouteTable comes to, with all that it delegates to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from meshpass.api.objectset import ObjectKey
from meshpass.ir import Route, WeightedBackend
from meshpass.translate.destination import Destination
from meshpass.translate.finding import Finding
from meshpass.translate.selection_class import RouteProperties


class PlacedRoute(NamedTuple):
    """A route, and the one port of the table's hosts that it is for; None: any."""

    port: int | None
    route: Route


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpRoute:
    """Where connections go that are passed on as they are."""

    name: str
    ports: tuple[int, ...]
    """Only connections to these ports; empty: any."""
    server_names: tuple[str, ...]
    """Of TLS: only connections that ask for one of these names. Empty for plain TCP."""
    backends: tuple[WeightedBackend, ...]
    """Empty: the route is wrong, and its connections are closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRoutes:
    """What one RouteTable comes to."""

    key: ObjectKey
    workspace: str
    labels: Mapping[str, str]
    """The table's own, by which gateways allow tables."""
    hosts: tuple[str, ...]
    """In their one form (lower case); empty for a table that others delegate to, which serves nothing by itself."""
    routes: tuple[PlacedRoute, ...]
    tcp: tuple[TcpRoute, ...]
    tls: tuple[TcpRoute, ...]
    classes: Mapping[str, RouteProperties]
    """The selection classes of the routes."""
    route_counts: Mapping[str, int]
    """Selection class → number of the table's routes in it."""
    requires_auth: bool
    """True for a table with the label that asks for denial by default."""
    destinations: tuple[Destination, ...]
    """Whatever the routes send to, each once."""
    children: tuple[ObjectKey, ...]
    """The tables that it delegates to, directly or through others."""
    broken: bool
    """True when some route could not be built and is answered 500 instead."""
    findings: tuple[Finding, ...]
    """What there is to say about this table, and about those that it delegates to."""
