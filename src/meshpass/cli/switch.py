"""``stop`` and ``start``: parts of a running mesh, to see what happens without them."""

from __future__ import annotations

from typing import Annotated

import typer

from meshpass.cli import option
from meshpass.cli.output import reported_errors, say_step


def complete_running(context: typer.Context, incomplete: str) -> list[str]:
    """The names that a shell offers to stop."""
    return _complete(context, incomplete, stopped=False)


def complete_stopped(context: typer.Context, incomplete: str) -> list[str]:
    """The names that a shell offers to start."""
    return _complete(context, incomplete, stopped=True)


def _complete(context: typer.Context, incomplete: str, *, stopped: bool) -> list[str]:
    from meshpass.errors import MeshpassError
    from meshpass.localmesh.directory import state_directory
    from meshpass.localmesh.supervisorclient import read_parts
    from meshpass.localmesh.switchboard import display_names

    try:
        parts = read_parts(state_directory(context.params.get("directory")).running())
    except MeshpassError:
        return []  # a shell has no place for errors
    names = display_names(part.name for part in parts)
    return [names[part.name] for part in parts if part.stopped is stopped and names[part.name].startswith(incomplete)]


_NAME_HELP = "management-server, agent/CLUSTER, proxy/WORKLOAD or workload/NAME."


def stop(
    name: Annotated[
        str | None, typer.Argument(help=_NAME_HELP, autocompletion=complete_running, show_default=False)
    ] = None,
    directory: option.Directory = None,
) -> None:
    """Stop one part of the mesh, until `meshpass start` or the next `meshpass up`; the whole mesh: `meshpass down`.

    A WORKLOAD is its name, or cluster/namespace/name where several have it. Of a workload the program ends, and its Pod
    is not ready any more. `meshpass status` shows what is stopped.

    Examples:
        meshpass stop management-server

        meshpass stop agent/cluster1

        meshpass stop workload/reviews-v1 && meshpass wait

        meshpass stop proxy/cluster2/httpbin/client
    """
    with reported_errors():
        from meshpass.errors import LocalMeshError
        from meshpass.localmesh.directory import state_directory
        from meshpass.localmesh.supervisorclient import stop_part

        if name is None:
            raise LocalMeshError(
                "stop which part of the mesh?",
                hint="`meshpass stop management-server`, for example; `meshpass down` stops the whole mesh",
            )
        done = stop_part(state_directory(directory).running(), name)
        say_step(f"{done.part.name} is stopped" if done.changed else f"{done.part.name} was stopped already")


def start(
    name: Annotated[str, typer.Argument(help=_NAME_HELP, autocompletion=complete_stopped, show_default=False)],
    directory: option.Directory = None,
) -> None:
    """Start a part of the mesh that was stopped, and wait until it can be used.

    Examples:
        meshpass start management-server

        meshpass start workload/reviews-v1 && meshpass wait
    """
    with reported_errors():
        from meshpass.localmesh.directory import state_directory
        from meshpass.localmesh.supervisorclient import start_part

        done = start_part(state_directory(directory).running(), name)
        say_step(f"{done.part.name} runs" if done.changed else f"{done.part.name} was not stopped")
