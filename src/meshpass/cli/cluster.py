"""``cluster``: which clusters belong to the mesh."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshpass.cli import option
from meshpass.cli.duration import show_duration
from meshpass.cli.output import print_data, print_json, render_table, reported_errors, say, say_step

if TYPE_CHECKING:
    from meshpass.kube.client import KubeClient
    from meshpass.kube.resource import ResourceKind
    from meshpass.localmesh.directory import MeshRecord, StateDirectory

Raw = Mapping[str, Any]


class ClusterFormat(Enum):
    """How ``cluster list`` prints."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def complete_registered(context: typer.Context, incomplete: str) -> list[str]:
    """The clusters that a shell offers: those that are registered."""
    from meshpass.errors import MeshpassError
    from meshpass.localmesh.directory import state_directory

    try:
        state = state_directory(context.params.get("directory"))
        names = asyncio.run(_registered(state, state.running()))
    except MeshpassError:
        return []  # a shell has no place for errors
    return [name for name in names if name.startswith(incomplete)]


def register(
    name: Annotated[str, typer.Argument(help="Name of the cluster.", show_default=False)],
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="Label of the KubernetesCluster; repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Where the agent's credentials go; into the state directory unless said.",
            file_okay=False,
        ),
    ] = None,
    directory: option.Directory = None,
) -> None:
    """Make a cluster part of the mesh: a KubernetesCluster in the management cluster, and credentials for its agent.

    Prints how the agent is run. `meshpass up` does all of this for the clusters of its mesh file.

    Examples:
        meshpass cluster register cluster3 --label region=eu

        meshpass cluster register cluster3 --output cluster3-credentials
    """
    with reported_errors():
        from meshpass.identity.relay import ensure_agent_credentials
        from meshpass.localmesh.directory import state_directory

        state = state_directory(directory)
        record = state.running()
        manifest = cluster_manifest(name, parse_labels(labels or ()))
        _require_relay(record)
        target = (output or state.agent(name) / "credentials").absolute()
        ensure_agent_credentials(state.management_server, target, record.trust_domain, name)
        outcome = asyncio.run(_store(state, record, manifest))
        say_step(f"{name} is registered" if outcome == "created" else f"{name} is registered ({outcome})")
        say(f"  its agent's credentials are in {target}; run it where its API server can be reached:\n")
        print_data(agent_command(record, state, name, target))


def deregister(
    name: Annotated[
        str, typer.Argument(help="Name of the cluster.", autocompletion=complete_registered, show_default=False)
    ],
    directory: option.Directory = None,
) -> None:
    """Take a cluster out of the mesh: its agent is refused from now on, and what it reported is forgotten.

    The cluster itself stays as it is. Its proxies keep the configuration that they have.

    Examples:
        meshpass cluster deregister cluster3
    """
    with reported_errors():
        from meshpass.localmesh.directory import state_directory

        state = state_directory(directory)
        asyncio.run(_remove(state, state.running(), name))
        say_step(f"{name} is not registered any more")


def list_clusters(
    directory: option.Directory = None,
    output: Annotated[ClusterFormat, typer.Option("--output", "-o", help="Format.")] = ClusterFormat.TABLE,
) -> None:
    """List the clusters of the mesh: registered, connected and since when; and those whose agents were refused.

    Examples:
        meshpass cluster list

        meshpass cluster list -o json
    """
    with reported_errors():
        from meshpass.localmesh.directory import state_directory
        from meshpass.localmesh.meshcontrol import read_raw_mesh_status

        state = state_directory(directory)
        record = state.running()
        agents = _agents(read_raw_mesh_status(record)["processes"])
        rows = cluster_rows(asyncio.run(_registered(state, record)), agents)
        match output:
            case ClusterFormat.JSON:
                print_json(rows)
            case ClusterFormat.YAML:
                import yaml

                print_data(yaml.safe_dump(rows, sort_keys=False))
            case ClusterFormat.TABLE if rows:
                print_data(render_clusters(rows))
            case ClusterFormat.TABLE:
                say("no cluster is registered")


def parse_labels(texts: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` each. Raises MeshpassError for other text."""
    from meshpass.errors import MeshpassError

    labels = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise MeshpassError(f"--label {text!r} is no KEY=VALUE", hint="for example --label region=eu")
        labels[key] = value
    return labels


def cluster_manifest(name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """The KubernetesCluster by which the management server knows the cluster."""
    from meshpass.localmesh.objects import ADMIN_NAMESPACE

    metadata = {"name": name, "namespace": ADMIN_NAMESPACE} | ({"labels": dict(labels)} if labels else {})
    return {
        "apiVersion": "admin.gloo.solo.io/v2",
        "kind": "KubernetesCluster",
        "metadata": metadata,
        "spec": {"clusterDomain": "cluster.local"},
    }


def agent_command(record: MeshRecord, state: StateDirectory, name: str, credentials: Path) -> str:
    """The command line of the cluster's agent; what only its user knows is in capital letters."""
    words = {
        "--cluster": name,
        "--management-cluster": record.management,
        "--server": f"127.0.0.1:{record.relay_port}",
        "--credentials": str(credentials),
        "--trust-domain": record.trust_domain,
        "--directory": str(state.agent(name)),
    }
    told = " ".join(f"{flag} {shlex.quote(value)}" for flag, value in words.items())
    return f"meshpass agent {told} --kubeconfig KUBECONFIG --context CONTEXT"


def cluster_rows(registered: Sequence[str], agents: Sequence[Raw] | None) -> list[dict[str, Any]]:
    """Every cluster that is registered, or whose agent came; None where the management server does not answer.

    Whether it is registered the API server says: the management server may hear of that a moment later.
    """
    told = {
        one["cluster"]: one
        for one in agents or ()
        if one["cluster"] in registered or one["connected"] or one["refused"]
    }
    return [
        {
            "cluster": name,
            "registered": name in registered,
            "connected": None if agents is None else bool(told.get(name, {}).get("connected")),
            "sinceSeconds": told.get(name, {}).get("sinceSeconds"),
            "refused": told.get(name, {}).get("refused") or None,
        }
        for name in sorted({*registered, *told})
    ]


def render_clusters(rows: Sequence[Raw]) -> str:
    """The table of ``cluster list``."""
    return render_table(
        ("CLUSTER", "REGISTERED", "CONNECTED", "SINCE", "REFUSED"),
        [
            (
                row["cluster"],
                "yes" if row["registered"] else "no",
                {None: "unknown", True: "yes", False: "no"}[row["connected"]],
                "-" if row["sinceSeconds"] is None else show_duration(row["sinceSeconds"]),
                _refused(row["refused"]),
            )
            for row in rows
        ],
    )


def _refused(told: object) -> str:
    return told if isinstance(told, str) else "yes" if told else "-"


def _agents(processes: Sequence[Raw]) -> Sequence[Raw] | None:
    """What the management server says of agents; in a control plane of one process there are none."""
    server = processes[0]
    if server["role"] == "alone":
        return ()
    found: Sequence[Raw] | None = server.get("agents")
    return found


def _require_relay(record: MeshRecord) -> None:
    from meshpass.errors import LocalMeshError

    if record.relay_port is None:
        raise LocalMeshError(
            "the control plane of this mesh is one process, to which no agent can connect",
            hint="a mesh of several workload clusters has a management server: `meshpass up` without --clusters 1",
        )


def _client(state: StateDirectory, record: MeshRecord) -> KubeClient:
    from meshpass.kube.client import KubeClient

    return KubeClient.from_kubeconfig(state.kubeconfig, record.management, cluster=record.management)


def _kind() -> ResourceKind:
    from meshpass.api.admin import KubernetesCluster
    from meshpass.api.kinds import kind_of_type

    return kind_of_type(KubernetesCluster)


async def _store(state: StateDirectory, record: MeshRecord, manifest: dict[str, Any]) -> str:
    from meshpass.kube.apply import apply_raw

    async with _client(state, record) as client:
        return str((await apply_raw(client, manifest)).outcome)


async def _remove(state: StateDirectory, record: MeshRecord, name: str) -> None:
    from difflib import get_close_matches

    from meshpass.errors import LocalMeshError
    from meshpass.localmesh.objects import ADMIN_NAMESPACE

    async with _client(state, record) as client:
        known = await _names(client)
        if name not in known:
            close = get_close_matches(name, known, n=1)
            there = f"registered clusters: {', '.join(known) or 'none'}"
            raise LocalMeshError(
                f"no cluster {name} is registered", hint=f"did you mean {close[0]}? {there}" if close else there
            )
        await client.delete(_kind(), ADMIN_NAMESPACE, name)


async def _registered(state: StateDirectory, record: MeshRecord) -> list[str]:
    async with _client(state, record) as client:
        return await _names(client)


async def _names(client: KubeClient) -> list[str]:
    from meshpass.localmesh.objects import ADMIN_NAMESPACE

    listed = (await client.list_raw(_kind())).items
    return sorted(one["metadata"]["name"] for one in listed if one["metadata"]["namespace"] == ADMIN_NAMESPACE)
