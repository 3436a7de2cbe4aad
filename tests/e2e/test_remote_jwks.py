"""Remote key sets in a whole mesh: API servers, control plane, Envoys, and a key server that comes, goes and lies."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest
from tests.support.jwks_server import Behaviour, JwksServer, Received, redirect, reset, serve
from tests.support.mesh import Mesh, Response, running_mesh
from tests.support.tokens import DEV, public_jwk, sign

from meshpass.api.manifest import load_documents

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(240)]

NOT_FETCHED = (401, "Jwks remote fetch is failed")
NO_KEY = (401, "Jwks doesn't have key to match kid or alg from Jwt")
PASSED = (200, "")
PATIENCE_SECONDS = 30.0
SERVICE = {"ref": {"name": "keys"}, "port": {"number": 80}}
"""The Service in front of the workload ``keys``."""

OLD = public_jwk("main", kid="old", alg="RS256")
NEW = public_jwk("p256", kid="new", alg="ES256")
OLD_TOKEN = sign(DEV, kid="old")
NEW_TOKEN = sign(DEV, key="p256", alg="ES256", kid="new")


class KeyServer:
    """A key server in a thread of its own."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._server = JwksServer(behaviour=behaviour)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def count(self) -> int:
        return self._server.count

    @property
    def requests(self) -> list[Received]:
        return self._server.requests

    def serve(self, behaviour: Behaviour) -> None:
        """It says something else from now on."""
        self._server.behaviour = behaviour

    def start(self) -> None:
        self._do(self._server.start())

    def stop(self) -> None:
        self._do(self._server.stop())

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=5)


@contextmanager
def key_server(behaviour: Behaviour) -> Iterator[KeyServer]:
    server = KeyServer(behaviour)
    server.start()
    try:
        yield server
    finally:
        server.close()


MESH = """
apiVersion: meshpass/v1alpha1
kind: LocalMesh
clusters: [{{name: mgmt, management: true}}, {{name: cluster1}}]
namespaces: [{{name: httpbin}}]
workloads:
- name: httpbin
  namespace: httpbin
  cluster: cluster1
  app: httpbin
  service: {{ports: [{{name: http, port: 8000, targetPort: 8080}}]}}
- {{name: client, namespace: httpbin, cluster: cluster1}}
- name: keys
  namespace: httpbin
  cluster: cluster1
  address: 127.0.0.1:{port}
  service: {{ports: [{{name: http, port: 80, targetPort: 8080}}]}}
"""

TABLE = """
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata: {{name: {name}, namespace: httpbin}}
spec:
  hosts: [{name}.example.com]
  workloadSelectors: [{{}}]
  http:
  - name: all
    labels: {{keys: {name}}}
    forwardTo: {{destinations: [{{ref: {{name: httpbin}}, port: {{number: 8000}}}}]}}
"""

POLICY = """
apiVersion: security.policy.gloo.solo.io/v2
kind: JWTPolicy
metadata: {{name: {name}, namespace: httpbin}}
spec:
  applyToRoutes: [{{route: {{labels: {{keys: {name}}}}}}}]
  config:
    providers:
      dev:
        issuer: https://dev.example.com
        remote: {remote}
"""


def write_mesh(directory: Path, port: int) -> Path:
    path = directory / "mesh.yaml"
    path.write_text(MESH.format(port=port))
    return path


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A short name, as Unix sockets need."""
    path = Path(tempfile.mkdtemp(prefix="mpj-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def keys() -> Iterator[KeyServer]:
    """The key server behind the Service ``keys``."""
    with key_server(serve(OLD)) as server:
        yield server


@pytest.fixture(scope="module")
def mesh(directory: Path, keys: KeyServer) -> Iterator[Mesh]:
    with running_mesh(write_mesh(directory, keys.port), directory=directory / "mesh") as running:
        yield running


def protect(mesh: Mesh, name: str, **remote: Any) -> None:
    """The host ``name``.example.com takes tokens whose keys are fetched so."""
    mesh.apply(TABLE.format(name=name) + "---" + POLICY.format(name=name, remote=json.dumps(remote)), "cluster1")


def answer(mesh: Mesh, name: str, token: str = OLD_TOKEN) -> tuple[int, str]:
    response = mesh.request(f"http://{name}.example.com/get", headers={"Authorization": f"Bearer {token}"})
    return verdict(response)


def verdict(response: Response) -> tuple[int, str]:
    return response.status, "" if response.status == 200 else response.text


def status(mesh: Mesh, name: str) -> tuple[str, str]:
    """Approval and message."""
    mesh.wait()
    state = mesh.get("jwtpolicy", name, context="cluster1")["status"]["common"]["State"]
    return state["approval"], state.get("message", "")


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s: {what}"
        time.sleep(0.05)


def meshpass(mesh: Mesh, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "meshpass.cli.main", *arguments],
        env={**os.environ, "MESHPASS_DIR": str(mesh.state.path), "NO_COLOR": "1", "COLUMNS": "400"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def source(mesh: Mesh, url: str, destination: str = "") -> dict[str, Any]:
    """What ``meshpass jwks -o json`` says of one source."""
    listed = meshpass(mesh, "jwks", "-o", "json")
    assert listed.returncode == 0, listed.stderr
    (found,) = [
        one
        for one in json.loads(listed.stdout)["sources"]
        if one["url"] == url and bool(one["destination"]) == bool(destination)
    ]
    return dict(found)


def test_keys_outlive_their_server_and_the_control_plane(directory: Path) -> None:
    """Down at first: 401. Then up: 200 without an edit. Then down for good, and the mesh restarted, and killed: 200.

    One server is asked by its URL, and refuses connections; the other one through a Service, and breaks them.
    """
    names = ("direct", "via")
    with key_server(serve(OLD)) as direct, key_server(reset) as via:
        state, mesh_file = directory / "restarted", write_mesh(directory, via.port)
        direct.stop()
        with running_mesh(mesh_file, directory=state) as mesh:
            often = {"cacheDuration": "2s", "failedRefetchDuration": "1s"}
            protect(mesh, "direct", url=direct.url, **often)
            protect(mesh, "via", url="http://issuer.example.com/keys", destinationRef=SERVICE, **often)
            assert [answer(mesh, name) for name in names] == [NOT_FETCHED, NOT_FETCHED]
            for name in names:
                wait_until(lambda name=name: "could not be fetched" in status(mesh, name)[1], "the status says why")
                assert status(mesh, name)[0] == "WARNING"
                assert mesh.request(f"http://{name}.example.com/get").text == "Jwt is missing"

            direct.start()
            via.serve(serve(OLD))
            for name in names:
                wait_until(lambda name=name: answer(mesh, name) == PASSED, f"the keys of {name} are there")
                wait_until(lambda name=name: status(mesh, name)[0] == "ACCEPTED", "the status is content")

            direct.stop()
            via.serve(reset)
            for name in names:
                wait_until(lambda name=name: status(mesh, name)[0] == "WARNING", "a refresh has failed")
                assert "are in use" in status(mesh, name)[1]
                assert keeps_its_verdicts(mesh, name)

        with running_mesh(mesh_file, directory=state) as mesh:
            assert all(keeps_its_verdicts(mesh, name) for name in names)
            killed = psutil.Process(mesh.record.pid)
            killed.kill()
            psutil.wait_procs([killed], timeout=10)

        with running_mesh(mesh_file, directory=state) as mesh:
            assert all(keeps_its_verdicts(mesh, name) for name in names)
            for name in names:
                wait_until(lambda name=name: "are in use" in status(mesh, name)[1], "the status says how old they are")


def keeps_its_verdicts(mesh: Mesh, name: str) -> bool:
    return answer(mesh, name) == PASSED and answer(mesh, name, NEW_TOKEN) == NO_KEY


@contextmanager
def calling(mesh: Mesh, name: str, token: str) -> Iterator[list[str]]:
    """Inside, keep-alive clients call with the token; whatever is not 200, and every closed connection, is listed."""
    wrong: list[str] = []
    counts = [0, 0]
    stopping = threading.Event()

    def call(number: int) -> None:
        connection = mesh.connect()
        while not stopping.is_set():
            found = connection.request(f"http://{name}.example.com/get", headers={"Authorization": f"Bearer {token}"})
            counts[number] += 1
            if verdict(found) != PASSED:
                wrong.append(f"{found.status} {found.text}")
            if not connection.is_open:
                wrong.append("closed")
        connection.close()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        stopping.set()
        for thread in threads:
            thread.join(timeout=20)
    assert all(counts)


def test_a_new_key_is_found_by_the_tokens_that_it_signed(mesh: Mesh) -> None:
    """A refused token of an unknown kid has the keys fetched again, once; tokens of the old key pass all the while."""
    with key_server(serve(OLD)) as server:
        protect(mesh, "rotated", url=server.url)
        wait_until(lambda: answer(mesh, "rotated") == PASSED, "the keys are there")
        assert server.count == 1

        with calling(mesh, "rotated", OLD_TOKEN) as wrong:
            server.serve(serve(OLD, NEW))
            assert answer(mesh, "rotated", NEW_TOKEN) == NO_KEY
            started = time.monotonic()
            wait_until(lambda: answer(mesh, "rotated", NEW_TOKEN) == PASSED, "the new key is there")
            assert time.monotonic() - started < 10
        assert wrong == []
        assert server.count == 2
        assert {key["kid"] for key in source(mesh, server.url)["keys"]} == {"old", "new"}

        server.serve(serve(NEW))
        with calling(mesh, "rotated", NEW_TOKEN) as wrong:
            assert meshpass(mesh, "jwks", "refresh", server.url).returncode == 0
            wait_until(lambda: answer(mesh, "rotated") == NO_KEY, "the old key is gone")
        assert wrong == []
        assert server.count == 3


def test_one_request_serves_all_policies_and_proxies(mesh: Mesh, keys: KeyServer) -> None:
    """By URL and by Service; `meshpass jwks` names the source, its keys and its policies, and refreshes it by one request."""
    with key_server(serve(OLD, NEW)) as server:
        url = f"{server.url}?secret=word"
        for name in ("first", "second"):
            protect(mesh, name, url=url)
        before = keys.count
        for name in ("third", "fourth"):
            protect(mesh, name, url="http://issuer.example.com/keys", destinationRef=SERVICE)
        for name in ("first", "second", "third", "fourth"):
            wait_until(lambda name=name: answer(mesh, name) == PASSED, f"the keys of {name} are there")
        assert (server.count, keys.count - before) == (1, 1)

        table = meshpass(mesh, "jwks")
        assert table.returncode == 0
        (row,) = [line for line in table.stdout.splitlines() if server.url in line]
        for word in ("old (RS256)", "new (ES256)", "cluster1/httpbin/first, cluster1/httpbin/second"):
            assert word in row
        assert "secret" not in table.stdout
        assert [one["name"] for one in source(mesh, server.url)["policies"]] == ["first", "second"]
        through = source(mesh, "http://issuer.example.com/keys", "keys")
        assert [one["name"] for one in through["policies"]] == ["fourth", "third"]
        assert through["lastError"] == ""

        for number, asked in enumerate((server.url, url), start=2):
            refreshed = meshpass(mesh, "jwks", "refresh", asked, "-o", "json")
            assert refreshed.returncode == 0, refreshed.stderr
            (one,) = json.loads(refreshed.stdout)["sources"]
            assert one["ageSeconds"] < 5
            assert server.count == number
        server.stop()
        failed = meshpass(mesh, "jwks", "refresh", server.url)
        assert failed.returncode == 1
        assert "new (ES256)" in failed.stdout
        assert answer(mesh, "first") == PASSED
        unknown = meshpass(mesh, "jwks", "refresh", "http://nobody.example.com/keys")
        assert (unknown.returncode, "no policy names this key set" in unknown.stderr) == (1, True)


STRICT = """
apiVersion: security.policy.gloo.solo.io/v2
kind: AccessPolicy
metadata: {name: closed, namespace: httpbin}
spec:
  applyToDestinations: [{selector: {name: keys}}]
  config: {authn: {tlsMode: STRICT}}
"""

BY_PATH = """
apiVersion: security.policy.gloo.solo.io/v2
kind: AccessPolicy
metadata: {name: by-path, namespace: httpbin}
spec:
  applyToDestinations: [{selector: {name: keys}}]
  config: {authn: {tlsMode: STRICT}, authzList: [{allowedPaths: [/by-path]}]}
"""

ISOLATED = """
apiVersion: admin.gloo.solo.io/v2
kind: WorkspaceSettings
metadata: {name: global, namespace: gloo-mesh}
spec: {options: {serviceIsolation: {enabled: true}}}
"""


@pytest.mark.parametrize(("manifest", "cluster"), [(STRICT, "cluster1"), (BY_PATH, "cluster1"), (ISOLATED, "mgmt")])
def test_a_key_server_of_the_mesh_learns_who_asks(mesh: Mesh, keys: KeyServer, manifest: str, cluster: str) -> None:
    """Its port takes nobody else; the control plane shows its own identity, and so gets through."""
    (raw,) = load_documents(manifest)
    metadata = raw["metadata"]
    name = metadata["name"]
    mesh.apply(manifest, cluster)
    url = f"http://issuer.example.com/{name}"
    try:
        with pytest.raises(OSError, match=r"HTTP Error 403|reset|closed"):
            urlopen(f"http://{mesh.workload('keys').address}:8080/plain", timeout=10)
        protect(mesh, name, url=url, destinationRef=SERVICE)
        wait_until(lambda: answer(mesh, name) == PASSED, "the keys are there")
    finally:
        mesh.delete(raw["kind"].lower(), name, namespace=metadata["namespace"], context=cluster)

    (asked,) = [one for one in keys.requests if one.target == f"/{name}"]
    assert "URI=spiffe://cluster.local/ns/gloo-mesh/sa/meshpass" in asked.headers["x-forwarded-client-cert"]


def test_a_redirect_to_another_host_is_not_followed(mesh: Mesh) -> None:
    """It is refused, and said; nobody asks the other host."""
    with key_server(serve(OLD)) as other, key_server(redirect(f"http://localhost:{other.port}/keys")) as server:
        protect(mesh, "redirected", url=server.url)
        words = "redirects to another scheme, host or port"
        wait_until(lambda: words in status(mesh, "redirected")[1], "the status says why")
        assert status(mesh, "redirected")[0] == "WARNING"
        assert source(mesh, server.url)["lastError"] == words
        assert words in meshpass(mesh, "jwks").stdout
        assert answer(mesh, "redirected") == NOT_FETCHED
        assert server.count >= 1
        assert other.count == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/keys",
        "http://[::ffff:169.254.169.254]/keys",
        "http://metadata.google.internal/keys",
        "http://2852039166/keys",
    ],
)
def test_a_metadata_service_is_never_asked(mesh: Mesh, url: str) -> None:
    """The status says that it is refused, before any connection is tried."""
    name = f"metadata{url.count(':')}{len(url)}"
    with watched_connections(mesh) as remote:
        protect(mesh, name, url=url)
        wait_until(lambda: "never asked for keys" in status(mesh, name)[1], "the status says why")
        assert status(mesh, name)[0] == "WARNING"
        assert "never asked for keys" in source(mesh, url)["lastError"]
        assert answer(mesh, name) == NOT_FETCHED
    assert [address for address in remote if not address.startswith("127.")] == []


@contextmanager
def watched_connections(mesh: Mesh) -> Iterator[set[str]]:
    """Inside, the addresses are collected that the supervisor is seen to connect to, tries included."""
    process = psutil.Process(mesh.record.pid)
    found: set[str] = set()
    stopping = threading.Event()

    def watch() -> None:
        while not stopping.wait(0.01):
            found.update(one.raddr.ip for one in process.net_connections("inet") if one.raddr)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        stopping.set()
        thread.join(timeout=5)
