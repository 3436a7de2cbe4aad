"""The real Envoy reports its decisions: every one, soon, without a token, and without ever waiting for us."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx2 as httpx
import msgspec
import pytest
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from google.protobuf import json_format
from joserfc import jwk, jwt
from starlette.applications import Starlette

from meshpass.audit import server as audit_server
from meshpass.audit.http import audit_routes
from meshpass.audit.log import AuditLog
from meshpass.audit.metrics import ProxyCount
from meshpass.audit.record import DecisionRecord, Verdict
from meshpass.audit.server import METHOD, SERVICE, AccessLogService
from meshpass.audit.subject import SubjectHasher
from meshpass.cli.logs import render_record
from meshpass.envoy.access_log import build_access_log
from meshpass.envoy.filters import Side, build_asked_filter
from meshpass.localmesh.bootstrap import CONTROL_PLANE, BootstrapSettings, build_bootstrap
from meshpass.localmesh.envoy_binary import find_envoy

pytestmark = pytest.mark.envoy

NODE = "sidecar~cluster1~httpbin~client"
TYPE = "type.googleapis.com/envoy."
ISSUER = "https://dev.example.com"
POLICIES = {"strict": "cluster1/httpbin/strict", "lax": "cluster1/httpbin/lax", "denied": "cluster1/httpbin/broken"}
PIECE = 20
"""So many characters of a token are a piece of it; fewer are in many a word."""


class Tokens:
    """Signs tokens with a known key, and with another one."""

    def __init__(self) -> None:
        self._keys = {kid: jwk.RSAKey.generate_key(2048, {"kid": kid}, private=True) for kid in ("k1", "k2")}

    @property
    def jwks(self) -> str:
        return json.dumps({"keys": [self._keys["k1"].as_dict(private=False)]})

    def sign(self, kid: str = "k1", **claims: Any) -> str:
        payload = {"iss": ISSUER, "sub": "alice", "email": "alice@example.com", "exp": int(time.time()) + 600, **claims}
        return jwt.encode({"alg": "RS256", "kid": kid}, payload, self._keys[kid])


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens()


def build_manager(tokens: Tokens) -> dict[str, Any]:
    """The shape that the control plane builds: class on the route, JWT filter, authorization filter, access log."""
    jwt_type = f"{TYPE}extensions.filters.http.jwt_authn.v3"
    provider = {
        "issuer": ISSUER,
        "local_jwks": {"inline_string": tokens.jwks},
        "payload_in_metadata": "payload-1",
        "header_in_metadata": "provider:dev",
        "failed_status_in_metadata": "failed:dev",
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}, {"name": "X-Token"}],
        "from_params": ["auth_token"],
        "forward": True,
    }
    lax = {"requires_any": {"requirements": [{"provider_name": "dev"}, {"allow_missing_or_failed": {}}]}}
    requirements = {"strict": {"provider_name": "dev"}, "lax": lax, "denied": {}, "open": {}}
    is_denied = {
        "metadata_matcher": {
            "filter": "meshpass",
            "path": [{"key": "class"}],
            "value": {"string_match": {"exact": "denied"}},
        },
        "metadata_source": "ROUTE",
    }
    rule = {"permissions": [{"sourced_metadata": is_denied}], "principals": [{"any": True}]}
    routes = [
        {
            "name": f"{name}-0123456789abcdef",
            "match": {"prefix": f"/{name}"},
            "metadata": {"filter_metadata": {"meshpass": {"class": name}}},
            # What is sent on is not what was asked for, which is what records tell.
            "route": {
                "cluster": "application",
                "host_rewrite_literal": "rewritten.internal",
                "regex_rewrite": {"pattern": {"regex": "^/"}, "substitution": "/rewritten/"},
            },
            "typed_per_filter_config": {
                "meshpass.jwt": {"@type": f"{jwt_type}.PerRouteConfig", "requirement_name": name}
            },
        }
        for name in requirements
    ]
    log = build_access_log(Side.OUTBOUND, cluster=CONTROL_PLANE)
    return {
        "@type": f"{TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "front",
        "normalize_path": True,
        "access_log": [json_format.MessageToDict(log, preserving_proto_field_name=True)],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            json_format.MessageToDict(build_asked_filter(), preserving_proto_field_name=True),
            {
                "name": "meshpass.jwt",
                "typed_config": {
                    "@type": f"{jwt_type}.JwtAuthentication",
                    "providers": {"dev": provider},
                    "requirement_map": requirements,
                },
            },
            {
                "name": "meshpass.authorization",
                "typed_config": {
                    "@type": f"{TYPE}extensions.filters.http.rbac.v3.RBAC",
                    "rules": {"action": "DENY", "policies": {"denied": rule}},
                },
            },
            {
                "name": "router",
                "typed_config": {
                    "@type": f"{TYPE}extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            },
        ],
    }


def build_application() -> dict[str, Any]:
    """Answers 401 and 403 to paths that ask for them, else 200."""

    def answer(suffix: str, status: int) -> dict[str, Any]:
        return {"match": {"safe_regex": {"regex": f".*{suffix}"}}, "direct_response": {"status": status}}

    return {
        "@type": f"{TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "application",
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [answer("/401", 401), answer("/403", 403), answer("", 200)]}
            ]
        },
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{TYPE}extensions.filters.http.router.v3.Router"}}
        ],
    }


def build_listener(name: str, port: int, manager: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def envoy(tmp_path: Path, tokens: Tokens) -> AsyncIterator[int]:
    """The port of an Envoy that streams its access log to ``tmp_path/s``."""
    port, application = free_port(), free_port()
    settings = BootstrapSettings(
        node=NODE, node_cluster="test", ads_socket=tmp_path / "s", admin_socket=tmp_path / "admin"
    )
    bootstrap = build_bootstrap(settings)
    bootstrap.pop("dynamic_resources")
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": application}}}}
    bootstrap["static_resources"]["clusters"].append(
        {
            "name": "application",
            "type": "STATIC",
            "load_assignment": {"cluster_name": "application", "endpoints": [{"lb_endpoints": [endpoint]}]},
        }
    )
    bootstrap["static_resources"]["listeners"] = [
        build_listener("front", port, build_manager(tokens)),
        build_listener("application", application, build_application()),
    ]
    (tmp_path / "envoy.json").write_text(json.dumps(bootstrap))
    arguments = ("-c", str(tmp_path / "envoy.json"), "--concurrency", "1", "--disable-hot-restart", "-l", "warning")
    with (tmp_path / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(os.fspath(find_envoy()), *arguments, stderr=log, stdout=log)
    try:
        await wait_listening(port, tmp_path / "envoy.log")
        yield port
    finally:
        process.kill()
        await process.wait()


async def wait_listening(port: int, log: Path) -> None:
    for _ in range(400):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise AssertionError(f"see {log}")


@asynccontextmanager
async def serving(path: Path, handler: grpc.GenericRpcHandler) -> AsyncIterator[None]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


def make_service(log: AuditLog, told: list[DecisionRecord] | None = None) -> AccessLogService:
    return AccessLogService(
        log,
        lambda name: POLICIES.get(name, ""),
        hash_subject=SubjectHasher(b"salt" * 8),
        on_unknown_key=(told if told is not None else []).append,
    )


async def wait_record(log: AuditLog, path: str) -> DecisionRecord:
    """The record of this path, once there is one."""
    with log.subscribe() as subscription:
        async with asyncio.timeout(15):
            while True:
                found = [record for record in log.select() if record.path == path]
                if found:
                    return found[-1]
                await anext(subscription)


@asynccontextmanager
async def open_client(port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Host": "www.example.com"}


async def test_every_decision_is_a_record(envoy: int, tmp_path: Path, tokens: Tokens) -> None:
    """Verdict, policy, provider, key and Envoy's reason of each kind of request; denied means that a filter did it."""
    log, told = AuditLog(), []
    unknown = "Jwks doesn't have key to match kid or alg from Jwt"
    good = bearer(tokens.sign())
    # path, headers → status, verdict, provider, kid, reason
    cases: dict[str, tuple[dict[str, str], tuple[int, Verdict, str, str, str]]] = {
        "/strict/good": (good, (200, Verdict.ALLOWED, "dev", "k1", "")),
        "/strict/missing": ({}, (401, Verdict.DENIED, "", "", "Jwt is missing")),
        "/strict/old": (bearer(tokens.sign(exp=1000)), (401, Verdict.DENIED, "dev", "", "Jwt is expired")),
        "/strict/key": (bearer(tokens.sign("k2")), (401, Verdict.DENIED, "dev", "", unknown)),
        "/strict/none": (bearer("x.y.z"), (401, Verdict.DENIED, "dev", "", "Jwt header is an invalid Base64url encoded")),
        "/strict/401": (good, (401, Verdict.ALLOWED, "dev", "k1", "")),
        "/strict/403": (good, (403, Verdict.ALLOWED, "dev", "k1", "")),
        "/lax/missing": ({}, (200, Verdict.ALLOWED, "", "", "Jwt is missing")),
        "/lax/good": (good, (200, Verdict.ALLOWED, "dev", "k1", "")),
        "/lax/key": (bearer(tokens.sign("k2")), (200, Verdict.ALLOWED, "dev", "", unknown)),
        "/denied/any": (good, (403, Verdict.DENIED, "", "", "RBAC: access denied")),
        "/open/any": (good, (200, Verdict.OPEN, "", "", "")),
        "/nowhere": ({}, (404, Verdict.OPEN, "", "", "")),
    }  # fmt: skip
    async with serving(tmp_path / "s", make_service(log, told).handler), open_client(envoy) as client:
        for path, (headers, expected) in cases.items():
            response = await client.get(path, params={"x": "1"}, headers=headers)
            assert response.status_code == expected[0], path
        found = {path: await wait_record(log, path) for path in cases}

    for path, (_, expected) in cases.items():
        one = found[path]
        assert (one.status, one.verdict, one.provider, one.kid, one.reason) == expected, path
        assert (one.proxy, one.side, one.method) == (NODE, Side.OUTBOUND, "GET")
        name = path.split("/")[1]
        assert one.policy == POLICIES.get(name, "")
        assert one.route == (f"{name}-0123456789abcdef" if path != "/nowhere" else "")
        assert 0 < one.duration < 5
        assert abs(one.time - time.time()) < 60
    assert found["/strict/good"].host == "www.example.com"
    assert found["/strict/good"].subject_hash == SubjectHasher(b"salt" * 8)(ISSUER, "alice")
    assert found["/strict/old"].subject_hash == ""
    assert len(log.select()) == len(cases)
    assert {one.path: one.unknown_key_providers for one in told} == {"/strict/key": ("dev",), "/lax/key": ("dev",)}


async def test_a_record_is_seen_within_a_second(envoy: int, tmp_path: Path) -> None:
    """From the answer to the record."""
    log = AuditLog()
    async with serving(tmp_path / "s", make_service(log).handler), open_client(envoy) as client:
        await client.get("/open/first")
        await wait_record(log, "/open/first")
        await client.get("/open/second")
        answered = time.monotonic()
        await wait_record(log, "/open/second")

    assert time.monotonic() - answered < 1.0


def pieces(*secrets: str) -> set[str]:
    return {secret[at : at + PIECE] for secret in secrets for at in range(len(secret) - PIECE + 1)}


async def test_no_piece_of_a_token_is_kept_or_shown(
    envoy: int, tmp_path: Path, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the client put it, and whatever became of the request. From queries and headers, none leaves Envoy."""
    received: list[bytes] = []

    class Watched:
        @staticmethod
        def FromString(content: bytes) -> StreamAccessLogsMessage:  # noqa: N802 - protobuf's name
            received.append(content)
            return StreamAccessLogsMessage.FromString(content)

    monkeypatch.setattr(audit_server, "StreamAccessLogsMessage", Watched)
    log = AuditLog()
    hidden = [tokens.sign(), tokens.sign("k2"), tokens.sign(exp=1000)]
    # Envoy sends the request's id along: a token there leaves Envoy, but no one asks for one there.
    request_id = tokens.sign(jti="request")
    in_paths = [tokens.sign(jti="path"), tokens.sign("k2", jti="path")]
    requests: list[tuple[str, dict[str, str]]] = []
    for number, token in enumerate(hidden):
        for place in ("strict", "lax", "denied", "open", "nowhere"):
            path = f"/{place}/{number}"
            everywhere = {
                "Referer": f"http://a/?t={token}",
                "Cookie": f"t={token}",
                "User-Agent": token,
                "X-Token": token,
            }
            requests += [
                (f"{path}/header", bearer(token)),
                (f"{path}/everywhere", {**everywhere, "X-Forwarded-For": token, "X-Request-Id": request_id}),
                (f"{path}/original", {"X-Envoy-Original-Path": f"/{token}?t={token}"}),
                (f"{path}/query?auth_token={token}&other={token}", {}),
                (f"{path}/both?x={token}#y={token}", bearer(token)),
            ]
    for token in in_paths:
        requests += [
            (f"/strict/{token}", {}),
            (f"/open/a/{token}/b", {}),
            (f"/open/;t={token}", {}),
            (f"/open/x%3Ft={token}", {}),
            (f"/open/{token.replace('.', '%2E')}", {}),
            (f"/open/{token[:250]}", {}),
            *((f"/open/{part}", {}) for part in token.split(".")),
            ("/open/host", {"Host": f"{token[:200]}.example.com"}),
        ]
    routes = audit_routes(log, lambda: ProxyCount(known=1, connected=1, in_sync=1))
    async with serving(tmp_path / "s", make_service(log).handler), open_client(envoy) as client:
        for target, headers in requests:
            url = httpx.URL(f"http://127.0.0.1:{envoy}").copy_with(raw_path=target.partition("#")[0].encode())
            await client.get(url, headers=headers)
        await client.get("/open/last")
        await wait_record(log, "/open/last")
        transport = httpx.ASGITransport(app=Starlette(routes=routes))
        async with httpx.AsyncClient(transport=transport, base_url="http://meshpass") as control:
            answers = (await control.get("/v1/logs")).text
            metrics = (await control.get("/metrics")).text
    records = log.select()
    shown = "\n".join(render_record(msgspec.to_builtins(one)) for one in records)
    kept = "\n".join(str(one) for one in records)

    assert len(records) == len(requests) + 1
    secret = pieces(*hidden, *in_paths, request_id)
    for text in (kept, shown, answers, metrics):
        assert len(text) > 100
        assert [piece for piece in secret if piece in text] == []
    raw = b"".join(received)
    assert b"/strict/0/query" in raw
    assert [piece for piece in pieces(*hidden) - pieces(*in_paths, request_id) if piece.encode() in raw] == []


async def test_envoy_serves_without_us_and_comes_back(envoy: int, tmp_path: Path) -> None:
    """A control plane that is not there delays no request; when it is back, so are the records."""
    log = AuditLog()
    async with open_client(envoy) as client:
        async with serving(tmp_path / "s", make_service(log).handler):
            await client.get("/open/first")
            await wait_record(log, "/open/first")
        started = time.monotonic()
        for _ in range(500):
            assert (await client.get("/open/away")).status_code == 200
        assert time.monotonic() - started < 10
        async with serving(tmp_path / "s", make_service(log).handler), asyncio.timeout(20):
            while not any(record.path == "/open/back" for record in log.select()):
                await client.get("/open/back")
                await asyncio.sleep(0.05)


async def test_a_service_that_does_not_read_slows_no_request(envoy: int, tmp_path: Path) -> None:
    """Requests are answered as before while nobody takes the entries."""
    streams = 0
    over = asyncio.Event()

    async def ignore(_requests: object, _context: object) -> bytes:
        nonlocal streams
        streams += 1
        await over.wait()
        return b""

    handler = grpc.method_handlers_generic_handler(SERVICE, {METHOD: grpc.stream_unary_rpc_method_handler(ignore)})
    durations = []
    async with serving(tmp_path / "s", handler), open_client(envoy) as client:
        for number in range(3000):
            started = time.monotonic()
            response = await client.get(f"/open/{'x' * 200}/{number}x")
            durations.append(time.monotonic() - started)
            assert response.status_code == 200
        over.set()

    assert streams >= 1
    assert sorted(durations)[len(durations) * 99 // 100] < 0.25
