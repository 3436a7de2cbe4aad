"""A mesh on API servers that somebody else runs, which are as strict as Kubernetes' own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.support.api_servers import STRICT, ApiServers, running_api_servers
from tests.support.mesh import Mesh, running_mesh

HTTPBIN = "http://httpbin.httpbin:8000/get"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServers]:
    """A management cluster and one workload cluster."""
    with running_api_servers(tmp_path_factory.mktemp("servers"), ("mgmt", "cluster1"), STRICT) as running:
        yield running


@pytest.fixture(scope="module")
def mesh(servers: ApiServers) -> Iterator[Mesh]:
    """The guide's mesh on them."""
    with running_mesh(apps=("httpbin",), clusters=1, servers=servers.existing) as running:
        yield running


def test_workloads_are_reached_although_no_endpoint_slice_could_be_stored(mesh: Mesh) -> None:
    """A real API server refuses loopback addresses there: they come from the Pods."""
    slices = mesh.kubectl("get", "endpointslices", "-A", "--context", "cluster1", "-o", "name")
    assert (slices.returncode, slices.stdout) == (0, "")

    assert mesh.request(HTTPBIN).status == 200


def test_the_kinds_are_installed_and_policies_hold(mesh: Mesh) -> None:
    """The guide's two objects by kubectl, whose status says that the proxies have them."""
    table = """
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata: {name: table, namespace: httpbin, labels: {route: httpbin}}
spec:
  hosts: [www.example.com]
  http: [{forwardTo: {destinations: [{ref: {name: httpbin}, port: {number: 8000}}]}}]
"""
    policy = """
apiVersion: security.policy.gloo.solo.io/v2
kind: JWTPolicy
metadata: {name: policy, namespace: httpbin}
spec:
  applyToRoutes: [{route: {labels: {route: httpbin}}}]
  config: {providers: {none: {issuer: nobody, local: {secretRef: {objectRef: {name: missing}, key: key}}}}}
"""
    for text, context in ((table, "cluster1"), (policy, "mgmt")):
        said = mesh.kubectl("apply", "--server-side", "--context", context, "-f", "-", stdin=text)
        assert said.returncode == 0, said.stderr
    mesh.wait()

    assert mesh.request().status == 403
    stored = mesh.get("routetable", "table", context="cluster1")
    assert {one["type"]: one["status"] for one in stored["status"]["conditions"]}["Programmed"] == "True"


def test_a_busy_server_is_asked_again(mesh: Mesh, servers: ApiServers) -> None:
    """Every second request is answered 429; nothing is lost by that."""
    busy = servers.own("cluster1") / "busy"
    busy.touch()
    try:
        mesh.apply(
            """
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata: {name: busy, namespace: httpbin}
spec: {hosts: [busy.example.com], http: [{directResponse: {status: 222}}]}
""",
            "cluster1",
        )
    finally:
        busy.unlink()

    assert mesh.request("http://busy.example.com/").status == 222


def test_credentials_that_change_in_the_kubeconfig_are_taken_over(mesh: Mesh, servers: ApiServers) -> None:
    """The server gets another token, as a cluster whose tokens expire does; who renews it writes it into the file."""
    servers.kill("cluster1")
    (servers.own("cluster1") / "token").unlink()
    servers.start("cluster1")
    before = yaml.safe_load(mesh.state.kubeconfig.read_text())
    servers.write_kubeconfig()
    _wait_until_followed(mesh.state.kubeconfig, before)

    mesh.apply(
        """
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata: {name: renewed, namespace: httpbin}
spec: {hosts: [renewed.example.com], http: [{directResponse: {status: 223}}]}
""",
        "cluster1",
    )

    assert mesh.request("http://renewed.example.com/").status == 223


def _wait_until_followed(kubeconfig: Path, before: object) -> None:
    import time

    deadline = time.monotonic() + 20
    while yaml.safe_load(kubeconfig.read_text()) == before:
        assert time.monotonic() < deadline, "the mesh's kubeconfig has the old token"
        time.sleep(0.05)
