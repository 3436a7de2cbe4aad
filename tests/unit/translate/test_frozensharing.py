"""Frozen tables and what other workspaces share with them no more."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.objects import BASE, CLIENT, CLUSTER_ANNOTATION, NO_KEY_SETS, SETTINGS, object_set, route_table

from meshpass.ir import DirectResponse
from meshpass.memo import Memo
from meshpass.translate import Translation, translate
from meshpass.translate.freeze import FrozenTrees

Manifest = dict[str, Any]
BROKEN = {
    "name": "broken",
    "matchers": [{"uri": {"prefix": "/b"}}],
    "forwardTo": {"destinations": [{"ref": {"name": "no"}}]},
}
CHILD = route_table("child", namespace="web", labels={"a": "1"}, http=[{"directResponse": {"status": 200}}])
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "theirs", "namespace": "web"},
    "spec": {"ports": [{"name": "http", "port": 80}]},
}
DELEGATES = {"name": "child", "delegate": {"routeTables": [{"name": "child", "namespace": "web"}]}}
SENDS = {
    "name": "sends",
    "forwardTo": {"destinations": [{"ref": {"name": "theirs", "namespace": "web"}, "port": {"number": 80}}]},
}


def admin(kind: str, name: str, namespace: str, **spec: Any) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": "2024-01-01T00:00:00Z"}
    annotations = {CLUSTER_ANNOTATION: "mgmt" if kind == "Workspace" else "cluster1"}
    return {
        "apiVersion": "admin.gloo.solo.io/v2",
        "kind": kind,
        "metadata": {**metadata, "annotations": annotations},
        "spec": spec,
    }


def workspace(name: str, namespace: str) -> Manifest:
    return admin("Workspace", name, "gloo-mesh", workloadClusters=[{"name": "*", "namespaces": [{"name": namespace}]}])


def run(
    *http: Manifest, exported: list[Manifest] | None, kept: FrozenTrees | None = None, child: bool = True
) -> Translation:
    """A frozen table of workspace mesh, which imports all that web exports: these resources."""
    offer = [{"workspaces": [{"name": "mesh"}], "resources": exported}] if exported is not None else []
    manifests = [
        workspace("mesh", "httpbin"),
        workspace("web", "web"),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "web"}},
        admin("WorkspaceSettings", "s", "httpbin", importFrom=[{"workspaces": [{"name": "web"}]}]),
        admin("WorkspaceSettings", "s", "web", exportTo=offer),
        SERVICE,
        *([CHILD] if child else []),
        route_table(hosts=["www.example.com"], failureMode="FREEZE_CONFIG", http=list(http)),
    ]
    return translate(object_set(BASE, *manifests), NO_KEY_SETS, SETTINGS, Memo(), kept or {})


def statuses(translation: Translation) -> list[int | None]:
    (configuration,) = translation.proxies[CLIENT].routes
    routes = [route for host in configuration.virtual_hosts if host.name == "www.example.com" for route in host.routes]
    return [one.action.status if isinstance(one.action, DirectResponse) else None for one in routes]


@pytest.mark.parametrize(("route", "answer"), [(DELEGATES, 200), (SENDS, None)])
def test_what_is_still_shared_stays_frozen(route: Manifest, answer: int | None) -> None:
    """A mistake of the table's own changes nothing about what it took from others."""
    sound = run(route, exported=[{}])
    assert statuses(sound) == [answer]
    assert statuses(run(BROKEN, route, exported=[{}], kept=sound.trees)) == [answer]


@pytest.mark.parametrize("route", [DELEGATES, SENDS])
@pytest.mark.parametrize("exported", [None, [{"kind": "EXTERNAL_SERVICE"}], [{"labels": {"a": "2"}}]])
def test_what_is_shared_no_more_is_not_kept(route: Manifest, exported: list[Manifest] | None) -> None:
    """The tree is forgotten, whoever breaks it: its owner took it back."""
    sound = run(route, exported=[{}])
    taken = run(route, exported=exported, kept=sound.trees)
    assert statuses(taken) == [500]
    assert statuses(run(BROKEN, route, exported=[{}], kept=taken.trees)) == [500, None if route is SENDS else 200]


def test_a_table_that_is_gone_is_no_table_that_was_taken_back() -> None:
    """As long as its workspace shares anything with that of its parent."""
    sound = run(DELEGATES, exported=[{"kind": "ROUTE_TABLE", "name": "child"}])
    assert statuses(run(DELEGATES, exported=[{"kind": "ROUTE_TABLE"}], kept=sound.trees, child=False)) == [200]
    assert statuses(run(DELEGATES, exported=None, kept=sound.trees, child=False)) == [500]
