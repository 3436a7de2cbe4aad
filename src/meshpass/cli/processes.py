"""``management-server`` and ``agent``: the processes of a control plane that is spread over clusters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from meshpass.cli.output import reported_errors

if TYPE_CHECKING:
    from meshpass.app import RelayConnect, RelayListen

Cluster: TypeAlias = Annotated[str, typer.Option("--cluster", help="Name of the cluster that it is in.")]
Kubeconfig: TypeAlias = Annotated[
    Path, typer.Option("--kubeconfig", help="How its API server is reached.", envvar="KUBECONFIG", dir_okay=False)
]
Context: TypeAlias = Annotated[
    str | None,
    typer.Option("--context", help="Context of the kubeconfig; the current one unless said.", show_default=False),
]
Directory: TypeAlias = Annotated[
    Path, typer.Option("--directory", help="What has to outlive the process: objects, keys.", file_okay=False)
]
TrustDomain: TypeAlias = Annotated[str, typer.Option("--trust-domain", help="Of the identities of workloads.")]
ControlSocket: TypeAlias = Annotated[
    Path | None,
    typer.Option("--control-socket", help="Where it says how it is; DIRECTORY/control.sock unless said."),
]
FeatureGates: TypeAlias = Annotated[
    str, typer.Option("--feature-gates", metavar="K=V,…", help="Switches of behaviour.", show_default=False)
]


def management_server(
    *,
    cluster: Cluster,
    kubeconfig: Kubeconfig,
    directory: Directory,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where agents connect to, by mutual TLS.")
    ] = "127.0.0.1:9900",
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--name", help="Further name or address by which agents reach it; repeatable.", show_default=False
        ),
    ] = None,
    context: Context = None,
    trust_domain: TrustDomain = "cluster.local",
    ads_socket: Annotated[
        Path | None,
        typer.Option("--ads-socket", help="Unix socket for the proxies of this cluster.", show_default=False),
    ] = None,
    control_socket: ControlSocket = None,
    feature_gates: FeatureGates = "",
) -> None:
    """Run the management server: it follows the management cluster, and brings the clusters of its agents together.

    Agents of clusters for which there is a KubernetesCluster may connect. It runs until Ctrl-C or SIGTERM; proxies go on
    as they are while it is away. `meshpass up` runs one of its own.

    Examples:
        meshpass management-server --cluster mgmt --kubeconfig mgmt.yaml --directory /var/lib/meshpass

        meshpass management-server --cluster mgmt --kubeconfig mgmt.yaml --directory state --listen 0.0.0.0:9900 --name mesh.example.com
    """
    with reported_errors():
        from meshpass.app import RelayListen

        _serve(
            cluster=cluster,
            management_cluster=cluster,
            kubeconfig=kubeconfig,
            context=context,
            directory=directory,
            ads_socket=ads_socket,
            control_socket=control_socket,
            feature_gates=feature_gates,
            trust_domain=trust_domain,
            relay=RelayListen(address=listen, names=tuple(names or ())),
        )


def agent(
    *,
    cluster: Cluster,
    management_cluster: Annotated[
        str, typer.Option("--management-cluster", help="Name of the cluster of the management server.")
    ],
    kubeconfig: Kubeconfig,
    directory: Directory,
    server: Annotated[str, typer.Option("--server", metavar="HOST:PORT", help="The management server.")],
    credentials: Annotated[
        Path,
        typer.Option(
            "--credentials",
            help="Directory with ca.crt, tls.crt and tls.key; `meshpass cluster register` makes it.",
            file_okay=False,
        ),
    ],
    context: Context = None,
    trust_domain: TrustDomain = "cluster.local",
    ads_socket: Annotated[
        Path | None,
        typer.Option("--ads-socket", help="Unix socket for the proxies; DIRECTORY/ads.sock unless said."),
    ] = None,
    control_socket: ControlSocket = None,
    feature_gates: FeatureGates = "",
) -> None:
    """Run the agent of a cluster: it serves the cluster's proxies, and writes the statuses of the cluster's objects.

    It has one connection to the management server, which it opens itself. Without the management server it goes on with
    what it received last, also after a restart. It runs until Ctrl-C or SIGTERM. `meshpass up` runs agents of its own.

    Examples:
        meshpass cluster register cluster3 --output credentials

        meshpass agent --cluster cluster3 --management-cluster mgmt --kubeconfig cluster3.yaml --directory state --server 127.0.0.1:9900 --credentials credentials
    """
    with reported_errors():
        from meshpass.app import RelayConnect

        _serve(
            cluster=cluster,
            management_cluster=management_cluster,
            kubeconfig=kubeconfig,
            context=context,
            directory=directory,
            ads_socket=ads_socket,
            control_socket=control_socket,
            feature_gates=feature_gates,
            trust_domain=trust_domain,
            relay=RelayConnect(server=server, credentials=credentials),
        )


def _serve(
    *,
    cluster: str,
    management_cluster: str,
    kubeconfig: Path,
    context: str | None,
    directory: Path,
    ads_socket: Path | None,
    control_socket: Path | None,
    feature_gates: str,
    trust_domain: str,
    relay: RelayListen | RelayConnect,
) -> None:
    """Run a control plane in this process until SIGTERM or SIGINT."""
    import asyncio
    import logging
    import os

    # Read when gRPC is imported, so before anything that does.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    import uvloop

    from meshpass.app import ControlPlaneSettings, serve_control_plane
    from meshpass.logformat import log_to_stderr
    from meshpass.secretfile import make_private_directory
    from meshpass.translate.settings import parse_feature_gates

    settings = ControlPlaneSettings(
        kubeconfig=kubeconfig,
        contexts=((cluster, context),),
        management_cluster=management_cluster,
        ads_socket=ads_socket or directory / "ads.sock",
        control_socket=control_socket or directory / "control.sock",
        directory=directory,
        gates=parse_feature_gates(feature_gates),
        trust_domain=trust_domain,
        relay=relay,
    )
    log_to_stderr(logging.INFO)
    make_private_directory(settings.directory)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_control_plane(settings))
