"""`meshpass check` in a whole mesh: good when all is well, and a line with what, where and a hint for what is not."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.support.mesh import Mesh, running_mesh
from typer.testing import CliRunner

from meshpass.api.core import Pod
from meshpass.api.kinds import kind_of_type
from meshpass.cli.main import build_app
from meshpass.localmesh.objects import APP_ADDRESSES_ANNOTATION

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(180)]

PATIENCE_SECONDS = 20.0

TABLE = """
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata: {{name: {name}, namespace: httpbin}}
spec:
  hosts: [{name}.example.com]
  workloadSelectors: [{{}}]
  failureMode: {mode}
  http:
  - name: all
    labels: {{name: {name}}}
    forwardTo: {{destinations: [{{ref: {{name: {service}}}, port: {{number: 8000}}}}]}}
"""
POLICY = """
apiVersion: security.policy.gloo.solo.io/v2
kind: JWTPolicy
metadata: {{name: {name}, namespace: httpbin}}
spec:
  applyToRoutes: [{{route: {{labels: {{name: {name}}}}}}}]
  config: {{providers: {{dev: {{issuer: https://dev.example.com, {keys}}}}}}}
"""
GATEWAY = """
apiVersion: networking.gloo.solo.io/v2
kind: VirtualGateway
metadata: {name: edge, namespace: gloo-mesh-gateways}
spec:
  workloads: [{selector: {labels: {istio: ingressgateway}, cluster: cluster1}}]
  listeners:
  - port: {number: 443}
    http: {}
    tls: {mode: SIMPLE, secretName: edge}
    allowedRouteTables: [{host: www.example.com}]
"""


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    """Of a short path, as Unix sockets need."""
    directory = Path(tempfile.mkdtemp(prefix="mpk-", dir="/tmp"))
    try:
        with running_mesh(directory=directory / "mesh", apps=("httpbin",), clusters=1) as running:
            yield running
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Page:
    """What one run of the command said."""

    def __init__(self, mesh: Mesh, *arguments: str) -> None:
        result = CliRunner().invoke(build_app(), ["check", "--dir", str(mesh.state.path), *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        self.code = result.exit_code
        self.text = result.stdout

    def lines(self, *words: str) -> list[str]:
        """The lines with all of these words."""
        return [line for line in self.text.splitlines() if all(word in line for word in words)]


def await_page(mesh: Mesh, *words: str, timeout: str = "1s") -> Page:
    """The first page that has a line with these words."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        page = Page(mesh, "--timeout", timeout)
        if page.lines(*words):
            return page
        assert time.monotonic() < deadline, page.text


def assert_well(mesh: Mesh) -> None:
    """Nothing is wrong, within moments."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (page := Page(mesh)).code != 0:
        assert time.monotonic() < deadline, page.text


@pytest.fixture(autouse=True)
def clean(mesh: Mesh) -> Iterator[None]:
    """Each test begins and ends in a mesh that is well."""
    assert_well(mesh)
    yield
    for kind, namespace in (
        ("routetable", "httpbin"),
        ("jwtpolicy", "httpbin"),
        ("virtualgateway", "gloo-mesh-gateways"),
    ):
        for context in ("mgmt", "cluster1"):
            found = mesh.kubectl("delete", kind, "--all", "-n", namespace, "--context", context)
            assert found.returncode == 0, found.stderr
    assert_well(mesh)


def test_a_healthy_mesh_is_one_screen_of_good_marks(mesh: Mesh) -> None:
    """Exit code 0, in text and as JSON."""
    mesh.apply(TABLE.format(name="good", mode="ROUTE_REPLACEMENT", service="httpbin"), "cluster1")
    page = Page(mesh)
    document = json.loads(Page(mesh, "-o", "json").text)

    assert page.code == 0, page.text
    assert len(page.text.splitlines()) <= 24
    assert page.lines("✓ API servers", "2 of 2 answer")
    assert page.lines("✓ Proxies", "4 of 4 in sync")
    assert page.lines("✓ Programs", "1 of 1 listen")
    assert page.lines("✓ Rejections", "none")
    assert "✗" not in page.text
    assert document["healthy"] is True
    assert all(section["mark"] in {"ok", "warning"} for section in document["sections"])


def test_a_policy_with_a_bad_key_is_named(mesh: Mesh) -> None:
    """With the field, and the command that shows all of it."""
    mesh.apply(TABLE.format(name="bad", mode="ROUTE_REPLACEMENT", service="httpbin"), "cluster1")
    mesh.apply(POLICY.format(name="bad", keys="local: {inline: no key}"), "mgmt")
    page = Page(mesh)

    assert page.code == 1
    (line,) = page.lines("✗ JWTPolicy mgmt/httpbin/bad: INVALID")
    assert "spec.config.providers[dev].local" in line
    assert page.lines("hint:", "meshpass get jwtpolicy bad -n httpbin --context mgmt -o yaml")
    assert page.lines("✗ Objects")


def test_a_broken_table_is_named_and_a_frozen_one_twice(mesh: Mesh) -> None:
    """One that answers 500; one that serves what it served."""
    mesh.apply(TABLE.format(name="broken", mode="ROUTE_REPLACEMENT", service="nobody"), "cluster1")
    mesh.apply(TABLE.format(name="frozen", mode="FREEZE_CONFIG", service="httpbin"), "cluster1")
    mesh.apply(TABLE.format(name="frozen", mode="FREEZE_CONFIG", service="nobody"), "cluster1")
    page = Page(mesh)

    assert page.code == 1
    assert page.lines("✗ RouteTable cluster1/httpbin/broken", "nobody")
    assert page.lines("✗ RouteTable cluster1/httpbin/frozen", "nobody")
    assert page.lines("! Frozen tables", "1 table")
    assert page.lines("! RouteTable cluster1/httpbin/frozen", "serves what it served")


def envoy_of(mesh: Mesh, workload: str) -> psutil.Process:
    node = mesh.workload(workload).node
    for process in psutil.Process(mesh.record.pid).children(recursive=True):
        files = [Path(word) for word in process.cmdline() if word.endswith(".json")]
        if process.name() == "envoy" and files and node in files[0].read_text():
            return process
    raise AssertionError(f"no Envoy of {node}")


@contextmanager
def stopped(process: psutil.Process) -> Iterator[None]:
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def test_a_stopped_envoy_is_behind(mesh: Mesh) -> None:
    """It has not acknowledged an edit; it is well again when it goes on."""
    with stopped(envoy_of(mesh, "client")):
        mesh.apply(TABLE.format(name="new", mode="ROUTE_REPLACEMENT", service="httpbin"), "cluster1", wait=False)
        page = Page(mesh, "--timeout", "500ms")

    assert page.code == 1
    assert page.lines("✗ Proxies", "3 of 4 in sync")
    assert page.lines("✗ proxy of cluster1/httpbin/client: behind since")
    assert page.lines("hint:", "client.envoy.log")


def test_a_killed_envoy_is_not_connected(mesh: Mesh) -> None:
    """Until it was started anew, which does not take long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        process = envoy_of(mesh, "client")
        process.kill()
        process.wait(timeout=5)
        page = Page(mesh, "--timeout", "0s")
        if page.lines("✗ proxy of cluster1/httpbin/client: not connected since"):
            break
        assert time.monotonic() < deadline, page.text

    assert page.code == 1
    assert page.lines("hint:", "starting anew")


def test_a_key_server_that_is_down_is_named(mesh: Mesh) -> None:
    """Before there are keys; what its policy's object says is told too."""
    mesh.apply(TABLE.format(name="remote", mode="ROUTE_REPLACEMENT", service="httpbin"), "cluster1")
    url = "http://127.0.0.1:1/jwks"
    mesh.apply(POLICY.format(name="remote", keys=f"remote: {{url: '{url}'}}"), "mgmt", wait=False)
    page = await_page(mesh, f"✗ key set {url}: not fetched", "there are no keys")

    assert page.code == 1
    assert page.lines("✗ Key sets", "0 of 1 fetched")
    assert page.lines("hint:", f"meshpass jwks refresh {url}")


def test_a_program_that_does_not_listen_is_named(mesh: Mesh) -> None:
    """Its Pod says where it should."""
    import asyncio

    kind = kind_of_type(Pod)

    async def move(text: str) -> str:
        async with mesh.client("cluster1") as client:
            before = (await client.get_raw(kind, "httpbin", "httpbin"))["metadata"]["annotations"]
            patch = {"metadata": {"annotations": {APP_ADDRESSES_ANNOTATION: text}}}
            await client.patch_raw(kind, "httpbin", "httpbin", patch)
            return str(before[APP_ADDRESSES_ANNOTATION])

    before = asyncio.run(move('{"8080": "127.0.0.1:1"}'))
    try:
        page = Page(mesh)
    finally:
        asyncio.run(move(before))

    assert page.code == 1
    assert page.lines("✗ program of cluster1/httpbin/httpbin: nothing listens on 127.0.0.1:1, so port 8080")
    assert page.lines("hint:", "httpbin.app.log")


def certificate(days: float) -> dict[str, Any]:
    """A Secret with a certificate of www.example.com that has so many days left; negative: it expired so long ago."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "www.example.com")])
    end = datetime.now(UTC) + timedelta(days=days)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=90))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("www.example.com")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    entries = {"tls.crt": made.public_bytes(serialization.Encoding.PEM), "tls.key": secret}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "edge", "namespace": "gloo-mesh-gateways"},
        "data": {name: base64.b64encode(text).decode() for name, text in entries.items()},
    }


def test_certificates_of_gateways_are_followed_to_their_end(mesh: Mesh) -> None:
    """Well, then warned of, then wrong; one that nothing uses is not looked at."""
    marks = []
    mesh.apply(json.dumps(certificate(-1)), "cluster1")
    marks.append(Page(mesh).code)
    mesh.apply(GATEWAY, "cluster1", wait=False)
    for days in (60, 10.5, -2.5):
        mesh.apply(json.dumps(certificate(days)), "cluster1")
        page = Page(mesh)
        marks.append(page.code)
        if days == 10.5:
            assert page.lines("! Secret cluster1/gloo-mesh-gateways/edge: its certificate expires in 10d")
            assert page.lines("the first expires in 10 days (Secret cluster1/gloo-mesh-gateways/edge)")

    assert marks == [0, 0, 0, 1]
    assert page.lines("✗ Secret cluster1/gloo-mesh-gateways/edge: its certificate expired 2d")
    assert page.lines("hint:", "store a new certificate there")
    document = json.loads(Page(mesh, "-o", "json").text)
    (section,) = [one for one in document["sections"] if one["name"] == "certificates"]
    (item,) = [one for one in section["items"] if one["source"].startswith("Secret")]
    assert item["proxies"] == ["gateway~cluster1~gloo-mesh-gateways~istio-ingressgateway"]
    assert item["daysLeft"] == -3
