"""Which tables a route delegates to, and in which order."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.objects import object_set, route_table

from meshpass.api.common import ObjectSelector
from meshpass.api.routetable import Delegate, RouteTable
from meshpass.memo import Memo
from meshpass.translate.tableindex import TableIndex, choose_children, index_tables, know_tables
from meshpass.translate.workspace import WorkspaceIndex

ROUTES: list[dict[str, Any]] = [{"directResponse": {"status": 200}}]


def index(*tables: dict[str, Any]) -> TableIndex:
    owners = {(cluster, space): "mesh" for cluster in ("cluster1", "cluster2") for space in ("httpbin", "team")}
    workspaces = WorkspaceIndex(owners=owners, read=frozenset(owners), selected={}, findings=())
    objects = object_set(*tables)
    return index_tables(know_tables(objects.all(RouteTable), workspaces, objects.problems, Memo()))["mesh"]


def names(tables: TableIndex, *selectors: ObjectSelector) -> list[str]:
    return [one.key.name for one in choose_children(Delegate(route_tables=selectors), tables)]


TABLES = index(
    route_table("young", created="2024-03-01T00:00:00Z", labels={"a": "1", "b": "2"}, http=ROUTES),
    route_table("old", created="2024-01-01T00:00:00Z", labels={"a": "1"}, http=ROUTES),
    route_table("heavy", created="2024-04-01T00:00:00Z", labels={"a": "1"}, http=ROUTES, weight=3),
    route_table("other", created="2024-02-01T00:00:00Z", namespace="team", cluster="cluster2", http=ROUTES),
    route_table("root", created="2023-01-01T00:00:00Z", labels={"a": "1"}, hosts=["www.example.com"], http=ROUTES),
    route_table("foreign", namespace="elsewhere", labels={"a": "1"}, http=ROUTES),
)


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        (ObjectSelector(), ["heavy", "old", "other", "young"]),
        (ObjectSelector(labels={"a": "1"}), ["heavy", "old", "young"]),
        (ObjectSelector(labels={"a": "1", "b": "2"}), ["young"]),
        (ObjectSelector(namespace="team"), ["other"]),
        (ObjectSelector(cluster="cluster2"), ["other"]),
        (ObjectSelector(name="old"), ["old"]),
        (ObjectSelector(name="old", labels={"b": "2"}), []),
        (ObjectSelector(name="root"), ["root"]),
        (ObjectSelector(name="foreign"), []),
        (ObjectSelector(workspace="mesh", name="old"), ["old"]),
        (ObjectSelector(workspace="other", name="old"), []),
    ],
)
def test_all_that_a_selector_says_has_to_hold(selector: ObjectSelector, found: list[str]) -> None:
    """A table with hosts is chosen by nothing but its name, so that its mistake is told; one of another workspace never."""
    assert names(TABLES, selector) == found


def test_the_heaviest_first_then_the_order_of_the_list_then_the_oldest() -> None:
    """Each table once, where it is first chosen."""
    assert names(TABLES, ObjectSelector(name="young"), ObjectSelector(labels={"a": "1"})) == ["heavy", "young", "old"]
    assert names(TABLES) == []


def test_what_could_not_be_read_of_a_table_is_kept() -> None:
    """It is for whoever translates the table."""
    broken = route_table("broken", http=ROUTES)
    broken["spec"]["nonsense"] = 1
    (known,) = index(broken).tables
    assert "spec.nonsense" in known.problems[0]


def test_tables_that_delegate() -> None:
    """One route is enough."""
    route = {"delegate": {"routeTables": [{"name": "x"}]}}
    tables = index(route_table("a", http=[*ROUTES, route]), route_table("b", http=ROUTES)).tables
    assert {one.key.name: one.delegates for one in tables} == {"a": True, "b": False}
