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

LabelSet = tuple[tuple[str, str], ...]
"""Labels that a workload has to have, all of them; none: any workload."""


class PlacedRoute(NamedTuple):
    """A route, and where it is used."""

    port: int | None
    """The one port of the table's hosts that it is for; None: any."""
    route: Route
    workloads: tuple[tuple[LabelSet, ...], ...] = ()
    """Of each group, a sidecar has to have the labels of one set: what delegated tables ask for beside the root."""

    def is_for(self, labels: Mapping[str, str]) -> bool:
        """True when a sidecar of a workload with these labels uses it."""
        return all(
            any(all(labels.get(name) == value for name, value in wanted) for wanted in group)
            for group in self.workloads
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableClasses:
    """The selection classes of a table's routes. One object for tables with the same, also over an edit."""

    properties: Mapping[str, RouteProperties]
    counts: Mapping[str, int]
    """Selection class → number of the table's routes in it."""


def make_table_classes(found: tuple[tuple[RouteProperties, int], ...]) -> TableClasses:
    """The classes of so many routes each; to be called through the memo, sorted."""
    named = [(properties.selection_class, properties, count) for properties, count in found]
    return TableClasses(
        properties={name: properties for name, properties, _ in named}, counts={name: count for name, _, count in named}
    )


def split_table_classes(classes: TableClasses) -> Mapping[str, TableClasses]:
    """Workspace → the classes of its routes: a table that delegates to other workspaces has routes of theirs."""
    properties: dict[str, dict[str, RouteProperties]] = {}
    for name, route in classes.properties.items():
        properties.setdefault(route.workspace, {})[name] = route
    if len(properties) == 1:
        return dict.fromkeys(properties, classes)
    return {
        workspace: TableClasses(properties=own, counts={name: classes.counts[name] for name in own})
        for workspace, own in properties.items()
    }


MatchedNames = tuple[frozenset[str], frozenset[str]]
"""The headers and the query parameters that routes match on."""


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
    delegated: bool
    """True for a table that names no hosts, and so serves only what others delegate to it."""
    hosts: tuple[str, ...]
    """In their one form (lower case)."""
    routes: tuple[PlacedRoute, ...]
    tcp: tuple[TcpRoute, ...]
    tls: tuple[TcpRoute, ...]
    classes: TableClasses
    matched: MatchedNames
    """What the routes look at of a request."""
    restricted: bool
    """True when not every sidecar that uses the table uses all of its routes."""
    requires_auth: bool
    """True for a table with the label that asks for denial by default."""
    destinations: tuple[Destination, ...]
    """Whatever the routes send to, each once."""
    parts: Mapping[ObjectKey, frozenset[str]]
    """This table, and those that it delegates to directly or through others → the classes of that one's own routes."""
    parents: Mapping[ObjectKey, frozenset[ObjectKey]]
    """Table that is delegated to → the tables that have routes that do so."""
    broken: bool
    """True when some route could not be built and is answered 500 instead."""
    findings: tuple[Finding, ...]
    """What there is to say about this table, and about those that it delegates to."""
