"""Clusters as people read and name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshpass.api.manifest import decode_strict
from meshpass.cli.cluster import agent_command, cluster_manifest, cluster_rows, parse_labels, render_clusters
from meshpass.errors import MeshpassError
from meshpass.localmesh.directory import ClusterRecord, MeshRecord, StateDirectory

CONNECTED = {"cluster": "c1", "registered": True, "connected": True, "sinceSeconds": 65.0, "refused": ""}
REFUSED = {"cluster": "c9", "registered": False, "connected": False, "sinceSeconds": None, "refused": "not registered"}


def test_labels():
    """A value may hold anything, a key has to be there."""
    assert parse_labels(["region=eu", "tier=a=b", "empty="]) == {"region": "eu", "tier": "a=b", "empty": ""}
    for wrong in ("region", "=eu"):
        with pytest.raises(MeshpassError, match="is no KEY=VALUE"):
            parse_labels([wrong])


def test_the_manifest_is_a_cluster():
    """By the strict schema, in the namespace of admin objects."""
    found = cluster_manifest("c3", {"region": "eu"})
    decode_strict(found)

    assert found["metadata"] == {"name": "c3", "namespace": "gloo-mesh", "labels": {"region": "eu"}}
    assert "labels" not in cluster_manifest("c3", {})["metadata"]


def test_the_table_of_clusters():
    """Those that are registered, whether somebody came for them or not, and those who came without being so."""
    rows = cluster_rows(["c1", "c2"], [CONNECTED, REFUSED])

    assert render_clusters(rows).splitlines() == [
        "CLUSTER   REGISTERED   CONNECTED   SINCE   REFUSED",
        "c1        yes          yes         1m5s    -",
        "c2        yes          no          -       -",
        "c9        no           no          -       not registered",
    ]


def test_a_cluster_that_was_just_deregistered_is_not_there_any_more():
    """Although the management server has not heard of that."""
    assert cluster_rows([], [{**CONNECTED, "connected": False}]) == []
    assert [row["registered"] for row in cluster_rows([], [CONNECTED])] == [False]


def test_without_the_management_server_it_is_not_known_who_is_connected():
    """Which clusters are registered, the API server says."""
    assert cluster_rows(["c1"], None) == [
        {"cluster": "c1", "registered": True, "connected": None, "sinceSeconds": None, "refused": None}
    ]
    assert "unknown" in render_clusters(cluster_rows(["c1"], None))


def test_the_agents_command_line_is_one_that_it_takes():
    """But for what only its user knows."""
    from typer.testing import CliRunner

    from meshpass.cli.main import build_app

    record = MeshRecord(
        pid=1,
        ready=True,
        run_directory="/run",
        clusters=(ClusterRecord(name="mgmt", management=True, port=1),),
        relay_port=9900,
        trust_domain="example.com",
    )
    command = agent_command(record, StateDirectory(path=Path("/a b")), "c3", Path("/credentials"))
    known = CliRunner().invoke(build_app(), ["agent", "--help"]).stdout

    assert "--server 127.0.0.1:9900" in command
    assert "--directory '/a b/agents/c3'" in command
    assert [word for word in command.split() if word.startswith("--") and word not in known] == []
