"""Selection of destinations: by kind, port, name, place and label."""

from __future__ import annotations

import pytest

from meshpass.api.common import DestinationKind, DestinationSelector, ObjectSelector, PortSelector
from meshpass.api.objectset import ObjectKey
from meshpass.translate.selection import select_destinations
from meshpass.translate.service import ServiceEntry, ServicePort

ONE = ObjectKey("Service", "cluster1", "httpbin", "one")
TWO = ObjectKey("Service", "cluster2", "other", "two")
HTTP, ADMIN = ServicePort(name="http", number=80), ServicePort(name="admin", number=90)
SERVICES = {
    ONE: ServiceEntry(key=ONE, labels={"app": "one", "tier": "back"}, ports=(HTTP, ADMIN)),
    TWO: ServiceEntry(key=TWO, labels={"app": "two", "tier": "back"}, ports=(HTTP,)),
}
ALL = {(ONE, 80), (ONE, 90), (TWO, 80)}


def select(*selectors: DestinationSelector) -> set[tuple[ObjectKey, int]]:
    return set(select_destinations(selectors, "team", SERVICES))


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
