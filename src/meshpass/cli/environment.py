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


_GATEWAY_PORTS = {"HTTP": ("http2", "http", "80"), "HTTPS": ("https", "443")}
"""What a gateway's ports may be called, by what they are for."""


def env(directory: option.Directory = None) -> None:
    """Print the shell variables of the guides: KUBECONFIG, names of contexts and clusters, addresses of gateways.

    Examples:
        eval "$(meshpass env)"

        kubectl --context $REMOTE_CONTEXT1 get pods -n httpbin

        curl -si http://$ENDPOINT_HTTP_GW_CLUSTER1/get -H 'host: www.example.com'
    """
    with reported_errors():
        from meshpass.localmesh.directory import state_directory

        state = state_directory(directory)
        print_data(render_exports(environment(state.running(), state)))


def environment(record: MeshRecord, state: StateDirectory) -> dict[str, str]:
    """The variables that `env` prints; workload clusters count from 1 in the order of the mesh file.

    ``INGRESS_GW_ADDRESS`` is the first gateway's address; ``ENDPOINT_HTTP_GW_CLUSTER1`` and
    ``ENDPOINT_HTTPS_GW_CLUSTER1`` are address and port of the first gateway of the first workload cluster, and so on.
    """
    variables = {"KUBECONFIG": str(state.kubeconfig), "MGMT_CONTEXT": record.management}
    remote = list(enumerate(record.workload_clusters, start=1))
    variables |= {f"REMOTE_CONTEXT{number}": name for number, name in remote}
    variables["MGMT_CLUSTER"] = record.management
    variables |= {f"REMOTE_CLUSTER{number}": name for number, name in remote}
    gateways = [one for one in record.workloads if one.is_gateway]
    if gateways:
        variables["INGRESS_GW_ADDRESS"] = gateways[0].address
    for number, name in remote:
        gateway = next((one for one in gateways if one.cluster == name), None)
        if gateway is not None:
            variables |= _endpoints(gateway, number)
    return variables | {"MESHPASS_DIR": str(state.path)}


def _endpoints(gateway: WorkloadRecord, number: int) -> dict[str, str]:
    found = {
        protocol: next((gateway.gateway_ports[name] for name in names if name in gateway.gateway_ports), None)
        for protocol, names in _GATEWAY_PORTS.items()
    }
    return {
        f"ENDPOINT_{protocol}_GW_CLUSTER{number}": f"{gateway.address}:{port}"
        for protocol, port in found.items()
        if port is not None
    }


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
        from meshpass.localmesh.outbound import command_environment

        record = state_directory(directory).running()
        found = find_workload(record, context, namespace, workload)
        if found.is_gateway:
            raise LocalMeshError(
                f"{found.name} is a gateway: it takes requests from outside, and nothing sends through it from inside",
                hint=f"send to {found.address}, ports {', '.join(map(str, found.gateway_ports.values()))}",
            )
        variables = command_environment(found.address)
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
