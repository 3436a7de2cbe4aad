"""``demo``: the guide, from nothing to the last answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshpass.cli.output import paint, print_data, reported_errors, say, say_announcement

if TYPE_CHECKING:
    from meshpass.localmesh.directory import StateDirectory


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the mesh up and say how to go on.")] = False,
) -> None:
    """Run the guide "JWT for mesh routes" on a mesh of its own: every command, every answer, every check.

    Exit code 0 only if all answers are as the guide shows.

    Examples:
        meshpass demo

        meshpass demo --keep
    """
    with reported_errors():
        import signal
        import sys
        import tempfile

        from meshpass.errors import MeshpassError
        from meshpass.localmesh.directory import StateDirectory
        from meshpass.localmesh.stop import stop_mesh

        directory = Path(tempfile.mkdtemp(prefix="meshpass-demo-"))
        state = StateDirectory(path=directory / "mesh")
        # A demo that is told to end cleans up as one that came to its end.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        try:
            _run(directory, state, tied=not keep)
        except MeshpassError:
            stop_mesh(state)
            say(f"the files and logs of this run are in {directory}\n")
            raise
        except BaseException:
            _remove(directory, state)
            raise
        if keep:
            _say_how_to_go_on(directory, state)
        else:
            _remove(directory, state)


def _remove(directory: Path, state: StateDirectory) -> None:
    import shutil

    from meshpass.localmesh.stop import stop_mesh

    stop_mesh(state)
    shutil.rmtree(directory, ignore_errors=True)


def _run(directory: Path, state: StateDirectory, *, tied: bool) -> None:
    from meshpass.cli.guide import Guide
    from meshpass.localmesh.detach import RunnerOptions, start_detached
    from meshpass.localmesh.meshfile import default_mesh_path

    print_data(f"$ export MESHPASS_DIR={state.path}\n$ meshpass up --detach --clusters 1 --apps httpbin")
    options = RunnerOptions(apps=("httpbin",), clusters=1)
    record = start_detached(default_mesh_path(), state, say_announcement, options, tied=tied)
    Guide(directory=directory, state=state, record=record, show=print_data).walk()
    say(f"\n{paint('good', 'Every answer is as the guide shows.', to=2)}")


def _say_how_to_go_on(directory: Path, state: StateDirectory) -> None:
    say(f"\nThe mesh is still up. The files are in {directory}. To go on:\n")
    say(f"  export MESHPASS_DIR={state.path}")
    say('  eval "$(meshpass env)"')
    say(f"  meshpass apply --context cluster1 -f {directory}/route-table.yaml")
    say(f"  meshpass apply -f {directory}/jwt-policy.yaml")
    say(f"  TOKEN=$(cat {directory}/token.jwt)")
    say(
        '  meshpass exec -n httpbin client -- curl -si "http://www.example.com/get?auth_token=$TOKEN" -H "X-httpbin-mesh: true"'
    )
    say(f"  meshpass down && rm -r {directory}")
