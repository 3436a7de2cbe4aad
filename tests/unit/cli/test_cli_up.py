"""``up`` takes a list of sample apps, and knows which there are."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from meshpass.cli.main import build_app
from meshpass.cli.mesh import complete_apps


@pytest.mark.parametrize(
    ("begun", "offered"),
    [
        ("", ["httpbin", "productpage", "details", "ratings", "reviews", "helloworld"]),
        ("r", ["ratings", "reviews"]),
        ("httpbin,re", ["httpbin,reviews"]),
        ("ratings,reviews,r", []),
        ("x", []),
    ],
)
def test_a_shell_completes_names_of_apps(begun, offered):
    """Behind the last comma, without those that are there already."""
    assert complete_apps(begun) == offered


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        (["--apps", "httpbn"], "the mesh file has no sample app httpbn", "did you mean httpbin?"),
        (["--apps", "httpbin,nothing"], "the mesh file has no sample app nothing", "its sample apps: httpbin, product"),
        (
            ["--apps", "httpbin", "--apps", ""],
            "the mesh file has no sample app ''",
            "its sample apps: httpbin, product",
        ),
    ],
)
def test_an_app_that_is_not_there_is_named_before_anything_starts(tmp_path, given, message, hint):
    """With those that are there."""
    found = CliRunner().invoke(build_app(), ["up", "--dir", str(tmp_path / "mesh"), *given])

    assert found.exit_code == 1
    assert f"error: {message}\n" in found.stderr
    assert f"hint: {hint}" in found.stderr
    assert not (tmp_path / "mesh").exists()
