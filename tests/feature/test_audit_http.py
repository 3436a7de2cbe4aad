"""The log over HTTP on a unix socket, and the command that reads it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import httpx2 as httpx
import pytest
import typer
from starlette.applications import Starlette
from tests.support.decision import make_record
from typer.testing import CliRunner

from meshpass.audit.http import audit_routes
from meshpass.audit.log import AuditLog
from meshpass.audit.metrics import ProxyCount
from meshpass.audit.record import Verdict
from meshpass.cli.logs import build_query, logs, open_log, render_record
from meshpass.errors import LocalMeshError
from meshpass.httpserver import HttpServer
from meshpass.localmesh.directory import StateDirectory
from meshpass.localmesh.processrecord import ProcessRecord, Role


@pytest.fixture
def log() -> AuditLog:
    return AuditLog()


@pytest.fixture
async def path(log: AuditLog, tmp_path: Path) -> AsyncIterator[Path]:
    """The socket of a server of the log."""
    where = tmp_path / "control.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(where))
    listener.listen()
    routes = audit_routes(log, lambda: ProxyCount(known=3, connected=2, in_sync=1))
    server = HttpServer(Starlette(routes=routes))
    async with asyncio.TaskGroup() as tasks:
        serving = await server.start(listener, tasks)
        yield where
        await server.stop(serving)


def client(path: Path) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://meshpass", timeout=10)


async def read(path: Path, **query: str) -> list[dict]:
    async with client(path) as http:
        response = await http.get("/v1/logs", params=query)
    assert response.status_code == 200
    return [json.loads(line) for line in response.text.splitlines()]


async def test_records(log: AuditLog, path: Path) -> None:
    """Lines of JSON, oldest first; more than one piece of them."""
    for number in range(1200):
        log.append(make_record(time=float(number)))
    lines = await read(path)

    assert [line["time"] for line in lines] == list(range(1200))
    assert lines[0] == {
        "time": 0.0,
        "duration": 0.001,
        "proxy": "sidecar~cluster1~httpbin~client",
        "side": "outbound",
        "method": "GET",
        "host": "www.example.com",
        "path": "/get",
        "route": "get.www.httpbin.cluster1",
        "selectionClass": "0123456789abcdef",
        "policy": "cluster1/httpbin/policy",
        "provider": "dev-0123456789abcdef",
        "kid": "k1",
        "subjectHash": "0011223344556677",
        "verdict": "allowed",
        "status": 200,
        "reason": "",
        "failures": [],
        "trial": "",
    }


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ({"denied": "true"}, ["/denied"]),
        ({"denied": "false"}, ["/old", "/denied", "/other"]),
        ({"since": "60"}, ["/denied", "/other"]),
        ({"policy": "policy", "namespace": "httpbin", "route": "get.www"}, ["/old", "/denied"]),
        ({"workload": "server"}, ["/other"]),
    ],
)
async def test_filters(log: AuditLog, path: Path, query: dict[str, str], paths: list[str]) -> None:
    """Each parameter, and several."""
    now = time.time()
    log.append(make_record(time=now - 600, path="/old"))
    log.append(make_record(time=now, path="/denied", verdict=Verdict.DENIED))
    log.append(make_record(time=now, path="/other", proxy="sidecar~c~n~server"))

    assert [line["path"] for line in await read(path, **query)] == paths


@pytest.mark.parametrize("query", ["since=x", "follow=1", "denied=", "deny=true"])
async def test_a_bad_query(path: Path, query: str) -> None:
    """Is refused: a filter that does nothing would show too much."""
    async with client(path) as http:
        response = await http.get(f"/v1/logs?{query}")

    assert response.status_code == 400
    assert query.partition("=")[0] in response.json()["message"]


async def test_following(log: AuditLog, path: Path) -> None:
    """What is there, then what comes, each record once; a follower that goes is forgotten."""
    log.append(make_record(path="/1"))
    async with client(path) as http, http.stream("GET", "/v1/logs?follow=true") as response:
        lines = response.aiter_lines()
        assert json.loads(await anext(lines))["path"] == "/1"
        log.append(make_record(path="/2"))
        assert json.loads(await anext(lines))["path"] == "/2"
        assert len(log._subscriptions) == 1
    async with asyncio.timeout(5):
        while log._subscriptions:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)


async def test_a_slow_follower_is_told_what_it_missed(log: AuditLog, path: Path) -> None:
    """In the stream, where the records would have been."""
    async with client(path) as http, http.stream("GET", "/v1/logs?follow=true") as response:
        while not log._subscriptions:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
        for _ in range(2500):
            log.append(make_record())
        lines = response.aiter_lines()
        async with asyncio.timeout(10):
            kept = [json.loads(await anext(lines)) for _ in range(2001)]

    assert kept[-1] == {"dropped": 500}


async def test_metrics(log: AuditLog, path: Path) -> None:
    """As Prometheus wants them."""
    log.append(make_record(verdict=Verdict.DENIED, reason="Jwt is missing"))
    async with client(path) as http:
        response = await http.get("/metrics")

    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'verdict="denied",reason="Jwt is missing"} 1\n' in response.text
    assert "meshpass_proxies_in_sync 1\n" in response.text


def test_query() -> None:
    """Of what the command was told, and no more."""
    nothing = {"policy": None, "route": None, "workload": None, "namespace": None}

    assert build_query(follow=False, denied=False, since=None, **nothing) == {}
    assert build_query(follow=True, denied=True, since="1m30s", **{**nothing, "policy": "p"}) == {
        "policy": "p",
        "follow": "true",
        "denied": "true",
        "since": "90",
    }


async def test_the_command_reads_lines(log: AuditLog, path: Path) -> None:
    """From the control plane's socket."""
    log.append(make_record(path="/1", verdict=Verdict.DENIED))

    def lines(**query: str) -> list[str]:
        with open_log(path, query) as stream:
            return list(stream)

    (line,) = await asyncio.to_thread(lines, denied="true")
    assert json.loads(line)["path"] == "/1"
    with pytest.raises(LocalMeshError, match=re.escape('answered 400: {"message":"since is no number')):
        await asyncio.to_thread(lines, since="x")


def test_nobody_there(tmp_path: Path) -> None:
    """An error that is for people."""
    with pytest.raises(LocalMeshError, match="does not answer"), open_log(tmp_path / "none", {}):
        pass


async def test_the_command(log: AuditLog, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of words for each record, or its JSON."""
    log.append(make_record(verdict=Verdict.DENIED, status=401, reason="Jwt is missing", provider="", subject_hash=""))
    log.append(make_record(path="/second"))
    command = typer.Typer()
    command.command()(logs)
    alone = ProcessRecord(role=Role.ALONE, cluster="mgmt", control_socket=str(path), log="")
    monkeypatch.setattr(StateDirectory, "running", lambda _: SimpleNamespace(processes=(alone,)))

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(command, list(arguments))
        assert result.exit_code == 0, result.output
        return result.stdout

    header, first, second = (await asyncio.to_thread(run)).splitlines()
    assert header.split() == [
        *("TIME", "WORKLOAD", "SIDE", "VERDICT", "STATUS"),
        *("REQUEST", "POLICY", "PROVIDER", "SUBJECT", "REASON"),
    ]
    assert first.split() == [
        *("22:13:20.000", "cluster1/httpbin/client", "outbound", "denied", "401", "GET", "www.example.com/get"),
        *("cluster1/httpbin/policy", "-", "-", "Jwt", "is", "missing"),
    ]
    assert second.split()[6] == "www.example.com/second"
    (line,) = (await asyncio.to_thread(run, "--denied", "-o", "json")).splitlines()
    assert json.loads(line)["reason"] == "Jwt is missing"


def test_a_record_without_anything() -> None:
    """Has a dash where nothing is known."""
    record = dict.fromkeys(("method", "host", "path", "policy", "provider", "subjectHash", "reason"), "")
    line = render_record({**record, "time": 0, "proxy": "x", "side": "inbound", "verdict": "open", "status": 0})

    assert line.split() == ["00:00:00.000", "x", "inbound", "open", "-", "-", "-", "-", "-", "-"]
