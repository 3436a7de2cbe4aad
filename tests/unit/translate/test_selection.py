"""Selection of destinations: by kind, port, name, place and label."""

from __future__ import annotations

import pytest
from tests.support.catalog import build_catalog, external_service, service, virtual_destination

from meshpass.api.common import DestinationKind, DestinationSelector, ObjectSelector, PortSelector, RouteSelector
from meshpass.api.objectset import ObjectKey
from meshpass.translate.selection import (
    ClassIndex,
    select_backing_destinations,
    select_classes,
    select_destinations,
)
from meshpass.translate.selection_class import DestinationPort, RouteProperties

ONE = ObjectKey("Service", "cluster1", "httpbin", "one")
TWO = ObjectKey("Service", "cluster2", "team", "two")
OUTSIDE = ObjectKey("ExternalService", "cluster1", "httpbin", "outside")
VIRTUAL = ObjectKey("VirtualDestination", "cluster1", "httpbin", "virtual")
CATALOG = build_catalog(
    service("one", http=80, admin=90, place={"labels": {"app": "one", "tier": "back"}}),
    service(
        "two", http=80, place={"cluster": "cluster2", "namespace": "team", "labels": {"app": "two", "tier": "back"}}
    ),
    service("foreign", http=80, place={"namespace": "elsewhere"}),
    external_service(
        hosts=["outside.example"], ports=[{"number": 80, "name": "http"}], place={"labels": {"app": "outside"}}
    ),
    virtual_destination(
        hosts=["virtual.example"],
        services=[{"labels": {"app": "one"}}],
        ports=[
            {"number": 8080, "protocol": "HTTP", "targetPort": {"name": "http"}},
            {"number": 9090, "protocol": "HTTP", "targetPort": {"number": 90}},
        ],
        place={"labels": {"app": "virtual"}},
    ),
)
ALL = {(ONE, 80), (ONE, 90), (TWO, 80)}


def select(*selectors: DestinationSelector) -> set[DestinationPort]:
    return set(select_destinations(selectors, "team", CATALOG))


def by(**fields: object) -> DestinationSelector:
    return DestinationSelector(selector=ObjectSelector(**fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param(DestinationSelector(), ALL, id="empty"),
        pytest.param(by(), ALL, id="empty-selector"),
        pytest.param(DestinationSelector(port=PortSelector()), ALL, id="empty-port"),
        pytest.param(DestinationSelector(port=PortSelector(number=90)), {(ONE, 90)}, id="number"),
        pytest.param(DestinationSelector(port=PortSelector(name="http")), {(ONE, 80), (TWO, 80)}, id="port-name"),
        pytest.param(by(name="two"), {(TWO, 80)}, id="name"),
        pytest.param(by(namespace="httpbin"), {(ONE, 80), (ONE, 90)}, id="namespace"),
        pytest.param(by(cluster="cluster2"), {(TWO, 80)}, id="cluster"),
        pytest.param(by(workspace="team"), ALL, id="workspace"),
        pytest.param(by(workspace="others"), set(), id="other-workspace"),
        pytest.param(by(labels={"tier": "back", "app": "two"}), {(TWO, 80)}, id="labels"),
        pytest.param(by(labels={"tier": "front"}), set(), id="no-such-label"),
        pytest.param(by(name="one", cluster="cluster2"), set(), id="all-must-hold"),
    ],
)
def test_a_selector(selector: DestinationSelector, expected: set[tuple[ObjectKey, int]]) -> None:
    """What it does not say does not narrow it; all that it says must hold."""
    assert select(selector) == expected


@pytest.mark.parametrize("kind", [kind for kind in DestinationKind if kind is not DestinationKind.SERVICE])
def test_other_kinds_select_no_service(kind: DestinationKind) -> None:
    """Their names mean something else."""
    assert select(DestinationSelector(kind=kind)) == set()


def test_selectors_add_up() -> None:
    """No selector selects nothing."""
    assert select(by(name="one"), by(name="two")) == ALL
    assert select() == set()


def back(**fields: object) -> set[DestinationPort]:
    wanted = DestinationSelector(kind=DestinationKind.VIRTUAL_DESTINATION, **fields)  # type: ignore[arg-type]
    return set(select_backing_destinations((wanted,), "team", CATALOG))


def test_a_virtual_destination_stands_for_the_service_ports_behind_it() -> None:
    """All of its ports, or the one that is named by its own number."""
    assert back() == {(ONE, 80), (ONE, 90)}
    assert back(port=PortSelector(number=9090)) == {(ONE, 90)}
    assert back(port=PortSelector(number=90)) == set()
    assert back(selector=ObjectSelector(labels={"app": "virtual"})) == {(ONE, 80), (ONE, 90)}
    assert back(selector=ObjectSelector(labels={"app": "one"})) == set()


def test_services_are_not_selected_as_what_is_behind_something() -> None:
    """That is the other function's part."""
    assert set(select_backing_destinations((DestinationSelector(),), "team", CATALOG)) == set()


def routes(*targets: DestinationPort) -> ClassIndex:
    properties = {
        f"to-{target[0].name}-{target[1]}": RouteProperties(
            workspace="team", cluster="cluster1", namespace="httpbin", labels=(), destinations=(target,)
        )
        for target in targets
    }
    return ClassIndex(properties=properties, by_label={}, tables={}, route_counts={})


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param(DestinationSelector(), {"to-one-80", "to-one-90"}, id="services"),
        pytest.param(by(labels={"tier": "back"}), {"to-one-80", "to-one-90"}, id="labels"),
        pytest.param(DestinationSelector(port=PortSelector(name="admin")), {"to-one-90"}, id="port-name"),
        pytest.param(DestinationSelector(kind=DestinationKind.EXTERNAL_SERVICE), {"to-outside-80"}, id="outside"),
        pytest.param(
            DestinationSelector(kind=DestinationKind.EXTERNAL_SERVICE, port=PortSelector(name="http")),
            {"to-outside-80"},
            id="outside-port",
        ),
        pytest.param(
            DestinationSelector(
                kind=DestinationKind.VIRTUAL_DESTINATION, selector=ObjectSelector(labels={"app": "virtual"})
            ),
            {"to-virtual-8080"},
            id="virtual",
        ),
        pytest.param(
            DestinationSelector(kind=DestinationKind.EXTERNAL_SERVICE, selector=ObjectSelector(name="one")),
            set(),
            id="another-kind",
        ),
    ],
)
def test_routes_are_selected_by_what_they_send_to(selector: DestinationSelector, expected: set[str]) -> None:
    """Of the kind that the selector says."""
    index = routes((ONE, 80), (ONE, 90), (OUTSIDE, 80), (VIRTUAL, 8080))

    assert select_classes((RouteSelector(with_destinations=selector),), (), index, CATALOG) == expected
