"""Existing API servers: which context is which cluster, and the kubeconfig that is made of the user's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from meshpass.errors import LocalMeshError, MeshpassError
from meshpass.kube.credentials import read_access
from meshpass.localmesh import existing
from meshpass.localmesh.existing import ExistingServers, keep_served, parse_contexts, write_contexts
from meshpass.localmesh.meshfile import default_mesh_path
from meshpass.localmesh.parse import load_mesh_file

GIVEN = """
apiVersion: v1
kind: Config
clusters:
- {name: east, cluster: {server: https://east.example.com, certificate-authority: ca/east.crt}}
- {name: west, cluster: {server: https://west.example.com, insecure-skip-tls-verify: true}}
users:
- {name: me, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: ./bin/login, args: [east]}}}
- {name: token, user: {tokenFile: token}}
contexts:
- {name: one, context: {cluster: east, user: me, namespace: team}}
- {name: two, context: {cluster: west, user: token}}
current-context: two
"""


def given(directory: Path, *, text: str = GIVEN, **contexts: str) -> ExistingServers:
    """The user's kubeconfig in a directory."""
    path = directory / "config"
    path.write_text(text)
    return ExistingServers(kubeconfig=str(path), contexts=contexts)


def test_each_cluster_has_a_context_of_its_name(tmp_path: Path) -> None:
    """What the user's kubeconfig says of a context is said of the cluster; paths lead where they led."""
    made = tmp_path / "mesh" / "kubeconfig"
    made.parent.mkdir()

    write_contexts(made, given(tmp_path, mgmt="two", cluster1="one"), "mgmt")

    east, west = read_access(made, "cluster1"), read_access(made, None)
    assert (east.cluster.server, east.namespace) == ("https://east.example.com", "team")
    assert east.cluster.certificate_auth == str(tmp_path / "ca" / "east.crt")
    assert east.user is not None
    assert east.user.exec is not None
    assert east.user.exec.command == str(tmp_path / "bin" / "login")
    assert west.cluster.server == "https://west.example.com"
    assert west.user is not None
    assert west.user.token_file == str(tmp_path / "token")
    assert made.stat().st_mode & 0o777 == 0o600


def test_a_context_that_is_not_there_is_named(tmp_path: Path) -> None:
    """And nothing is written."""
    made = tmp_path / "kubeconfig"

    with pytest.raises(MeshpassError, match="three"):
        write_contexts(made, given(tmp_path, mgmt="three"), "mgmt")

    assert not made.exists()


def test_contexts_are_read() -> None:
    """As they are written on a command line."""
    assert parse_contexts("mgmt=kind-mgmt, cluster1=a=b,") == {"mgmt": "kind-mgmt", "cluster1": "a=b"}


@pytest.mark.parametrize("text", ["mgmt", "=a", "mgmt=", "mgmt=a,mgmt=b"])
def test_what_is_no_list_of_contexts_is_refused(text: str) -> None:
    """With an error that says so."""
    with pytest.raises(LocalMeshError, match="--contexts"):
        parse_contexts(text)


def test_clusters_without_a_context_are_left_out() -> None:
    """And what runs in them."""
    mesh = keep_served(load_mesh_file(default_mesh_path()), {"mgmt": "a", "cluster1": "b"})

    assert [cluster.name for cluster in mesh.clusters] == ["mgmt", "cluster1"]
    assert {workload.cluster for workload in mesh.workloads} == {"cluster1"}


@pytest.mark.parametrize("contexts", [{"cluster1": "b"}, {"mgmt": "a", "cluster9": "b"}])
def test_contexts_that_do_not_fit_the_mesh_are_refused(contexts: dict[str, str]) -> None:
    """A cluster that the mesh does not have, and a mesh without its management cluster."""
    with pytest.raises(LocalMeshError, match="cluster"):
        keep_served(load_mesh_file(default_mesh_path()), contexts)


def test_the_kubeconfig_is_data_of_its_owner_alone(tmp_path: Path) -> None:
    """Only what the contexts need is in it: no user of another context."""
    made = tmp_path / "made"

    write_contexts(made, given(tmp_path, mgmt="two"), "mgmt")

    assert [user["name"] for user in yaml.safe_load(made.read_text())["users"]] == ["mgmt"]


@pytest.mark.parametrize("torn", [b"", b"\xff", b"[]", b"contexts: [{name: two}]", GIVEN[:150].encode()])
async def test_a_kubeconfig_that_is_written_while_it_is_read_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bytes
) -> None:
    """What we have stays until it is whole again."""
    servers, made = given(tmp_path, mgmt="two"), tmp_path / "made"
    source = Path(servers.kubeconfig)
    reads: list[None] = []

    def read_and_tear(path: Path, context: str | None) -> object:
        found = read_access(path, context)
        source.write_bytes(torn)
        reads.append(None)
        return found

    monkeypatch.setattr(existing, "LOOK_AGAIN_SECONDS", 0.005)
    write_contexts(made, servers, "mgmt")
    before = made.read_bytes()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        following = group.create_task(existing._follow(made, servers, "mgmt"))
        await asyncio.sleep(0)
        with monkeypatch.context() as patch:
            patch.setattr(existing, "read_access", read_and_tear)
            given(tmp_path)
            while not reads:  # noqa: ASYNC110 - files set no events
                await asyncio.sleep(0.005)
        assert made.read_bytes() == before

        given(tmp_path, text=GIVEN.replace("west.example.com", "north.example.com"))
        while made.read_bytes() == before:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
        following.cancel()
