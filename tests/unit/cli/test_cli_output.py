"""Talk goes to standard error, data to standard output, both readable without colour."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from meshpass.cli.duration import parse_duration
from meshpass.cli.main import build_app
from meshpass.cli.output import render_table, say_announcement
from meshpass.errors import MeshpassError
from meshpass.localmesh.announcement import Announcement

COMMANDS = [
    *("up", "down", "status", "wait", "stop", "start", "check", "env", "exec", "demo", "apply", "get", "delete"),
    *("logs", "api-server", "management-server", "agent"),
]
TOKEN_COMMANDS = ["create", "decode", "key create", "key public"]


@pytest.mark.parametrize(
    "command",
    [*COMMANDS, "jwks", "jwks refresh", "crds print", "crds install", "rbac print"]
    + ["cluster register", "cluster deregister", "cluster list"]
    + ["identity show", "identity rotate-root", "identity rotate-intermediate"]
    + [f"token {command}" for command in TOKEN_COMMANDS],
)
def test_every_help_has_examples(command):
    """One per line, as they are typed."""
    found = CliRunner().invoke(build_app(), [*command.split(), "--help"])

    assert found.exit_code == 0
    examples = found.stdout.partition("Examples:\n")[2].splitlines()
    assert any(f"meshpass {command}" in line for line in examples)


def test_the_list_of_commands_is_complete():
    """And says of each what it does."""
    found = CliRunner().invoke(build_app(), ["--help"]).stdout

    assert [line.split()[0] for line in found.partition("Commands:\n")[2].splitlines() if line[2:3].strip()] == [
        *COMMANDS,
        "cluster",
        "identity",
        "jwks",
        "token",
        "crds",
        "rbac",
    ]


def test_the_version_is_data():
    """On standard output."""
    assert CliRunner().invoke(build_app(), ["--version"]).stdout.startswith("meshpass 0.")


def test_help_imports_nothing_heavy():
    """Neither gRPC nor an HTTP client nor cryptography: help is there at once."""
    code = (
        "import sys\nfrom meshpass.cli.main import build_app\nbuild_app()\n"
        "print([name for name in ('grpc', 'httpx', 'httpx2', 'cryptography', 'uvicorn', 'yaml', 'msgspec') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_tables_are_kubectls():
    """Three spaces between columns, none at the end."""
    assert render_table(("A", "LONG"), [("aaaa", "b"), ("c", "")]) == "A      LONG\naaaa   b\nc"


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10), ("500ms", 0.5), ("1h30m", 5400), ("7", 7), ("1.5m", 90)])
def test_durations(text, seconds):
    """As people write them."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "10 s", "-1s", "1y", "10s5"])
def test_what_is_no_duration(text):
    """The hint shows some."""
    with pytest.raises(MeshpassError, match="is no duration"):
        parse_duration(text)


def test_no_mesh_is_an_error_with_a_hint(tmp_path):
    """Exit code 1, nothing on standard output."""
    for command in (["status"], ["wait"], ["env"], ["get", "pods"], ["exec", "client", "--", "true"]):
        found = CliRunner().invoke(build_app(), [*command, "--dir", str(tmp_path)])
        assert (found.exit_code, found.stdout) == (1, "")
        assert found.stderr.startswith("error: no mesh is running on")
        assert "\n\nhint: start one with" in found.stderr


def test_trouble_does_not_look_like_a_step(capsys):
    """A tick for what is done, a cross for what should not have happened."""
    say_announcement(Announcement(text="2 proxies in sync"))
    say_announcement(Announcement(text="the sidecar ended", trouble=True))

    assert capsys.readouterr().err == "✓ 2 proxies in sync\n✗ the sidecar ended\n"


def test_down_without_a_mesh_is_fine(tmp_path):
    """What was asked for is so."""
    found = CliRunner().invoke(build_app(), ["down", "--dir", str(tmp_path)])

    assert (found.exit_code, found.stdout) == (0, "")
