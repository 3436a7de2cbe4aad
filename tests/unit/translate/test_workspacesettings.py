"""Which settings hold for a workspace, and what the global ones change."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.objects import CLUSTER_ANNOTATION, MANAGEMENT_CLUSTER, object_set

from meshpass.api.admin import WorkspaceSettings
from meshpass.translate.workspacesettings import SettingsIndex, index_settings

OWNERS = {"a1": "a", "a2": "a", "b1": "b", "gloo-mesh": "a"}
ALL = [{"workspaces": [{"name": "*"}]}]
ONE = [{"workspaces": [{"name": "b"}]}]


def settings(name: str, namespace: str, created: str = "2024-01-01T00:00:00Z", **spec: Any) -> dict[str, Any]:
    cluster = spec.pop("cluster", MANAGEMENT_CLUSTER)
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "creationTimestamp": created}
    metadata["annotations"] = {CLUSTER_ANNOTATION: cluster}
    return {"apiVersion": "admin.gloo.solo.io/v2", "kind": "WorkspaceSettings", "metadata": metadata, "spec": spec}


def index(*manifests: dict[str, Any]) -> SettingsIndex:
    objects = object_set(*manifests)
    return index_settings(
        objects.all(WorkspaceSettings),
        frozenset({"a", "b"}),
        lambda key: OWNERS.get(key.namespace),
        objects.problems,
        MANAGEMENT_CLUSTER,
    )


def names(found: Any) -> list[str]:
    return [one.name for entry in found for one in entry.workspaces]


def test_settings_of_any_namespace_and_cluster_hold_for_the_workspace() -> None:
    """And for no other."""
    found = index(settings("any", "a2", cluster="cluster2", exportTo=ALL, options={"trimAllProxyConfig": True}))
    assert (names(found.of("a").export_to), found.of("a").options.trim_all_proxy_config) == (["*"], True)
    assert (found.of("b").key, found.of("b").export_to, found.of("b").options.trim_all_proxy_config) == (
        None,
        (),
        False,
    )
    assert found.of(None).key is None


def test_the_oldest_hold() -> None:
    """Each younger one is told which; of one age the order is that of policies."""
    found = index(
        settings("z", "a1", "2024-01-02T00:00:00Z", exportTo=ONE),
        settings("y", "a2", "2024-01-01T00:00:00Z", exportTo=ALL),
        settings("x", "a2", "2024-01-02T00:00:00Z"),
        settings("elsewhere", "nobody", "2020-01-01T00:00:00Z", exportTo=ONE),
    )
    assert names(found.of("a").export_to) == ["*"]
    assert sorted(finding.key.name for finding in found.findings) == ["x", "z"]
    assert all("the older WorkspaceSettings a2/y of cluster mgmt" in finding.message for finding in found.findings)


def test_global_settings_override_field_by_field() -> None:
    """What they do not speak of stays what the workspace says; workspaces without settings have them too."""
    own = settings(
        "own",
        "a1",
        importFrom=ONE,
        exportTo=ONE,
        options={"federation": {"enabled": True, "hostSuffix": "own"}, "serviceIsolation": {"enabled": True}},
    )
    of_all = settings("global", "gloo-mesh", exportTo=ALL, options={"federation": {"enabled": False}})
    found = index(own, of_all)
    a, b = found.of("a"), found.of("b")

    assert (names(a.import_from), names(a.export_to), names(b.export_to)) == (["b"], ["*"], ["*"])
    assert a.options.federation is not None
    assert a.options.service_isolation is not None
    assert (a.options.federation.host_suffix, a.options.service_isolation.enabled) == ("", True)
    assert a.overridden == ("spec.exportTo", "spec.options.federation")
    assert (found.global_key is not None, b.key, b.overridden) == (True, None, ())


@pytest.mark.parametrize(
    ("name", "namespace", "cluster"),
    [
        ("global", "gloo-mesh", "cluster1"),
        ("global", "a1", MANAGEMENT_CLUSTER),
        ("other", "gloo-mesh", MANAGEMENT_CLUSTER),
    ],
)
def test_only_one_place_is_for_all(name: str, namespace: str, cluster: str) -> None:
    """Anything else is the settings of the workspace that it is in."""
    found = index(settings(name, namespace, cluster=cluster, exportTo=ALL))
    assert (found.global_key, found.of("b").export_to, names(found.of("a").export_to)) == (None, (), ["*"])


@pytest.mark.parametrize(
    ("spec", "imports", "exports", "isolated"),
    [
        ({"exportTo": [{"workspaces": [{"name": "*"}], "resources": [{"nam": "x"}]}]}, ["b"], [], False),
        ({"importFrom": [{"workspaces": [{"name": 7}]}]}, [], ["*"], False),
        ({"options": {"serviceIsolation": {"enabled": "yes"}}}, ["b"], ["*"], True),
        ({"options": {"serviceIsolatoin": {"enabled": True}}}, ["b"], ["*"], True),
        ({"options": {"trimAllProxyConfig": "no"}}, ["b"], ["*"], False),
        ({"optoins": {}}, [], [], True),
    ],
)
def test_what_cannot_be_read_shares_nothing(
    spec: dict[str, Any], imports: list[str], exports: list[str], isolated: bool
) -> None:
    """Each part by itself: a lost condition would share more, and a lost isolation let everybody in."""
    found = index(settings("broken", "a1", **({"importFrom": ONE, "exportTo": ALL} | spec))).of("a")
    isolation = found.options.service_isolation
    assert ([name for name in names(found.import_from) if name], names(found.export_to)) == (imports, exports)
    assert (isolation is not None and isolation.enabled) is isolated
