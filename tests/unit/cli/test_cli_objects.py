"""Manifests are read as kubectl reads them, and strictly; tables look like kubectl's."""

from __future__ import annotations

import io

import pytest

from meshpass.cli.objects import read_manifests, render_objects
from meshpass.errors import MeshpassError

POLICY = """
apiVersion: security.policy.gloo.solo.io/v2
kind: JWTPolicy
metadata: {name: p}
spec: {config: {providers: {a: {tokenSource: {queryParameters: [t]}}}}}
"""
NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n"


def names(*files):
    return [raw["metadata"]["name"] for raw in read_manifests([str(file) for file in files])]


def test_files_directories_and_standard_input(tmp_path, monkeypatch):
    """In the order given; of a directory .yaml, .yml and .json by name."""
    (tmp_path / "one.yaml").write_text(NAMESPACE % "a" + "---\n" + NAMESPACE % "b")
    directory = tmp_path / "many"
    directory.mkdir()
    (directory / "2.yml").write_text(NAMESPACE % "d")
    (directory / "1.json").write_text('{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "c"}}')
    (directory / "notes.txt").write_text("not a manifest")
    monkeypatch.setattr("sys.stdin", io.StringIO(NAMESPACE % "e"))

    assert names(tmp_path / "one.yaml", directory, "-") == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "x.yaml: "),
        ("apiVersion: v1\nkind: Pod\n", "x.yaml: metadata.name: required"),
        (
            POLICY,
            "x.yaml: spec.config.providers[a].tokenSource.queryParameters: unknown field, did you mean queryParams?",
        ),
    ],
)
def test_mistakes_are_named_by_file_and_field(tmp_path, text, message):
    """An unknown field of one of our kinds never gets as far as a server."""
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(MeshpassError) as caught:
        names(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(("name", "message"), [("none.yaml", "No such file"), ("", "holds no .yaml")])
def test_what_cannot_be_read_is_named(tmp_path, name, message):
    """A missing file, a directory without manifests."""
    with pytest.raises(MeshpassError, match=message):
        names(tmp_path / name)


TABLE = {
    "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "Age"}, {"name": "Message", "priority": 1}],
    "rows": [
        {"cells": ["a", "5s", "why"], "object": {"metadata": {"namespace": "n"}}},
        {"cells": ["bbbb", None, ""], "object": {"metadata": {"namespace": "n"}}},
    ],
}


def test_tables():
    """Columns of priority 0; with ``wide`` all; with all namespaces theirs first."""
    assert render_objects(TABLE, wide=False, namespaces=False) == "NAME   AGE\na      5s\nbbbb"
    assert render_objects(TABLE, wide=True, namespaces=True) == (
        "NAMESPACE   NAME   AGE   MESSAGE\nn           a      5s    why\nn           bbbb"
    )
    assert render_objects({**TABLE, "rows": []}, wide=False, namespaces=False) is None
