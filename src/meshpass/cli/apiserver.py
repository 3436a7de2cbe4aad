"""``api-server``: an API server like those of a local mesh, by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meshpass.cli.output import reported_errors, say


def api_server(
    directory: Annotated[
        Path, typer.Option("--directory", help="What it stores, its certificate and its token.", file_okay=False)
    ],
    name: Annotated[str, typer.Option("--name", help="Name of the cluster, and of the context.")] = "cluster",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0 is any free one.")] = 0,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            "--kubeconfig", help="Where to write how it is reached; DIRECTORY/kubeconfig unless said.", dir_okay=False
        ),
    ] = None,
    bare: Annotated[
        bool, typer.Option("--bare", help="Without the kinds of Meshpass; `meshpass crds install` adds them.")
    ] = False,
) -> None:
    """Run an API server like those of a local mesh, by itself, until Ctrl-C or SIGTERM.

    It speaks as a Kubernetes API server does, without nodes: whatever kubectl stores in it stays in the directory.
    `meshpass up --kubeconfig` runs a mesh on such servers, or on those of Kubernetes.

    Examples:
        meshpass api-server --directory /tmp/cluster1 --name cluster1

        meshpass api-server --directory /tmp/cluster1 --bare --port 6443
    """
    with reported_errors():
        import asyncio

        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(directory, name, port, kubeconfig or directory / "kubeconfig", bare=bare))


async def _serve(directory: Path, name: str, port: int, kubeconfig: Path, *, bare: bool) -> None:
    import asyncio
    import signal

    from meshpass.kube.kubeconfig import write_kubeconfig
    from meshpass.localmesh.cluster_server import run_api_server

    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    async with run_api_server(name, directory, port=port, bare=bare) as (access, _):
        write_kubeconfig(kubeconfig, clusters=[access], current=name)
        say(f"{name} is served at {access.server}; KUBECONFIG={kubeconfig}")
        await asked.wait()
