"""``env`` prints the guide's variables, ``exec`` finds its workload."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import msgspec
import pytest

from meshpass.cli.environment import environment, find_workload, render_exports
from meshpass.errors import LocalMeshError
from meshpass.localmesh.directory import ClusterRecord, MeshRecord, StateDirectory, WorkloadRecord

RECORD = MeshRecord(
    pid=1,
    ready=True,
    run_directory="/r",
    clusters=tuple(
        ClusterRecord(name=name, management=name == "mgmt", port=1) for name in ("mgmt", "cluster1", "cluster2")
    ),
    workloads=(WorkloadRecord(cluster="cluster1", namespace="httpbin", name="client", node="n", address="127.1.1.2"),),
)
STATE = StateDirectory(path=Path("/home/me/my mesh"))


def test_the_variables_are_the_guides():
    """A shell that evaluates the line has exactly them."""
    line = render_exports(environment(RECORD, STATE))
    shell = subprocess.run(
        ["sh", "-c", f"{line}; env"], env={}, capture_output=True, text=True, check=True
    ).stdout.splitlines()

    assert line.startswith("export KUBECONFIG=")
    assert "\n" not in line
    assert {one for one in shell if not one.startswith(("PWD=", "_=", "SHLVL=", "OLDPWD="))} == {
        "KUBECONFIG=/home/me/my mesh/kubeconfig",
        "MGMT_CONTEXT=mgmt",
        "REMOTE_CONTEXT1=cluster1",
        "REMOTE_CONTEXT2=cluster2",
        "MGMT_CLUSTER=mgmt",
        "REMOTE_CLUSTER1=cluster1",
        "REMOTE_CLUSTER2=cluster2",
        "MESHPASS_DIR=/home/me/my mesh",
    }


def test_gateways_are_where_the_guides_look_for_them():
    """The first gateway's address, and for every cluster address and port, by what the ports are called."""
    gateways = (
        WorkloadRecord(
            cluster="cluster1",
            namespace="gateways",
            name="ingress",
            node="gateway~1",
            address="127.1.1.3",
            gateway_ports={"http2": 8080, "https": 8443, "tcp": 31400},
        ),
        WorkloadRecord(
            cluster="cluster2",
            namespace="gateways",
            name="ingress",
            node="gateway~2",
            address="127.1.1.4",
            gateway_ports={"80": 8081},
        ),
    )
    found = environment(msgspec.structs.replace(RECORD, workloads=(*RECORD.workloads, *gateways)), STATE)

    assert {name: value for name, value in found.items() if "GW" in name} == {
        "INGRESS_GW_ADDRESS": "127.1.1.3",
        "ENDPOINT_HTTP_GW_CLUSTER1": "127.1.1.3:8080",
        "ENDPOINT_HTTPS_GW_CLUSTER1": "127.1.1.3:8443",
        "ENDPOINT_HTTP_GW_CLUSTER2": "127.1.1.4:8081",
    }


def test_hostile_names_stay_words():
    """Nothing in a directory's name is run by eval."""
    assert shlex.split(render_exports({"A": "$(touch x); 'y"})) == ["export", "A=$(touch x); 'y"]


def test_the_first_workload_cluster_is_meant():
    """Where no context is given."""
    assert find_workload(RECORD, None, "httpbin", "client").address == "127.1.1.2"


@pytest.mark.parametrize(
    ("context", "namespace", "name", "message", "hint"),
    [
        ("cluster9", "httpbin", "client", "the mesh has no cluster cluster9", "mgmt, cluster1, cluster2"),
        (None, "default", "client", "cluster1 has no workload client in namespace default", "-n httpbin client"),
        (None, "httpbin", "clint", "cluster1 has no workload clint", "did you mean -n httpbin client?"),
        ("cluster2", "httpbin", "client", "cluster2 has no workload client", "workloads of cluster2: none"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(context, namespace, name, message, hint):
    """So that the next try is right."""
    with pytest.raises(LocalMeshError) as caught:
        find_workload(RECORD, context, namespace, name)

    assert message in str(caught.value)
    assert hint in (caught.value.hint or "")
