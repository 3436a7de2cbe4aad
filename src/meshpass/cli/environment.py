"""``env`` and ``exec``: other programs in the mesh."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from meshpass.cli import option
from meshpass.cli.output import print_data, reported_errors

if TYPE_CHECKING:
    from meshpass.localmesh.directory import MeshRecord, StateDirectory, WorkloadRecord


def env(directory: option.Directory = None) -> None:
    """Print the shell variables of the guide: KUBECONFIG, and the names of contexts and clusters.

    Examples:
        eval "$(meshpass env)"

        kubectl --context $REMOTE_CONTEXT1 get pods -n httpbin
    """
    with reported_errors():
        from meshpass.localmesh.directory import state_directory

        state = state_directory(directory)
        print_data(render_exports(environment(state.running(), state)))


def environment(record: MeshRecord, state: StateDirectory) -> dict[str, str]:
    """The variables that `env` prints; workload clusters count from 1 in the order of the mesh file."""
    variables = {"KUBECONFIG": str(state.kubeconfig), "MGMT_CONTEXT": record.management}
    remote = list(enumerate(record.workload_clusters, start=1))
    variables |= {f"REMOTE_CONTEXT{number}": name for number, name in remote}
    variables["MGMT_CLUSTER"] = record.management
    variables |= {f"REMOTE_CLUSTER{number}": name for number, name in remote}
    return variables | {"MESHPASS_DIR": str(state.path)}


def render_exports(variables: dict[str, str]) -> str:
    """One ``export`` line for a POSIX shell."""
    return "export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())


def execute(
    workload: Annotated[str, typer.Argument(help="The workload to be.", show_default=False)],
    command: Annotated[list[str], typer.Argument(help="The program and its arguments.", show_default=False)],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the workload.")] = "default",
    context: Annotated[
        str | None,
        typer.Option("--context", help="Cluster; the first workload cluster unless said.", show_default=False),
    ] = None,
    directory: option.Directory = None,
) -> None:
    """Run a program as a workload: its HTTP requests go through the workload's sidecar.

    The program runs here, as you, with http_proxy set; the exit code is its own.

    Examples:
        meshpass exec -n httpbin client -- curl -si http://www.example.com/get -H 'X-httpbin-mesh: true'

        meshpass exec --context cluster1 -n httpbin client -- python3 client.py
    """
    with reported_errors():
        from meshpass.errors import LocalMeshError
        from meshpass.localmesh.directory import state_directory
        from meshpass.localmesh.outbound import proxy_environment

        record = state_directory(directory).running()
        found = find_workload(record, context, namespace, workload)
        variables = {**os.environ, **proxy_environment(found.address)}
        try:
            os.execvpe(command[0], command, variables)  # noqa: S606 - no shell is the point
        except OSError as error:
            code = 127 if isinstance(error, FileNotFoundError) else 126
            from meshpass.cli.output import say_error

            say_error(LocalMeshError(f"{command[0]}: {error.strerror}"))
            raise typer.Exit(code) from error


def find_workload(record: MeshRecord, context: str | None, namespace: str, name: str) -> WorkloadRecord:
    """The workload of this name. Raises LocalMeshError, naming those that there are."""
    from difflib import get_close_matches

    from meshpass.errors import LocalMeshError

    cluster = context or next(iter(record.workload_clusters), record.management)
    clusters = [one.name for one in record.clusters]
    if cluster not in clusters:
        raise LocalMeshError(f"the mesh has no cluster {cluster}", hint=f"its clusters: {', '.join(clusters)}")
    for one in record.workloads:
        if (one.cluster, one.namespace, one.name) == (cluster, namespace, name):
            return one
    there = [f"-n {one.namespace} {one.name}" for one in record.workloads if one.cluster == cluster]
    close = get_close_matches(f"-n {namespace} {name}", there, n=1)
    hint = f"did you mean {close[0]}?" if close else f"workloads of {cluster}: {', '.join(there) or 'none'}"
    raise LocalMeshError(f"{cluster} has no workload {name} in namespace {namespace}", hint=hint)
