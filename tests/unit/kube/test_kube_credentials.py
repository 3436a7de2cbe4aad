from __future__ import annotations

import asyncio
import stat
import sys
from pathlib import Path

import httpx2 as httpx
import pytest
import yaml

from meshpass.errors import ApiError, MeshpassError
from meshpass.identity.certificate import ensure_server_certificate
from meshpass.identity.token import Redacted
from meshpass.kube.client import KubeClient
from meshpass.kube.credentials import KubeconfigAuth, connect, read_access
from meshpass.kube.kubeconfig import ClusterAccess, write_kubeconfig


def write(path: Path, user: dict, server: str = "https://127.0.0.1:1") -> Path:
    document = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "ns1"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(document))
    return path


class Gate(httpx.AsyncBaseTransport):
    """Lets in whoever presents the token."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.presented: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.presented.append(request.headers.get("authorization", ""))
        known = self.presented[-1] == f"Bearer {self.token}"
        return httpx.Response(200 if known else 401, json={"kind": "Status", "code": 200 if known else 401})


def client_of(path: Path, gate: Gate) -> KubeClient:
    auth = KubeconfigAuth(path, None, read_access(path, None))
    return KubeClient(httpx.AsyncClient(transport=gate, base_url="https://a.test", auth=auth), cluster="c")


async def test_requests_at_the_same_time_all_get_the_new_credentials(tmp_path):
    """Each was sent with the old ones; the first answer has the file read again, and the others find that done."""
    path = write(tmp_path / "config", {"token": "old"})
    gate = MeetingGate("new", several=3)
    client = client_of(path, gate)
    write(path, {"token": "new"})

    await asyncio.gather(*(client.request_json("GET", "/version") for _ in range(3)))

    assert gate.presented == ["Bearer old"] * 3 + ["Bearer new"] * 3


class MeetingGate(Gate):
    """Answers nobody before so many have come."""

    def __init__(self, token: str, several: int) -> None:
        super().__init__(token)
        self._several = several
        self._met = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        if len(self.presented) >= self._several:
            self._met.set()
        await self._met.wait()
        return answer


async def test_credentials_are_read_again_after_401(tmp_path):
    path = write(tmp_path / "config", {"token": "old"})
    gate = Gate("old")
    client = client_of(path, gate)
    await client.request_json("GET", "/version")
    gate.token = "new"
    with pytest.raises(ApiError) as error:
        await client.request_json("GET", "/version")
    assert error.value.code == 401
    assert error.value.hint
    write(path, {"token": "new"})
    await client.request_json("GET", "/version")
    await client.request_json("GET", "/version")

    assert gate.presented == [f"Bearer {token}" for token in ("old", "old", "old", "new", "new")]


async def test_credentials_stay_when_the_file_is_broken(tmp_path):
    path = write(tmp_path / "config", {"token": "old"})
    gate = Gate("new")
    client = client_of(path, gate)
    path.write_text("{")
    with pytest.raises(ApiError):
        await client.request_json("GET", "/version")
    assert gate.presented == ["Bearer old"]


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_credentials_come_from_a_plugin_of_any_version(tmp_path, version):
    plugin = tmp_path / "plugin"
    plugin.write_text(
        f"#!{sys.executable}\nimport json, os\n"
        'info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])\n'
        'token = info["apiVersion"].rpartition("/")[2]\n'
        'print(json.dumps({**info, "status": {"token": token}}))\n'
    )
    plugin.chmod(0o700)
    execution = {"apiVersion": f"client.authentication.k8s.io/{version}", "command": str(plugin)}
    path = write(tmp_path / "config", {"exec": execution})
    gate = Gate(version)
    await client_of(path, gate).request_json("GET", "/version")
    assert gate.presented == [f"Bearer {version}"]


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; sys.exit('not logged in')", "not logged in"),
        ("print('{}')", "KeyError"),
        ("print(1)", "TypeError"),
    ],
)
async def test_credentials_plugin_failure_is_a_401_that_says_so(tmp_path, program, words):
    execution = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", program],
        "installHint": "install it",
    }
    path = write(tmp_path / "config", {"exec": execution})
    with pytest.raises(ApiError, match=words) as error:
        await client_of(path, Gate("x")).request_json("GET", "/version")
    assert (error.value.code, error.value.hint) == (401, "install it")


async def test_credentials_token_file_is_relative_to_the_kubeconfig(tmp_path):
    (tmp_path / "token").write_text("from-file\n")
    path = write(tmp_path / "config", {"tokenFile": "token"})
    gate = Gate("from-file")
    await client_of(path, gate).request_json("GET", "/version")
    (tmp_path / "token").write_text("rotated")
    gate.token = "rotated"
    await client_of(path, gate).request_json("GET", "/version")
    assert gate.presented[-1] == "Bearer rotated"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "a: b",
        "token: 'hunter2\nclusters: [",
        "clusters: [{name: c}]\ncontexts: []",
        "clusters: 5\ncontexts: []",
        "clusters: []\ncontexts: [{name: x, context: {cluster: nope}}]\ncurrent-context: x",
    ],
)
def test_credentials_bad_kubeconfig_is_named_and_not_quoted(tmp_path, text):
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(MeshpassError, match="config") as error:
        read_access(path, None)
    assert "hunter2" not in str(error.value)


def test_credentials_missing_file_and_context_are_named(tmp_path):
    with pytest.raises(MeshpassError, match="not found"):
        read_access(tmp_path / "nope", None)
    with pytest.raises(MeshpassError, match="cluster9"):
        read_access(write(tmp_path / "config", {}), "cluster9")


async def test_credentials_loopback_servers_are_reached_without_the_environments_proxy(tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    mounts = []
    for server in ("https://127.0.0.1:1", "https://localhost:1", "https://api.example:1"):
        http, _ = connect(write(tmp_path / "config", {}, server), None)
        mounts.append(bool(http._mounts))
        await http.aclose()
    assert mounts == [False, False, True]


async def test_client_takes_the_namespace_of_the_context(tmp_path):
    async with KubeClient.from_kubeconfig(write(tmp_path / "config", {}), None, cluster="c") as client:
        assert (client.namespace, client.cluster, client.host) == ("ns1", "c", "127.0.0.1:1")


def test_kubeconfig_written_is_private_and_reads_back(tmp_path):
    certificate = ensure_server_certificate(tmp_path / "tls", name="a", hosts=["127.0.0.1"])
    pem = certificate.ca.read_bytes()
    clusters = [
        ClusterAccess(name=name, server=f"https://127.0.0.1:{port}", ca_pem=pem, token=Redacted(f"token-{name}"))
        for name, port in (("mgmt", 1), ("cluster1", 2))
    ]
    path = tmp_path / "kubeconfig"
    path.write_text("old")
    path.chmod(0o644)
    write_kubeconfig(path, clusters, "mgmt")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["kubeconfig", "tls"]
    assert read_access(path, None).context_name == "mgmt"
    access = read_access(path, "cluster1")
    assert (access.cluster.server, access.user.token) == ("https://127.0.0.1:2", "token-cluster1")
    assert "token-mgmt" not in repr(clusters)
    http, _ = connect(path, "cluster1")
    assert isinstance(http, httpx.AsyncClient)


def test_kubeconfig_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "kubeconfig").mkdir()
    with pytest.raises(OSError, match="kubeconfig"):
        write_kubeconfig(tmp_path / "kubeconfig", [], "mgmt")
    assert [entry.name for entry in tmp_path.iterdir()] == ["kubeconfig"]
