"""``crds`` and ``rbac``: what a real API server needs before a control plane can use it."""

from __future__ import annotations

import asyncio
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshpass.cli.output import print_data, print_json, reported_errors, say

if TYPE_CHECKING:
    from meshpass.kube.client import KubeClient


class ManifestFormat(Enum):
    """How manifests are printed."""

    YAML = "yaml"
    JSON = "json"


Output = Annotated[ManifestFormat, typer.Option("--output", "-o", help="Format; json is one List.")]


def complete_contexts(context: typer.Context, incomplete: str) -> list[str]:
    """The contexts of the kubeconfig that the command would read; none where it cannot be read."""
    import yaml

    from meshpass.errors import MeshpassError

    try:
        document = yaml.safe_load(find_kubeconfig(context.params.get("kubeconfig")).read_text(encoding="utf-8"))
        return [one["name"] for one in document["contexts"] if one["name"].startswith(incomplete)]
    except (MeshpassError, OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return []


def print_definitions(output: Output = ManifestFormat.YAML) -> None:
    """Print the CustomResourceDefinitions of all kinds of Meshpass.

    Examples:
        meshpass crds print > crds.yaml

        meshpass crds print | kubectl apply --server-side -f -

        meshpass crds print -o json
    """
    from meshpass.api.crd import crds_yaml, custom_resource_definitions

    if output is ManifestFormat.JSON:
        print_json(_list(custom_resource_definitions()))
    else:
        print_data(crds_yaml())


def install(
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            "--kubeconfig",
            help="Kubeconfig; $KUBECONFIG unless said, else ~/.kube/config.",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            "--context",
            help="Context of the kubeconfig; its current one unless said.",
            autocompletion=complete_contexts,
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="The server judges what would be stored, and stores nothing.")
    ] = False,
    timeout: Annotated[
        str, typer.Option("--timeout", help="How long the server may take to serve them, as in 30s, 2m.")
    ] = "30s",
) -> None:
    """Create the CustomResourceDefinitions on an API server, or bring them up to date, and wait until they are served.

    Running it again is harmless. The printed words are those of kubectl.

    Examples:
        meshpass crds install --context kind-cluster1

        meshpass crds install --kubeconfig ~/clusters/east --dry-run
    """
    with reported_errors():
        from meshpass.cli.duration import parse_duration
        from meshpass.kube.client import KubeClient

        seconds = parse_duration(timeout)
        path = find_kubeconfig(kubeconfig)

        async def run() -> None:
            async with KubeClient.from_kubeconfig(path, context, cluster=context or "the current context") as client:
                await _install_all(client, dry_run=dry_run, seconds=seconds)

        asyncio.run(run())


def print_permissions(
    *,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the ServiceAccount.")] = "gloo-mesh",
    name: Annotated[str, typer.Option("--name", help="Name of ServiceAccount, role and binding.")] = "meshpass",
    output: Output = ManifestFormat.YAML,
) -> None:
    """Print the least that a control plane has to be allowed: ServiceAccount, ClusterRole, ClusterRoleBinding.

    It reads its own kinds, Namespaces, ServiceAccounts, Services, EndpointSlices, Pods and Secrets, writes statuses of its
    own kinds, and records Events. The namespace has to be there.

    Examples:
        meshpass rbac print | kubectl apply --context cluster1 -f -

        meshpass rbac print --namespace meshpass-system -o json
    """
    from meshpass.api.kinds import KINDS
    from meshpass.app import WATCHED
    from meshpass.kube.rbac import control_plane_manifests, manifests_yaml, role_rules

    manifests = control_plane_manifests(role_rules(WATCHED, KINDS), namespace=namespace, name=name)
    if output is ManifestFormat.JSON:
        print_json(_list(manifests))
    else:
        print_data(manifests_yaml(manifests))


def find_kubeconfig(given: Path | None) -> Path:
    """The kubeconfig that kubectl would read. Raises MeshpassError where $KUBECONFIG names several files."""
    import os

    from meshpass.errors import MeshpassError

    named = [name for name in os.environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    if given is None and len(named) > 1:
        raise MeshpassError(
            f"KUBECONFIG names {len(named)} files", hint="name the one with the cluster by --kubeconfig"
        )
    return given or Path(named[0] if named else "~/.kube/config").expanduser()


async def _install_all(client: KubeClient, *, dry_run: bool, seconds: float) -> None:
    from meshpass.api.crd import custom_resource_definitions
    from meshpass.errors import MeshpassError
    from meshpass.kube.definition import install_definition, wait_established

    manifests = custom_resource_definitions()
    suffix = " (server dry run)" if dry_run else ""
    for manifest in manifests:
        outcome = await install_definition(client, manifest, dry_run=dry_run)
        name = manifest["metadata"]["name"]
        print_data(f"customresourcedefinition.apiextensions.k8s.io/{name} {outcome}{suffix}")
    if dry_run:
        return
    waiting = ""
    try:
        async with asyncio.timeout(seconds):
            for manifest in manifests:
                waiting = manifest["metadata"]["name"]
                await wait_established(client, waiting)
    except TimeoutError as error:
        raise MeshpassError(
            f"{waiting} is stored, and not served after {seconds:g} s",
            hint=f"`kubectl describe crd {waiting}` says what the API server waits for",
        ) from error
    say(f"{client.host} serves all {len(manifests)} kinds")


def _list(items: tuple[dict[str, object], ...]) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": list(items)}
