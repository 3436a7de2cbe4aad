"""The demo runs the guide on a mesh of its own and checks every answer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.envoy


def run_meshpass(*arguments: str, directory: Path, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "meshpass.cli.main", *arguments],
        env={**os.environ, "TMPDIR": str(directory), "NO_COLOR": "1"},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def children_of(directory: Path) -> list[str]:
    """Command lines of the processes that have to do with the directory."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(directory) in line and process.pid != os.getpid():
            found.append(line)
    return found


@pytest.fixture
def short_directory():
    """Unix sockets need short paths; pytest's own directories are long."""
    directory = Path(f"/tmp/mp-{os.getpid()}")
    directory.mkdir(mode=0o700)
    yield directory
    shutil.rmtree(directory)


def test_the_demo_gives_the_answers_of_the_guide_and_leaves_nothing(short_directory):
    """401 with the challenge, 200 with the claims as headers and no args; afterwards no process and no file."""
    done = run_meshpass("demo", directory=short_directory)

    assert done.returncode == 0, done.stdout + done.stderr
    steps = [
        "HTTP/1.1 200 OK",
        'www-authenticate: Bearer realm="http://www.example.com/get"',
        "Jwt is missing",
        '"email": "dev1@solo.io"',
        '"args": {}',
        '"X-Email": [',
        '"X-Org": [',
        "no route in the mesh for www.example.com",
    ]
    position = 0
    for step in steps:
        position = done.stdout.find(step, position)
        assert position >= 0, f"{step} is missing or out of order in:\n{done.stdout}"
    assert "HTTP/1.1 401 Unauthorized" in done.stdout
    assert "Every answer is as the guide shows." in done.stderr
    assert children_of(short_directory) == []
    assert list(short_directory.iterdir()) == []


def test_a_kept_demo_goes_on_until_down(short_directory):
    """With --keep the mesh answers afterwards, and the printed way down ends it."""
    done = run_meshpass("demo", "--keep", directory=short_directory)
    directory = next(short_directory.iterdir())
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"export MESHPASS_DIR={directory / 'mesh'}" in done.stderr
        status = run_meshpass("status", "--dir", str(directory / "mesh"), directory=short_directory)
        assert status.stdout.count("in sync") == 4
    finally:
        down = run_meshpass("down", "--dir", str(directory / "mesh"), directory=short_directory)
    assert down.returncode == 0
    assert children_of(short_directory) == []
