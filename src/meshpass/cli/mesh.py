"""``up`` and ``down``: the life of a local mesh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshpass.cli import option
from meshpass.cli.output import reported_errors, say, say_announcement, say_step

if TYPE_CHECKING:
    from meshpass.localmesh.directory import MeshRecord, StateDirectory
    from meshpass.localmesh.existing import ExistingServers
    from meshpass.localmesh.meshfile import LocalMesh


def complete_apps(incomplete: str) -> list[str]:
    """The words that a shell offers for ``--apps``: what is typed already, and a sample app that it lacks."""
    from meshpass.localmesh.meshfile import App

    *given, begun = incomplete.split(",")
    offered = [app.value for app in App if app.value.startswith(begun) and app.value not in given]
    return [",".join((*given, name)) for name in offered]


def up(  # noqa: PLR0917 - options
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Mesh file; the guide's three clusters unless said.", show_default=False),
    ] = None,
    directory: option.Directory = None,
    apps: Annotated[
        list[str] | None,
        typer.Option(
            "--apps",
            metavar="APP,…",
            help="Only these sample apps of the mesh file; repeatable.",
            autocompletion=complete_apps,
            show_default=False,
        ),
    ] = None,
    clusters: Annotated[
        int | None,
        typer.Option(
            "--clusters",
            metavar="N",
            min=1,
            help="Only the management cluster and the first N workload clusters; 1 runs in one process.",
            show_default=False,
        ),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when the mesh is ready; it goes on.")] = False,
    feature_gates: Annotated[
        str, typer.Option("--feature-gates", metavar="K=V,…", help="Switches of behaviour.", show_default=False)
    ] = "",
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            "--kubeconfig", help="Run on the API servers of this kubeconfig.", dir_okay=False, show_default=False
        ),
    ] = None,
    contexts: Annotated[
        str,
        typer.Option(
            "--contexts",
            metavar="CLUSTER=CONTEXT,…",
            help="The context of each cluster; clusters of the same name unless said.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Start a mesh on this machine: API servers, control plane, Envoys, workloads.

    It runs until Ctrl-C, or until `meshpass down` with --detach. What was stored in its clusters is kept in the
    state directory for the next start.

    Examples:
        meshpass up

        meshpass up --clusters 1 --apps httpbin

        meshpass up --detach && eval "$(meshpass env)" && kubectl get pods -A

        meshpass up -f mesh.yaml --dir /tmp/mesh

        meshpass up --feature-gates=GatewayDefaultDenyAllHTTPRequests=true

        meshpass up --kubeconfig ~/.kube/config --contexts mgmt=kind-mgmt,cluster1=kind-east,cluster2=kind-west
    """
    with reported_errors():
        from meshpass.localmesh.detach import RunnerOptions
        from meshpass.localmesh.directory import state_directory
        from meshpass.localmesh.meshfile import default_mesh_path
        from meshpass.localmesh.parse import load_mesh_file
        from meshpass.localmesh.selection import select
        from meshpass.translate.settings import parse_feature_gates

        state = state_directory(directory)
        path = file or default_mesh_path()
        # Mistakes are told before a second process is started, and here, where people look.
        mesh = select(load_mesh_file(path), clusters=clusters, apps=_split(apps))
        servers = _find_servers(kubeconfig, contexts, mesh)
        options = RunnerOptions(feature_gates=feature_gates, apps=_split(apps), clusters=clusters, servers=servers)
        parse_feature_gates(options.feature_gates)
        say(f"starting a mesh on {state.path}")
        if detach:
            from meshpass.localmesh.detach import start_detached

            record = start_detached(path.absolute(), state, say_announcement, options)
            _say_ready(record, state, detached=True)
        else:
            from meshpass.localmesh.runner import run_supervisor

            run_supervisor(
                path,
                state,
                say_announcement,
                lambda record: _say_ready(record, state, detached=False),
                options,
            )
            say("the mesh has stopped")


def _find_servers(kubeconfig: Path | None, contexts: str, mesh: LocalMesh) -> ExistingServers | None:
    """The API servers that the options name, looked at; None without options."""
    from meshpass.errors import LocalMeshError
    from meshpass.kube.credentials import read_access
    from meshpass.localmesh.existing import ExistingServers, keep_served, parse_contexts

    if kubeconfig is None:
        if contexts:
            raise LocalMeshError("--contexts is about the contexts of --kubeconfig", hint="name the kubeconfig")
        return None
    named = parse_contexts(contexts) or {cluster.name: cluster.name for cluster in mesh.clusters}
    keep_served(mesh, named)
    path = kubeconfig.expanduser().absolute()
    for context in named.values():
        read_access(path, context)
    return ExistingServers(kubeconfig=str(path), contexts=named)


def _split(lists: list[str] | None) -> tuple[str, ...] | None:
    return None if lists is None else tuple(name.strip() for one in lists for name in one.split(","))


def _say_ready(record: MeshRecord, state: StateDirectory, *, detached: bool) -> None:
    from meshpass.localmesh.directory import state_directory

    option_text = "" if state.path == state_directory(None).path else f" --dir {state.path}"
    say(f"\nThe mesh is up: {', '.join(cluster.name for cluster in record.clusters)} (state in {state.path})\n")
    say(f'  eval "$(meshpass env{option_text})"      kubectl and the guide\'s variables')
    client = next((one for one in record.workloads if one.app is None and not one.is_gateway), None)
    if client is not None:
        context = "" if client.cluster == _first_cluster(record) else f" --context {client.cluster}"
        say(
            f"  meshpass exec{option_text}{context} -n {client.namespace} {client.name} -- CMD   run CMD inside the mesh"
        )
    say(f"  meshpass status{option_text}")
    say(f"  meshpass down{option_text}" if detached else "\nCtrl-C stops it.")


def _first_cluster(record: MeshRecord) -> str:
    return next(iter(record.workload_clusters), record.management)


def down(directory: option.Directory = None) -> None:
    """Stop the mesh. What is stored in its clusters stays for the next `up`.

    Examples:
        meshpass down

        meshpass down --dir /tmp/mesh
    """
    with reported_errors():
        from meshpass.localmesh.directory import state_directory
        from meshpass.localmesh.stop import stop_mesh

        state = state_directory(directory)
        if stop_mesh(state):
            say_step(f"stopped the mesh on {state.path}")
        else:
            say(f"no mesh is running on {state.path}")
