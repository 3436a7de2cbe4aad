"""What a control plane asks of its API servers in the life of a mesh is what `meshpass rbac print` allows, and no more."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx2 as httpx
import pytest
from tests.support.mesh import Mesh
from tests.support.public_keys import P_256
from typer.testing import CliRunner

from meshpass import reconciler
from meshpass.api.kinds import KINDS
from meshpass.app import WATCHED, controlplane
from meshpass.cli.main import build_app
from meshpass.envoy.build import build_snapshot
from meshpass.envoy.snapshot import Snapshot
from meshpass.errors import ApiError
from meshpass.ir import Proxy
from meshpass.kube.client import KubeClient
from meshpass.kube.rbac import role_rules
from meshpass.localmesh.directory import StateDirectory
from meshpass.localmesh.meshfile import default_mesh_path
from meshpass.localmesh.parse import load_mesh_file
from meshpass.localmesh.selection import select
from meshpass.localmesh.supervisor import SupervisorSettings, run_local_mesh
from meshpass.memo import Memo

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(120)]


class Request(NamedTuple):
    """A request in the words of RBAC."""

    group: str
    resource: str
    """With its subresource."""
    verb: str


_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v[^/]+(?:/namespaces/[^/]+(?=/))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?P<sub>/[^/]+)?)?"
)


def attributes(method: str, url: httpx.URL) -> Request:
    """As Kubernetes derives them from a request (its RequestInfo): a GET of a collection is a list, or a watch."""
    found = _PATH.fullmatch(url.path)
    assert found, f"{method} {url} is no request about a resource, so no rule could allow it"
    named = found["name"] is not None
    watched = url.params.get("watch") == "true"
    verbs = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete" if named else "deletecollection"}
    verb = verbs.get(method) or ("get" if named else "watch" if watched else "list")
    return Request(found["group"] or "", f"{found['plural']}{found['sub'] or ''}", verb)


def granted() -> set[Request]:
    return {
        Request(group, resource, verb)
        for rule in role_rules(WATCHED, KINDS)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


class Faults:
    """What goes wrong on purpose, so that the control plane has to ask for all that it ever asks for."""

    def __init__(self) -> None:
        self.conflicts = 1
        """So many writes of a status meet a conflict."""
        self.spoil = False
        """True: what proxies are told of keys from their next change on is refused by Envoy."""


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch, faults: Faults) -> set[Request]:
    """Every request of the control plane, and of nobody else: the supervisor's own clients are others."""
    seen: set[Request] = set()

    async def record(request: httpx.Request) -> None:
        seen.add(attributes(request.method, request.url))

    class RecordingClient(KubeClient):
        @classmethod
        def from_kubeconfig(cls, path: Path, context: str | None, *, cluster: str) -> Self:
            client = super().from_kubeconfig(path, context, cluster=cluster)
            client._http.event_hooks = {"request": [record], "response": []}
            return client

        async def patch_raw(self, *arguments: Any, **named: Any) -> Any:
            if named.get("subresource") == "status" and faults.conflicts:
                faults.conflicts -= 1
                raise ApiError("changed meanwhile", code=409, reason="Conflict")
            return await super().patch_raw(*arguments, **named)

    def build(proxy: Proxy, memo: Memo) -> Snapshot:
        return build_snapshot(without_keys(proxy) if faults.spoil else proxy, memo)

    monkeypatch.setattr(controlplane, "KubeClient", RecordingClient)
    monkeypatch.setattr(reconciler, "build_snapshot", build)
    return seen


def without_keys(proxy: Proxy) -> Proxy:
    """A proxy whose key sets are none, which Envoy refuses."""
    pre = proxy.policies.pre
    spoiled = replace(pre, providers=tuple(replace(one, jwks="no key set") for one in pre.providers))
    return replace(proxy, policies=replace(proxy.policies, pre=spoiled))


TABLE = """
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata: {name: table, namespace: httpbin}
spec:
  hosts: [www.example.com]
  workloadSelectors: [{}]
  http:
  - name: all
    labels: {route: all}
    forwardTo: {destinations: [{ref: {name: httpbin}, port: {number: 8000}}]}
"""


def policy(issuer: str) -> str:
    provider = {"issuer": issuer, "local": {"inline": P_256}}
    spec = {
        "applyToRoutes": [{"route": {"labels": {"route": "all"}}}],
        "config": {"providers": {"dev": provider}},
    }
    metadata = {"name": "policy", "namespace": "httpbin"}
    return json.dumps(
        {"apiVersion": "security.policy.gloo.solo.io/v2", "kind": "JWTPolicy", "metadata": metadata, "spec": spec}
    )


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short name, as Unix sockets need."""
    path = Path(tempfile.mkdtemp(prefix="mpr-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


async def check(mesh: Mesh, *words: str) -> str:
    """The first page of `meshpass check` that has a line with these words."""
    while True:
        result = await asyncio.to_thread(
            CliRunner().invoke, build_app(), ["check", "--dir", str(mesh.state.path), "--timeout", "1s"]
        )
        if any(all(word in line for word in words) for line in result.stdout.splitlines()):
            return result.stdout


async def test_every_request_is_allowed_and_every_permission_is_needed(
    requests: set[Request], faults: Faults, directory: Path
) -> None:
    """Objects come and change, a status meets a conflict, Envoy refuses the same twice: each asks for more."""
    path = default_mesh_path()
    settings = SupervisorSettings(
        mesh=select(load_mesh_file(path), clusters=1, apps=("httpbin",)),
        base_directory=path.parent,
        state=StateDirectory(path=directory / "mesh"),
    )
    async with asyncio.timeout(100), run_local_mesh(settings, lambda _: None) as record:
        mesh = Mesh(state=settings.state, record=record)
        await asyncio.to_thread(mesh.apply, TABLE, "cluster1")
        for round_number in range(2):
            faults.spoil = False
            await asyncio.to_thread(mesh.apply, policy(f"https://good-{round_number}.example.com"))
            await check(mesh, "✓ Rejections", "none")
            faults.spoil = True
            await asyncio.to_thread(mesh.apply, policy("https://bad.example.com"), wait=False)
            page = await check(mesh, "✗ Rejections")
            assert "made of JWTPolicy mgmt/httpbin/policy" in page
            assert "✗ proxy of cluster1/httpbin/client: behind" in page
        while Request("", "events", "patch") not in requests:  # noqa: ASYNC110 (nobody tells of a request)
            await asyncio.sleep(0.05)

    allowed = granted()
    statuses = {one for one in allowed if one.resource.endswith("/status")}
    ours = {one for one in allowed if one.verb == "get" and one.resource != "events"}
    assert requests <= allowed, requests - allowed
    assert allowed - statuses - ours <= requests, allowed - statuses - ours - requests
    assert requests & statuses >= {
        Request("networking.gloo.solo.io", "routetables/status", "patch"),
        Request("security.policy.gloo.solo.io", "jwtpolicies/status", "patch"),
    }
    assert len(requests & ours) == 1, "the conflict"
