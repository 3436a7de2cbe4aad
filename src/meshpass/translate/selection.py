"""Selection: which routes and destinations a policy is for (behaviour §2.1, 2.4 and later)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meshpass.api.common import DestinationKind, DestinationSelector, RouteLabelSelector, RouteSelector
from meshpass.api.objectset import ObjectKey
from meshpass.translate.catalog import Catalog
from meshpass.translate.destination import KINDS
from meshpass.translate.selection_class import DestinationPort, RouteProperties


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassIndex:
    """The selection classes of one workspace, found by label."""

    properties: Mapping[str, RouteProperties]
    by_label: Mapping[tuple[str, str], tuple[str, ...]]
    tables: Mapping[str, tuple[ObjectKey, ...]]
    """Class → the tables that have routes of it."""
    route_counts: Mapping[str, int]


def select_classes(
    routes: tuple[RouteSelector, ...],
    destinations: tuple[DestinationSelector, ...],
    index: ClassIndex,
    catalog: Catalog,
) -> frozenset[str]:
    """The classes of routes that a policy selects."""
    if not routes:
        return frozenset() if destinations else frozenset(index.properties)
    found: set[str] = set()
    for selector in routes:
        found.update(_select(selector, index, catalog))
    return frozenset(found)


def select_destinations(
    destinations: tuple[DestinationSelector, ...], workspace: str, catalog: Catalog
) -> frozenset[DestinationPort]:
    """The Service ports that a policy selects by Services, those of its workspace."""
    return frozenset(
        (service.key, port.number)
        for wanted in destinations
        if wanted.kind is DestinationKind.SERVICE
        for service in catalog.services_by_workspace.get(workspace, ())
        for port in service.ports
        if _is_destination(wanted, service.key, port.number, port.name, workspace, service.labels)
    )


def select_backing_destinations(
    destinations: tuple[DestinationSelector, ...], workspace: str, catalog: Catalog
) -> frozenset[DestinationPort]:
    """The Service ports that a policy selects by the VirtualDestinations that they back (decision 1).

    A policy that selects the Service itself beats one that selects it here, whichever is older.
    """
    return frozenset(
        target
        for wanted in destinations
        if wanted.kind is DestinationKind.VIRTUAL_DESTINATION
        for virtual in catalog.virtual_destinations.values()
        if virtual.workspace == workspace
        for port in virtual.ports
        if _is_destination(wanted, virtual.key, port.number, port.name, workspace, virtual.labels)
        for target in port.services
    )


def _select(selector: RouteSelector, index: ClassIndex, catalog: Catalog) -> Iterable[str]:
    if selector.with_destinations is not None:
        wanted = selector.with_destinations
        return (name for name, route in index.properties.items() if _sends_to(wanted, route, catalog))
    if selector.route is None:
        return index.properties
    route = selector.route
    return (name for name in _candidates(route, index) if _matches(route, index.properties[name]))


def _candidates(route: RouteLabelSelector, index: ClassIndex) -> Iterable[str]:
    """The smallest set of classes that a label narrows to; all without labels."""
    if not route.labels:
        return index.properties
    return min((index.by_label.get(label, ()) for label in route.labels.items()), key=len)


def _matches(route: RouteLabelSelector, properties: RouteProperties) -> bool:
    return (
        (not route.namespace or route.namespace == properties.namespace)
        and (not route.cluster or route.cluster == properties.cluster)
        and (not route.workspace or route.workspace == properties.workspace)
        and _has_labels(route.labels, dict(properties.labels))
    )


def _has_labels(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in wanted.items())


def _sends_to(wanted: DestinationSelector, properties: RouteProperties, catalog: Catalog) -> bool:
    return any(
        _is_destination(
            wanted,
            key,
            number,
            catalog.port_name(key, number),
            catalog.workspaces.place_owner(key) or properties.workspace,
            catalog.labels(key),
        )
        for key, number in properties.destinations
    )


def _is_destination(  # noqa: PLR0917
    wanted: DestinationSelector,
    key: ObjectKey,
    number: int,
    name: str,
    workspace: str,
    labels: Mapping[str, str],
) -> bool:
    if KINDS[wanted.kind] != key.kind:
        return False
    if wanted.port is not None and wanted.port.number not in {None, number}:
        return False
    if wanted.port is not None and wanted.port.name not in {None, name}:
        return False
    selector = wanted.selector
    return selector is None or (
        (not selector.name or selector.name == key.name)
        and (not selector.namespace or selector.namespace == key.namespace)
        and (not selector.cluster or selector.cluster == key.cluster)
        and (not selector.workspace or selector.workspace == workspace)
        and _has_labels(selector.labels, labels)
    )
