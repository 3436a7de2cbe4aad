"""Manifests as users write them: an API server takes each, and the real Envoys answer what is written beside it.

``tests/manifests/<name>.yaml`` is what a user applies; ``<name>.requests.yaml`` are requests with their answers:

- ``from``: client (if not said), caller or gateway; ``host``, ``path``, ``method``, ``headers``, ``query``; ``tls``;
  ``connect`` instead of ``host``: a tunnel, through which the line ``send`` goes; ``port`` and ``send``: a TCP connection
  to the gateway; ``times``: so often.
- ``answer``: ``status``; ``from``: the application, or any of several; ``body``; ``location``; ``headers`` of the answer;
  ``path`` and ``sees`` (headers; null: not there) as the application saw them.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from string import Template
from typing import Any

import pytest
import pytest_asyncio
import yaml
from tests.support.apiserver import RunningApiServer, run_api_server
from tests.support.envoy_mesh import CALLER, CLIENT, GATEWAY, GATEWAY_PORTS
from tests.support.gateway_objects import make_pair
from tests.support.http_client import Answer, Request
from tests.support.route_world import RouteWorld, run_route_world
from tests.support.tokens import DEV, LOGIN, NESTED, break_signature, public_jwks, sign

from meshpass.api.crd import custom_resource_definitions
from meshpass.api.kinds import KINDS
from meshpass.translate import FeatureGates

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

FOLDER = Path(__file__).parent.parent / "manifests"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml") if not path.name.endswith(".requests.yaml"))
GATES = {"require-auth": FeatureGates(GatewayDefaultDenyAllHTTPRequests=True)}
NODES = {"client": CLIENT, "caller": CALLER, "gateway": GATEWAY}

Json = Mapping[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[RouteWorld]:
    async with run_route_world(CLIENT, CALLER, GATEWAY) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningApiServer]:
    crds = tuple(custom_resource_definitions())
    async with run_api_server(tmp_path_factory.mktemp("apiserver"), crds=crds) as server:
        for name in ("httpbin", "team", "bookinfo", "gloo-mesh"):
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            (await server.client.post("/api/v1/namespaces", json=namespace)).raise_for_status()
        yield server


def read(name: str, filled: Mapping[str, str]) -> list[Any]:
    """The documents of a file, with what a user's shell would fill in."""
    return list(yaml.safe_load_all(Template((FOLDER / f"{name}.yaml").read_text()).substitute(filled)))


@pytest.fixture(scope="module")
def filled(world: RouteWorld) -> dict[str, str]:
    certificate, key = make_pair("www.example.com")
    return {
        "KEYS": public_jwks("main"),
        "DEV_TOKEN": sign(DEV),
        "LOGIN_TOKEN": sign(LOGIN),
        "NESTED_TOKEN": sign(NESTED),
        "BROKEN_TOKEN": break_signature(sign(DEV)),
        "CERTIFICATE": base64.b64encode(certificate.encode()).decode(),
        "CERTIFICATE_KEY": base64.b64encode(key.encode()).decode(),
        "OUTSIDE_PORT": str(world.outside_port),
    }


async def test_there_are_enough() -> None:
    """At least thirty, and requests beside each of them."""
    assert len(NAMES) >= 30
    assert {path.name.removesuffix(".requests.yaml") for path in FOLDER.glob("*.requests.yaml")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
async def test_an_api_server_takes_it(api_server: RunningApiServer, filled: dict[str, str], name: str) -> None:
    """Schema and rules of admission have nothing against it, and no field is unknown."""
    for manifest in read(name, filled):
        path = f"{resource_path(manifest)}?dryRun=All&fieldValidation=Strict"
        answer = await api_server.client.post(path, json=manifest)
        assert answer.status_code == 201, answer.text


def resource_path(manifest: Json) -> str:
    plurals = {kind.kind: kind.plural for kind in KINDS} | {"Secret": "secrets", "Service": "services"}
    version, namespace = manifest["apiVersion"], manifest["metadata"]["namespace"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return f"{root}/namespaces/{namespace}/{plurals[manifest['kind']]}"


@pytest.mark.parametrize("name", NAMES)
async def test_envoy_answers(world: RouteWorld, filled: dict[str, str], name: str) -> None:
    """Each request gets the answer that is written beside the manifest."""
    (requests,) = read(f"{name}.requests", filled)
    async with world.mesh.having(*read(name, filled), gates=GATES.get(name)):
        for number, request in enumerate(requests):
            for _ in range(request.get("times", 1)):
                found = await ask(world, request)
                assert differences(request["answer"], found) == {}, f"request {number}: {request}"


async def ask(world: RouteWorld, request: Json) -> Answer:
    node, line = NODES[request.get("from", "client")], request.get("send", "").encode()
    if "connect" in request:
        status, body = await world.tunnel(request["connect"], line, node=node)
        return Answer(status=status, headers=(), body=body)
    if "port" in request:
        return Answer(status=200, headers=(), body=await world.pass_on(request["port"], line))
    method, headers, query = request.get("method", "GET"), request.get("headers", {}), request.get("query")
    path = request.get("path", "/get")
    if node != GATEWAY:
        return await world.mesh.request(request["host"], path, headers=headers, query=query, method=method, node=node)
    wanted = Request(
        url=f"http://{request['host']}{path}", method=method, headers=tuple(headers.items()), proxied=False
    )
    if request.get("tls"):
        return await ask_with_tls(world, request["host"], wanted)
    _, writer = await world.gateway_connection(80)
    writer.close()
    return await world.mesh.client.send((world.mesh.address(GATEWAY), GATEWAY_PORTS[80]), wanted)


async def ask_with_tls(world: RouteWorld, host: str, request: Request) -> Answer:
    reader, writer = await world.gateway_connection(443, host)
    try:
        writer.write(request.encode().replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    first, *lines = head.decode().split("\r\n")
    headers = tuple((name.lower(), value) for name, _, value in (line.partition(": ") for line in lines))
    return Answer(status=int(first.split()[1]), headers=headers, body=body)


def differences(wanted: Json, answer: Answer) -> dict[str, Any]:
    """What is otherwise than written, as it was found."""
    found: dict[str, Any] = {}
    headers = {name: answer.header(name) for name in wanted.get("headers", {})}
    told = {"status": answer.status, "body": answer.text, "location": answer.header("location"), "headers": headers}
    found |= {name: told[name] for name in told.keys() & wanted.keys() if told[name] != wanted[name]}
    applications = wanted.get("from")
    if answer.upstream not in (applications if isinstance(applications, list) else [applications]):
        found["from"] = answer.upstream
        return found
    if "path" in wanted and answer.json["target"] != wanted["path"]:
        found["path"] = answer.json["target"]
    seen = dict(answer.json["headers"]) if "sees" in wanted else {}
    found |= {name: seen.get(name) for name, value in wanted.get("sees", {}).items() if seen.get(name) != value}
    return found
