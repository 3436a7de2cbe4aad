"""What Workspaces and their settings are told, beside what the golden cases show, and how little an edit costs."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.objects import (
    CLUSTER_ANNOTATION,
    MANAGEMENT_CLUSTER,
    object_set,
    read_objects,
    route_table,
    translate_objects,
)

from meshpass.api.admin import KubernetesCluster, Workspace, WorkspaceSettings
from meshpass.api.core import Namespace
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.memo import Memo
from meshpass.translate.report import ObjectReport
from meshpass.translate.sharedobject import SharedCounts, count_shared
from meshpass.translate.workspace import index_workspaces

Manifest = dict[str, Any]
NAMES = ("a", "b", "c", "d", "e", "f")


def manifest(kind: str, name: str, namespace: str = "", cluster: str = MANAGEMENT_CLUSTER, **spec: Any) -> Manifest:
    metadata: Manifest = {"name": name, "annotations": {CLUSTER_ANNOTATION: cluster}}
    if namespace:
        metadata["namespace"] = namespace
    version = "v1" if kind == "Namespace" else "admin.gloo.solo.io/v2"
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **({"spec": spec} if spec else {})}


def settings(workspace: str, **spec: Any) -> Manifest:
    return manifest("WorkspaceSettings", "settings", workspace, **spec)


def offer(*names: str, **resource: Any) -> list[Manifest]:
    return [{"workspaces": [{"name": name} for name in names], **({"resources": [resource]} if resource else {})}]


def world(*manifests: Manifest) -> ObjectSet:
    """A workspace for each name, with the namespace of that name in every cluster."""
    objects = [
        manifest("Workspace", name, "gloo-mesh", workloadClusters=[{"name": "*", "namespaces": [{"name": name}]}])
        for name in NAMES
    ]
    objects += [manifest("Namespace", name) for name in NAMES]
    return object_set(*objects, *manifests)


def report(objects: ObjectSet, kind: str, name: str, namespace: str) -> ObjectReport:
    return translate_objects(objects).report.objects[ObjectKey(kind, MANAGEMENT_CLUSTER, namespace, name)]


def messages(workspace: str, *manifests: Manifest) -> list[str]:
    return [str(one) for one in report(world(*manifests), "WorkspaceSettings", "settings", workspace).findings]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["b"], "spec.importFrom[0].workspaces[0]: workspace b exports nothing of this to workspace a"),
        (
            ["*"],
            (
                "spec.importFrom[0].workspaces[0]: "
                "none of the workspaces b, c, d and 2 more exports anything of this to workspace a"
            ),
        ),
        (["a"], "spec.importFrom[0].workspaces[0]: there is no other workspace a"),
    ],
)
def test_an_import_without_an_export_names_both_sides(names: list[str], message: str) -> None:
    """Of many, some: a status is not for lists."""
    assert messages("a", settings("a", importFrom=offer(*names))) == [message]


def test_a_pattern_is_content_with_one_of_its_workspaces() -> None:
    """Who imports from everybody need not be told of each that exports nothing."""
    found = messages(
        "a", settings("a", importFrom=offer("*")), settings("b", exportTo=offer("a")), _table("b", "shared")
    )
    assert found == []


def test_sides_that_agree_on_nothing_are_told() -> None:
    """The selectors of resources exclude each other."""
    pair = (
        settings("a", importFrom=offer("b", kind="SERVICE")),
        settings("b", exportTo=offer("a", kind="ROUTE_TABLE")),
    )
    assert messages("a", *pair) == [
        "spec.importFrom[0].workspaces[0]: workspace b exports nothing of this to workspace a"
    ]
    assert messages("b", *pair) == [
        "spec.exportTo[0].workspaces[0]: workspace a imports nothing of this from workspace b"
    ]


def test_a_resource_that_the_others_do_not_import_is_told_by_itself() -> None:
    """Beside one that they do."""
    resources = [{"kind": "SERVICE"}, {"kind": "ROUTE_TABLE"}]
    found = messages(
        "b",
        settings("a", importFrom=offer("b", kind="ROUTE_TABLE")),
        settings("b", exportTo=[{"workspaces": [{"name": "a"}], "resources": resources}]),
        _table("b", "shared"),
    )
    assert found == ["spec.exportTo[0].resources[0]: none of these workspaces imports such objects"]


def _table(workspace: str, name: str, *, labels: dict[str, str] | None = None, status: int = 200) -> Manifest:
    http = [{"directResponse": {"status": status}}]
    return route_table(name, cluster=MANAGEMENT_CLUSTER, namespace=workspace, labels=labels or {}, http=http)


def test_counts_are_of_what_is_had_offered_and_taken_in() -> None:
    """An object that two selectors offer is one object; one that nobody imports is offered all the same."""
    objects = world(
        settings("a", exportTo=[*offer("b", labels={"x": "1"}), *offer("c", name="one")]),
        settings("b", importFrom=offer("*")),
        _table("a", "one", labels={"x": "1"}),
        _table("a", "two"),
        _table("b", "three"),
    )
    kind = "networking.gloo.solo.io/v2, Kind=RouteTable"
    counts = {name: report(objects, "Workspace", name, "gloo-mesh").counts for name in ("a", "b", "c")}
    assert counts["a"]["numResources"] == {kind: {"imported": 0, "exported": 1, "private": 1}}
    assert counts["b"]["numResources"] == {kind: {"imported": 1, "exported": 0, "private": 1}}
    assert counts["c"]["numResources"] == {}
    assert [counts[name]["numImportedWorkspaces"] for name in ("a", "b", "c")] == [0, 1, 0]


def test_an_edit_of_an_object_counts_nothing_anew() -> None:
    """As long as its labels and its place stay: what is shared is the same object."""
    memo = Memo()
    before = world(settings("a", exportTo=offer("b")), settings("b", importFrom=offer("a")), _table("a", "one"))
    after = before.with_changes(read_objects(_table("a", "one", status=204)))
    assert after is not before
    first = _count(before, memo)
    assert _count(after, memo) is first
    moved = after.with_changes(read_objects(_table("b", "one")))
    assert _count(moved, memo) is not _count(after, memo)


def _count(objects: ObjectSet, memo: Memo) -> SharedCounts:
    workspaces = memo(
        index_workspaces,
        objects.all(Workspace),
        objects.all(KubernetesCluster),
        objects.all(Namespace),
        MANAGEMENT_CLUSTER,
        objects.all(WorkspaceSettings),
        (),
    )
    return count_shared(objects, workspaces, memo)
