"""Failure mode FREEZE_CONFIG in a whole mesh: what a broken tree of tables serves, also after a restart."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.support.mesh import Mesh, running_mesh

pytestmark = pytest.mark.envoy

ROOT = """
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata: {{name: root, namespace: httpbin}}
spec:
  hosts: [frozen.example.com]
  failureMode: {mode}
  http:
  - {{name: own, matchers: [{{uri: {{exact: /own}}}}], directResponse: {{status: 200, body: {body}}}}}
  - {{name: rest, delegate: {{routeTables: [{{name: child, namespace: httpbin}}]}}}}
"""
CHILD = """
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata: {{name: child, namespace: httpbin}}
spec:
  http:
  - name: child
    forwardTo:
      destinations: [{{ref: {{name: {service}, namespace: httpbin}}, port: {{number: 8000}}}}]
"""


def answers(mesh: Mesh) -> tuple[str, int]:
    """What the root's own route says, and the status of the delegated one."""
    return (
        mesh.request("http://frozen.example.com/own").text,
        mesh.request("http://frozen.example.com/get").status,
    )


def told(mesh: Mesh) -> str:
    """What the root's status says, once the control plane has judged this generation."""
    deadline = time.monotonic() + 10
    while True:
        root = mesh.get("routetable", "root", context="cluster1")
        state = root.get("status", {}).get("common", {}).get("State", {})
        if state.get("observedGeneration") == root["metadata"]["generation"]:
            return f"{state['approval']}: {state.get('message', '')}"
        assert time.monotonic() < deadline, "the status was not written"
        time.sleep(0.05)


def test_a_broken_tree_stays_as_it_was_over_a_restart_and_goes_on_when_it_is_mended(tmp_path: Path) -> None:
    """Neither the edit of the root nor the child's is served as long as one of them is broken."""
    with running_mesh(directory=tmp_path / "mesh", apps=("httpbin",), clusters=1) as mesh:
        mesh.apply(CHILD.format(service="httpbin"), context="cluster1")
        mesh.apply(ROOT.format(mode="FREEZE_CONFIG", body="first"), context="cluster1")
        assert answers(mesh) == ("first", 200)
        assert told(mesh).startswith("ACCEPTED")

        mesh.apply(CHILD.format(service="nothing"), context="cluster1")
        mesh.apply(ROOT.format(mode="FREEZE_CONFIG", body="second"), context="cluster1")
        assert answers(mesh) == ("first", 200)
        assert told(mesh).startswith("WARNING")
        assert "what was accepted last is served" in told(mesh)

    with running_mesh(directory=tmp_path / "mesh", apps=("httpbin",), clusters=1) as mesh:
        assert answers(mesh) == ("first", 200)

        mesh.apply(CHILD.format(service="httpbin"), context="cluster1")
        assert answers(mesh) == ("second", 200)


def test_a_tree_that_breaks_under_another_mode_is_not_mended_by_freezing(tmp_path: Path) -> None:
    """Changing the failure mode while the tree is broken keeps the 500 of the broken route (behaviour §5.8)."""
    with running_mesh(directory=tmp_path / "mesh", apps=("httpbin",), clusters=1) as mesh:
        mesh.apply(CHILD.format(service="httpbin"), context="cluster1")
        mesh.apply(ROOT.format(mode="ROUTE_REPLACEMENT", body="first"), context="cluster1")
        mesh.apply(CHILD.format(service="nothing"), context="cluster1")
        assert answers(mesh) == ("first", 500)

        mesh.apply(ROOT.format(mode="FREEZE_CONFIG", body="second"), context="cluster1")
        assert answers(mesh) == ("second", 500)
