"""The life of a mesh by its commands: up, a second up, exec, objects, restart, kill, down."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.envoy

REQUEST = """
import sys, urllib.request
request = urllib.request.Request("http://www.example.com/get", headers={"X-httpbin-mesh": "true"})
print(urllib.request.urlopen(request, timeout=10).status)
"""
UP = ("up", "--detach", "--clusters", "1", "--apps", "httpbin")
PROXIES = 4
"""Of httpbin, the client and the gateways."""


class Shell:
    """Runs meshpass on one state directory, as a shell would."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.mesh = directory / "mesh"

    def __call__(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "meshpass.cli.main", *arguments],
            env=self.environment,
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "MESHPASS_DIR": str(self.mesh), "TMPDIR": str(self.directory), "NO_COLOR": "1"}

    def record(self) -> dict:
        return json.loads((self.mesh / "mesh.json").read_text())

    def processes(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        supervisor = psutil.Process(self.record()["pid"])
        return [supervisor, *supervisor.children(recursive=True)]


@pytest.fixture(scope="module")
def shell():
    """A detached mesh in a directory with a short name, as Unix sockets need."""
    directory = Path(f"/tmp/mpc-{os.getpid()}")
    directory.mkdir(mode=0o700)
    found = Shell(directory)
    up = found(*UP)
    try:
        assert up.returncode == 0, up.stderr
        yield found
    finally:
        found("down")
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def route_table(shell):
    """The guide's table, by the demo's own text."""
    from meshpass.cli import guide

    path = shell.directory / "route-table.yaml"
    path.write_text(guide.ROUTE_TABLE)
    assert shell("apply", "--context", "cluster1", "-f", str(path)).returncode == 0
    assert shell("wait").returncode == 0
    return path


def test_a_second_up_says_so(shell):
    """And does no harm to the first."""
    for more in ([], ["--detach"]):
        second = shell("up", *more)
        assert second.returncode == 1
        assert f"a mesh is already running on {shell.mesh} (pid {shell.record()['pid']})" in second.stderr
    assert shell("status").returncode == 0


def test_status_shows_every_proxy_in_sync(shell):
    """For people, and as JSON."""
    table = shell("status").stdout
    document = json.loads(shell("status", "-o", "json").stdout)

    assert table.count("in sync") == PROXIES
    assert {proxy["node"] for proxy in document["controlPlane"]["proxies"]} == {
        "sidecar~cluster1~httpbin~httpbin",
        "sidecar~cluster1~httpbin~client",
        "gateway~cluster1~gloo-mesh-gateways~istio-ingressgateway",
        "gateway~cluster1~gloo-mesh-gateways~istio-eastwestgateway",
    }
    assert "(gateway)" in next(line for line in table.splitlines() if "istio-ingressgateway" in line)
    assert [cluster["name"] for cluster in document["mesh"]["clusters"]] == ["mgmt", "cluster1"]


def test_env_leads_to_the_clusters(shell):
    """The guide's variables, for eval."""
    line = shell("env").stdout

    assert f"KUBECONFIG={shell.mesh}/kubeconfig" in line
    assert "REMOTE_CONTEXT1=cluster1" in line


def test_the_gateway_is_where_status_and_env_say(shell):
    """The load balancer's address is the Pod's; nothing listens there before a VirtualGateway says so."""
    service = shell(
        "get", "svc", "-n", "gloo-mesh-gateways", "istio-ingressgateway", "-o", "json", "--context", "cluster1"
    )
    gateway = next(one for one in shell.record()["workloads"] if one["name"] == "istio-ingressgateway")
    inside = shell("exec", "-n", "gloo-mesh-gateways", "istio-ingressgateway", "--", "true")
    variables = shell("env").stdout

    assert json.loads(service.stdout)["status"]["loadBalancer"]["ingress"] == [{"ip": gateway["address"]}]
    assert f"INGRESS_GW_ADDRESS={gateway['address']} " in variables
    assert f"ENDPOINT_HTTP_GW_CLUSTER1={gateway['address']}:8080 " in variables
    assert inside.returncode == 1
    assert "is a gateway" in inside.stderr
    for port in (15001, *gateway["gatewayPorts"].values()):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((gateway["address"], port)).close()


def test_other_sample_apps_are_not_there(shell):
    """Neither as processes nor as objects."""
    processes = [" ".join(process.cmdline()) for process in shell.processes()]
    services = shell("get", "svc", "-A", "-o", "name", "--context", "cluster1").stdout.split()

    assert [line.rpartition(".")[2] for line in processes if "localmesh.apps" in line] == ["httpbin"]
    assert services == ["service/istio-eastwestgateway", "service/istio-ingressgateway", "service/httpbin"]


def test_exec_is_in_the_mesh_and_has_the_commands_exit_code(shell, route_table):
    """An unmodified program reaches a host that only the mesh knows."""
    inside = shell("exec", "-n", "httpbin", "client", "--", sys.executable, "-c", REQUEST)
    code = shell("exec", "--context", "cluster1", "-n", "httpbin", "client", "--", "sh", "-c", "exit 7")
    nothing = shell("exec", "-n", "httpbin", "client", "--", "no-such-program")

    assert inside.stdout == "200\n", inside.stderr
    assert code.returncode == 7
    assert nothing.returncode == 127
    assert "no-such-program: No such file or directory" in nothing.stderr


def test_objects_by_the_commands(shell, route_table):
    """apply, get in every format, apply of what get printed, delete."""
    other = route_table.read_text().replace("www-example-com", "other").replace("www.example.com", "other.example.com")
    created = shell("apply", "--context", "cluster1", "-f", "-", stdin=other)
    table = shell("get", "rt", "-A", "--context", "cluster1").stdout.splitlines()
    name = shell("get", "routetable", "-n", "httpbin", "-o", "name", "--context", "cluster1").stdout
    yaml = shell("get", "routetable/other", "-n", "httpbin", "-o", "yaml", "--context", "cluster1").stdout
    assert "managedFields" not in yaml
    same = shell("apply", "--context", "cluster1", "-f", "-", stdin=yaml)
    none = shell("get", "jwtpolicy", "-n", "httpbin")
    missing = shell("get", "jwtpolicy", "-n", "httpbin", "nothing")
    gone = shell("delete", "routetable", "-n", "httpbin", "other", "--context", "cluster1")

    assert created.stdout == "routetable.networking.gloo.solo.io/other created\n"
    assert table[0].split()[:2] == ["NAMESPACE", "NAME"]
    assert [line.split()[:2] for line in table[1:]] == [["httpbin", "other"], ["httpbin", "www-example-com"]]
    assert name.splitlines()[0] == "routetable.networking.gloo.solo.io/other"
    assert same.returncode == 0, same.stderr
    assert (none.returncode, none.stdout, none.stderr) == (0, "", "No resources found in httpbin namespace.\n")
    assert missing.returncode == 1
    assert '"nothing" not found' in missing.stderr
    assert gone.stdout == 'routetable.networking.gloo.solo.io "other" deleted\n'


def test_only_the_owner_gets_in(shell):
    """Everything secret is of mode 0600, and the directory of mode 0700."""
    assert shell.mesh.stat().st_mode & 0o777 == 0o700
    for path in [shell.mesh / "kubeconfig", shell.mesh / "lock", *(shell.mesh / "run").glob("envoy-*.json")]:
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert len(list((shell.mesh / "run").glob("envoy-*.json"))) == PROXIES


def test_nothing_listens_beyond_loopback(shell):
    """No process of the mesh."""
    listening = {
        connection.laddr.ip
        for process in shell.processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }

    assert listening
    assert all(address.startswith("127.") for address in listening), listening


def test_a_crashed_sidecar_comes_back(shell, route_table):
    """With its configuration, without anybody's doing."""
    envoys = [process for process in shell.processes() if process.name() == "envoy"]
    assert len(envoys) == PROXIES
    for process in envoys:
        process.kill()
    psutil.wait_procs(envoys, timeout=10)
    deadline = time.monotonic() + 30
    while shell("status").stdout.count("in sync") != PROXIES and time.monotonic() < deadline:
        pass

    inside = shell("exec", "-n", "httpbin", "client", "--", sys.executable, "-c", REQUEST)
    assert inside.stdout == "200\n", inside.stderr


def test_a_killed_supervisor_takes_all_with_it_and_the_next_one_starts(shell, route_table):
    """kill -9: no process is left; `up` cleans up, keeps the ports and what was stored."""
    before = shell.record()
    processes = shell.processes()
    assert len(processes) >= 4
    os.kill(before["pid"], signal.SIGKILL)
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []

    assert shell("status").returncode == 1
    up = shell(*UP)
    assert up.returncode == 0, up.stderr
    after = shell.record()
    assert after["pid"] != before["pid"]
    assert after["clusters"] == before["clusters"]
    assert after["workloads"] == before["workloads"]
    inside = shell("exec", "-n", "httpbin", "client", "--", sys.executable, "-c", REQUEST)
    assert inside.stdout == "200\n", inside.stderr


def test_two_meshes_do_not_meet(shell):
    """Another directory, other addresses; both answer."""
    other = Shell(shell.directory / "other")
    other.directory.mkdir()
    try:
        up = other(*UP)
        assert up.returncode == 0, up.stderr
        addresses = [{one["address"] for one in mesh.record()["workloads"]} for mesh in (shell, other)]
        assert addresses[0].isdisjoint(addresses[1])
        assert other("status").stdout.count("in sync") == shell("status").stdout.count("in sync") == PROXIES
    finally:
        assert other("down").returncode == 0


def test_a_mesh_of_ones_own(shell):
    """A mesh file's command gets PORT, and is reached through the sidecars by its Service's name."""
    own = Shell(shell.directory / "own")
    own.directory.mkdir()
    (own.directory / "app.py").write_text(
        "import http.server, os\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(os.environ['GREETING'].encode())\n"
        "http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()\n"
    )
    (own.directory / "mesh.yaml").write_text(f"""
apiVersion: meshpass/v1alpha1
kind: LocalMesh
clusters: [{{name: control, management: true}}, {{name: east}}]
workloads:
- name: shop
  namespace: web
  cluster: east
  command: [{sys.executable}, app.py]
  env: {{GREETING: hello}}
  service: {{ports: [{{name: http, port: 80, targetPort: 8080}}]}}
- {{name: visitor, namespace: web, cluster: east}}
""")
    try:
        up = own("up", "--detach", "-f", "mesh.yaml")
        assert up.returncode == 0, up.stderr
        code = "import urllib.request as u; print(u.urlopen('http://shop.web/', timeout=10).read().decode())"
        inside = own("exec", "-n", "web", "visitor", "--", sys.executable, "-c", code)
        assert inside.stdout == "hello\n", inside.stderr
    finally:
        assert own("down").returncode == 0


def test_down_is_quick_and_complete(shell):
    """SIGTERM ends every process, within seconds."""
    processes = shell.processes()
    started = time.monotonic()
    down = shell("down")

    assert down.returncode == 0
    assert time.monotonic() - started < 8
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert alive == []
    assert shell("down").returncode == 0


def test_ctrl_c_ends_a_mesh_in_the_foreground(shell):
    """Exit code 0, nothing left; before it, a crash is told as trouble, not as a step."""
    own = Shell(shell.directory / "front")
    own.directory.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "meshpass.cli.main", "up", "--clusters", "1", "--apps", "httpbin"],
        env=own.environment,
        cwd=own.directory,
        stderr=subprocess.PIPE,
        text=True,
    ) as up:
        assert up.stderr is not None
        for line in up.stderr:
            if "Ctrl-C stops it" in line:
                break
        processes = own.processes()
        next(process for process in processes if process.name() == "envoy").kill()
        told = up.stderr.readline()
        up.send_signal(signal.SIGINT)
        rest = up.stderr.read()

    assert up.returncode == 0, rest
    assert told.startswith("✗ the sidecar of cluster1/httpbin/")
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert alive == []


def test_an_up_that_nobody_waits_for_any_more_comes_to_nothing(shell):
    """The starter of a detached mesh is killed before it is ready: no mesh is left behind."""
    own = Shell(shell.directory / "alone")
    own.directory.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "meshpass.cli.main", "up", "--detach", "--clusters", "1"],
        env=own.environment,
        stderr=subprocess.PIPE,
    ) as up:
        assert up.stderr is not None
        while b"API servers" not in up.stderr.readline():
            pass
        processes = own.processes()
        up.kill()

    _, alive = psutil.wait_procs(processes, timeout=20)
    assert alive == []


def test_a_taken_port_is_named(shell):
    """A cluster's port that the mesh file wants and another program has."""
    own = Shell(shell.directory / "taken")
    own.directory.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (own.directory / "mesh.yaml").write_text(
            "apiVersion: meshpass/v1alpha1\nkind: LocalMesh\n"
            f"clusters: [{{name: mgmt, management: true, port: {port}}}]\n"
        )
        for more in ([], ["--detach"]):
            up = own("up", "-f", "mesh.yaml", *more)
            assert up.returncode == 1
            assert f"error: port {port} of the API server of mgmt is taken" in up.stderr
            assert "hint: " in up.stderr
