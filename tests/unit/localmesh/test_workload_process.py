"""Programs of workloads get their port, their sidecar, and what the mesh file says."""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest

from meshpass.errors import LocalMeshError
from meshpass.localmesh.directory import StateDirectory
from meshpass.localmesh.meshfile import App, Port, ProxyKind, Service, Workload
from meshpass.localmesh.objects import Placement
from meshpass.localmesh.outbound import proxy_environment
from meshpass.localmesh.process import Children
from meshpass.localmesh.workload_process import (
    EnvoySettings,
    app_process,
    envoy_process,
    place_workloads,
    sample_command,
)

PORTS = Service(ports=(Port(port=80, name="http", target_port=8080), Port(port=81, name="grpc-web", target_port=9090)))
PLACEMENT = Placement(address="127.1.1.2", apps={8080: "127.0.0.1:5000", 9090: "127.0.0.1:5001"})


def workload(**fields):
    return Workload(**{"name": "web", "namespace": "shop", "cluster": "one", **fields})


@pytest.fixture
def state(tmp_path):
    return StateDirectory(path=tmp_path)


def test_a_command_gets_its_ports_and_its_sidecar(state, tmp_path):
    """PORT is the first port's; every named port has one; requests go to the sidecar but for localhost."""
    (tmp_path / "sub").mkdir()
    web = workload(command=("sh", "-c", "true"), env={"A": "b"}, working_directory="sub", service=PORTS)
    found = app_process(state, web, PLACEMENT, tmp_path)

    assert found is not None
    assert found.working_directory == tmp_path / "sub"
    assert found.children is Children.GROUP
    expected = {
        "PORT": "5000",
        "PORT_HTTP": "5000",
        "PORT_GRPC_WEB": "5001",
        "http_proxy": "http://127.1.1.2:15001",
        "HTTP_PROXY": "http://127.1.1.2:15001",
        "no_proxy": "localhost,127.0.0.1",
        "A": "b",
    }
    assert expected.items() <= found.environment.items()


def test_env_wins(state, tmp_path):
    """What the mesh file says is what the program sees."""
    web = workload(command=("sh",), env={"PORT": "1"}, service=PORTS)
    found = app_process(state, web, PLACEMENT, tmp_path)

    assert found is not None
    assert found.environment["PORT"] == "1"


def test_a_sample_is_a_python_module(state, tmp_path):
    """Run by the interpreter that runs us, without the user's environment."""
    found = app_process(state, workload(app=App.HTTPBIN, service=PORTS), PLACEMENT, tmp_path)

    assert found is not None
    assert found.command == (sys.executable, "-m", "meshpass.localmesh.apps.httpbin")
    assert "HOME" not in found.environment


@pytest.mark.parametrize(("labels", "version"), [(None, "v1"), ({"app": "reviews", "version": "v2"}, "v2")])
def test_a_sample_knows_its_pod_its_cluster_and_its_version(state, tmp_path, labels, version):
    """The version is the Pod's label, so that it is said once; a user's command keeps its own variables."""
    sample = app_process(state, workload(app=App.REVIEWS, labels=labels, service=PORTS), PLACEMENT, tmp_path)
    command = app_process(state, workload(command=("sh",), labels=labels, service=PORTS), PLACEMENT, tmp_path)

    assert sample is not None
    assert command is not None
    said = {"HOSTNAME": "web", "CLUSTER_NAME": "one", "SERVICE_VERSION": version}
    assert said.items() <= sample.environment.items()
    assert "SERVICE_VERSION" not in command.environment


@pytest.mark.parametrize("app", list(App))
def test_every_sample_has_a_module(app):
    """What the mesh file may name can be started."""
    assert importlib.util.find_spec(sample_command(app)[-1]) is not None


@pytest.mark.parametrize("fields", [{}, {"address": "127.0.0.1:1", "service": PORTS}])
def test_clients_and_addresses_have_no_program(state, tmp_path, fields):
    """They run, or do not, without us."""
    assert app_process(state, workload(**fields), PLACEMENT, tmp_path) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"command": ("no-such-program",)}, "found no program no-such-program"),
        ({"command": ("sh",), "working_directory": "nowhere"}, "nowhere is no directory"),
    ],
)
def test_what_cannot_start_is_said_before_anything_does(state, tmp_path, fields, message):
    """With the workload's name."""
    with pytest.raises(LocalMeshError, match=f"one/shop/web: .*{message}"):
        app_process(state, workload(**fields), PLACEMENT, tmp_path)


def test_places():
    """Apps that we start get a free port for every target port; an address is itself, by number; clients get none."""
    some = (
        workload(name="a", command=("x",), service=PORTS),
        workload(name="b", address="localhost:81", service=Service(ports=(Port(port=80),))),
        workload(name="c"),
    )
    found = place_workloads(some, {one.key: f"127.1.1.{i}" for i, one in enumerate(some)})

    a, b, c = (found[one.key] for one in some)
    assert set(a.apps) == {8080, 9090}
    assert len(set(a.apps.values())) == 2
    assert b == Placement(address="127.1.1.1", apps={80: "127.0.0.1:81"})
    assert c == Placement(address="127.1.1.2", apps={})


def test_an_address_without_an_address_is_an_error():
    """Said with the workload and the host."""
    one = workload(address="nowhere.invalid:80", service=Service(ports=(Port(port=80),)))
    with pytest.raises(LocalMeshError, match=r"one/shop/web: address .*: nowhere.invalid has no IPv4 address"):
        place_workloads((one,), {one.key: "127.1.1.1"})


def test_a_program_of_exec_is_proxied_for_every_host():
    """no_proxy is emptied: nothing goes past the sidecar."""
    url = "http://127.1.1.2:15001"
    assert dict(proxy_environment("127.1.1.2")) == {
        "http_proxy": url,
        "HTTP_PROXY": url,
        "no_proxy": "",
        "NO_PROXY": "",
    }


def test_an_envoys_bootstrap_is_written(state, tmp_path):
    """With the node's name, next to its socket."""
    settings = EnvoySettings(
        binary=tmp_path / "envoy", state=state, run_directory=tmp_path, ads_sockets={"one": tmp_path / "ads.sock"}
    )
    found = envoy_process(settings, workload(), PLACEMENT, 7)

    bootstrap = json.loads((tmp_path / "envoy-7.json").read_text())
    assert bootstrap["cluster_manager"]["upstream_bind_config"]["source_address"]["address"] == PLACEMENT.address
    assert bootstrap["node"] == {"id": "sidecar~one~shop~web", "cluster": "web.shop"}
    assert str(tmp_path / "envoy-7.json") in found.command
    assert found.command[found.command.index("--concurrency") + 1] == "1"
    assert "--disable-hot-restart" in found.command
    assert found.name == "the sidecar of one/shop/web"
    assert (tmp_path / "envoy-7.json").stat().st_mode & 0o777 == 0o600


def test_a_gateways_envoy_is_named_as_one(state, tmp_path):
    """In its node's id and in messages."""
    settings = EnvoySettings(
        binary=tmp_path / "envoy", state=state, run_directory=tmp_path, ads_sockets={"one": tmp_path / "ads.sock"}
    )
    found = envoy_process(settings, workload(proxy=ProxyKind.GATEWAY, service=PORTS), PLACEMENT, 1)

    assert json.loads((tmp_path / "envoy-1.json").read_text())["node"]["id"] == "gateway~one~shop~web"
    assert found.name == "the gateway one/shop/web"
