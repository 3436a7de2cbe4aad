"""The how-to guides: a shell does what they say, in a whole mesh, and gets the answers that they show.

What is run is described in docs/guides/README.md: `yaml` blocks that begin with a file's name become that file, commands
of `console` blocks are run, and what follows a command is what it has to print.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.kubectl import KUBECTL
from tests.support.mesh import Mesh, running_mesh

from meshpass.localmesh.directory import control_socket

GUIDES = Path(__file__).parent.parent.parent / "docs" / "guides"
FIRST = "before-you-start"
TOUR = "../../README"
THE_GUIDE = "jwt-for-mesh-routes"
RUN = (
    THE_GUIDE,
    "jwt-for-destinations",
    "access-policies",
    "several-providers",
    "several-policies",
    "claims-and-scopes",
    "nested-claims",
    "optional-tokens",
    "remote-jwks-by-hand",
    "claim-based-routing",
    "routing",
    "delegation",
    "workspaces",
    "cors",
    "retries-and-timeouts",
    "fault-injection",
    "header-manipulation",
    "bookinfo",
    "grpc-and-websockets",
    "gateways",
    "external-services",
    "virtual-destinations",
)
BETWEEN_CLUSTERS = ("multi-cluster", "identities", "check")
"""Guides for the whole mesh; all others need one workload cluster of it, which is ready sooner."""
READ_ONLY = {"README", "admission", "local-mesh", "mesh-file", "remote-jwks", "audit"}
"""Guides without a story that could be run from end to end; other tests hold what they say."""

SECONDS = 90
MARK = "\x1e"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w-]+\.yaml)\n")
_HERE_DOCUMENT = re.compile(r"<<'?(\w+)'?")

SHELL = r"""
trap 'kill $(jobs -p) 2> /dev/null' EXIT
client_address=%(client)s
meshpass() {
  # `exec` and `wait` do here what they do there, without half a second of start each time; the mesh is up already.
  case "$1 ${2-} ${3-} ${4-} ${5-}" in
    "exec -n httpbin client --") shift 5; http_proxy=http://$client_address:15001 "$@" ;;
    "wait "*) %(wait)s > /dev/null ;;
    "up "* | "down "*) ;;
    *) command meshpass "$@" ;;
  esac
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command, and what the guide shows of its output: nothing where it is not of interest."""

    command: str
    shown: str


def read_steps(guide: str) -> Iterator[Step]:
    """What a reader of the guide does, in order."""
    for language, text in _BLOCK.findall((GUIDES / f"{guide}.md").read_text()):
        named = _FILE.match(text)
        if language == "yaml" and named:
            yield Step(command=f"cat > {named.group(1)} <<'END_OF_FILE'\n{text}END_OF_FILE", shown="")
        elif language == "console":
            yield from _read_commands(text)


def _read_commands(text: str) -> Iterator[Step]:
    lines = iter(text.splitlines())
    command, shown = "", []
    for line in lines:
        if not line.startswith("$ "):
            shown.append(line)
            continue
        if command:
            yield Step(command=command, shown="\n".join(shown))
        command, shown = line.removeprefix("$ "), []
        while command.endswith("\\"):
            command += "\n" + next(lines)
        if end := _HERE_DOCUMENT.search(command):
            while not command.endswith("\n" + end.group(1)):
                command += "\n" + next(lines)
    yield Step(command=command, shown="\n".join(shown))


def is_shown(shown: str, printed: str) -> bool:
    """True when the output is as shown: ``...`` stands for anything, and one space for several."""
    expected, got = (re.sub(r"[ \t]+", " ", text.replace("\r", "")).strip() for text in (shown, printed))
    pattern = ".*".join(map(re.escape, expected.split("...")))
    return not expected or re.fullmatch(pattern, got, re.DOTALL) is not None


class Shell:
    """Runs guides, each in a directory of its own."""

    def __init__(self, mesh: Mesh, home: Path) -> None:
        self.mesh = mesh
        self.home = home
        control = control_socket(Path(mesh.record.run_directory))
        alone = f"curl -sf -X POST --unix-socket {control} 'http://meshpass/v1/wait?timeout=20'"
        wait = alone if len(mesh.record.processes) == 1 else "command meshpass wait --timeout 20s"
        self._functions = SHELL % {"client": mesh.workload("client").address, "wait": wait}

    def run(self, guide: str, *, prepared: bool = True) -> None:
        """Every command of the guide ends well, and prints what the guide shows."""
        directory = self.home / Path(guide).name
        begin = ""
        if prepared:
            shutil.copytree(self.home / FIRST, directory)
            begin = "source ./shell.sh\n"
        else:
            directory.mkdir()
        steps = list(read_steps(guide))
        script = self._functions + begin + "".join(f"{step.command}\nprintf '{MARK}%s{MARK}' $?\n" for step in steps)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", script + "declare -f > shell.sh; export -p >> shell.sh\n"],
            cwd=directory,
            env={"PATH": path, "HOME": str(self.home), "MESHPASS_DIR": str(self.mesh.state.path), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        parts = done.stdout.split(MARK)
        for step, printed, code in zip(steps, parts[::2], parts[1::2], strict=False):
            assert code == "0", f"{step.command}\nended with {code}:\n{printed}\n{done.stderr}"
            assert is_shown(step.shown, printed), (
                f"{step.command}\nprinted\n{printed}\nnot\n{step.shown}\n{done.stderr}"
            )
        assert len(parts) == 2 * len(steps) + 1, done.stderr


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A mesh, with all that the guides ask for before they start."""
    for program in ("bash", "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on PATH: the guides use it")
    with running_mesh(clusters=1) as mesh:
        shell = Shell(mesh, tmp_path_factory.mktemp("guides"))
        shell.run(FIRST, prepared=False)
        yield shell


@pytest.mark.envoy
@pytest.mark.kubectl
@pytest.mark.skipif(KUBECTL is None and os.environ.get("CI") != "true", reason="kubectl is not on PATH")
@pytest.mark.parametrize("guide", RUN)
def test_a_guide_tells_what_happens(shell: Shell, guide: str) -> None:
    """Each command prints what the guide shows; afterwards nothing of it is left in the mesh."""
    shell.run(guide, prepared=f"({FIRST}.md)" in (GUIDES / f"{guide}.md").read_text())

    for context in ("mgmt", "cluster1"):
        left = shell.mesh.kubectl(
            "--context", context, "get", "virtualgateways,routetables,jwtpolicies", "-A", "-o", "name"
        )
        assert (left.returncode, left.stdout) == (0, ""), left


@pytest.mark.envoy
@pytest.mark.kubectl
@pytest.mark.skipif(KUBECTL is None and os.environ.get("CI") != "true", reason="kubectl is not on PATH")
@pytest.mark.timeout(240)
def test_guides_about_several_clusters_tell_what_happens(tmp_path: Path) -> None:
    """In the whole mesh, with its management server and agents, each command prints what the guide shows.

    As the guide of which all this is about does there, too.
    """
    with running_mesh() as mesh:
        shell = Shell(mesh, tmp_path)
        shell.run(FIRST, prepared=False)
        for guide in (TOUR, THE_GUIDE, *BETWEEN_CLUSTERS):
            shell.run(guide, prepared=f"({FIRST}.md)" in (GUIDES / f"{guide}.md").read_text())


def test_every_guide_is_run_or_known_not_to_be() -> None:
    """A new guide does not stay untested by being forgotten."""
    assert {path.stem for path in GUIDES.glob("*.md")} - READ_ONLY == {FIRST, *RUN, *BETWEEN_CLUSTERS}


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("", "whatever", True),
        ("a\n...\nb", "a\r\n1\r\n2\r\nb\n", True),
        ("A   B ...", "A B 3s", True),
        ("Jwt is missing", "Jwt is missing too", False),
        ("...x", "y", False),
    ],
)
def test_output_is_compared(shown: str, printed: str, same: bool) -> None:
    """What a guide shows has to be there, and what it does not show may not."""
    assert is_shown(shown, printed) is same
