"""What strangers and broken clients can do to the embedded API server: nothing that others notice."""

from __future__ import annotations

import asyncio
import ssl
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.apiserver import TOKEN, RunningApiServer, run_api_server, widget

import meshpass.apiserver.rest
import meshpass.apiserver.server
import meshpass.httpserver

WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
AUTHORIZATION = f"Authorization: Bearer {TOKEN}\r\n"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[RunningApiServer]:
    async with run_api_server(tmp_path) as server:
        yield server


class Wire:
    """One TLS connection, spoken to in bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, server: RunningApiServer) -> Wire:
        context = ssl.create_default_context(cafile=str(server.tls.certificate))
        return cls(*await asyncio.open_connection("127.0.0.1", server.server.port, ssl=context))

    async def send(self, text: str | bytes) -> None:
        self.writer.write(text.encode("latin-1") if isinstance(text, str) else text)
        await self.writer.drain()

    async def everything(self) -> bytes:
        """All that comes until the server closes."""
        async with asyncio.timeout(20):
            found = await self.reader.read()
        self.writer.close()
        return found


def request(target: str, *, method: str = "GET", head: str = AUTHORIZATION, body: str = "") -> str:
    return f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n{body}"


async def ask(server: RunningApiServer, text: str) -> bytes:
    wire = await Wire.open(server)
    await wire.send(text)
    return await wire.everything()


@pytest.mark.parametrize(
    "target",
    [
        "/readyz/../version",
        "/readyz/..%2fversion",
        "/readyz%2f..%2fversion",
        "//version",
        "/./version",
        "/version;/readyz",
        "/version%00/readyz",
        "/version?/readyz",
        "/version#/readyz",
        "/readyz/",
        "/READYZ",
        "/%2freadyz",
        "https://x/version",
        "https://readyz/version",
        "*",
        f"{WIDGETS}?x=/readyz",
    ],
)
async def test_no_path_leads_around_the_token(running: RunningApiServer, target: str):
    """Health checks are open by their exact path; whatever else a path can be turned into is 401 or no request."""
    answer = await ask(running, request(target, head=""))

    assert answer.startswith((b"HTTP/1.1 401", b"HTTP/1.1 400")), answer[:200]
    assert (await ask(running, request("/%72eadyz", head=""))).endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(
    "head",
    [
        "Authorization: Bearer\r\n",
        "Authorization: Bearer \r\n",
        f"Authorization: Basic {TOKEN}\r\n",
        f"Authorization: {TOKEN}\r\n",
        f"Authorization: Bearer {TOKEN}x\r\n",
        f"Authorization: Bearer {TOKEN[:-1]}\r\n",
        f"Authorization: Bearer {TOKEN}, Bearer x\r\n",
        f"{AUTHORIZATION}Authorization: Bearer x\r\n",
        f"{AUTHORIZATION}{AUTHORIZATION}",
        f"X-Authorization: Bearer {TOKEN}\r\n",
        f"Cookie: Authorization=Bearer {TOKEN}\r\n",
        f"Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.{TOKEN}\r\n",
        "X-Remote-User: admin\r\nX-Remote-Group: system:masters\r\n",
        "Impersonate-User: system:admin\r\n",
    ],
)
async def test_no_header_but_the_token_opens(running: RunningApiServer, head: str):
    """One Authorization header with the whole token, and nothing like it."""
    answer = await ask(running, request("/version", head=head))

    assert answer.startswith(b"HTTP/1.1 401 "), answer[:200]
    assert TOKEN.encode() not in answer


@pytest.mark.parametrize(
    "text",
    [
        request(WIDGETS, method="POST", head="Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", body="0\r\n\r\n"),
        request(WIDGETS, method="POST", head="Content-Length: 4\r\nContent-Length: 5\r\n", body="abcd"),
        request(WIDGETS, method="POST", head="Content-Length: -1\r\n"),
        request(WIDGETS, method="POST", head="Content-Length: 0x4\r\n", body="abcd"),
        request(WIDGETS, method="POST", head="Transfer-Encoding: chunked\r\n", body="zz\r\n"),
        request(WIDGETS, method="POST", head="Transfer-Encoding: xchunked\r\n", body="0\r\n\r\n"),
        request(WIDGETS, head="Host : y\r\n"),
        request(WIDGETS, head="A: b\nAuthorization: c\r\n"),
        request("/ä"),
        "GET /version\r\n\r\n",
        "\x16\x03\x01 no http at all\r\n\r\n",
    ],
)
async def test_ambiguous_messages_are_one_request_at_most(running: RunningApiServer, text: str):
    """What two parsers could read in two ways (RFC 9112 section 11.2) is refused and ends the connection."""
    wire = await Wire.open(running)
    await wire.send(text + request("/version"))
    answer = await wire.everything()

    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401")), answer[:200]
    assert b"gitVersion" not in answer


async def test_nothing_is_upgraded(running: RunningApiServer):
    """A WebSocket handshake and h2c are ordinary requests; without the token they are refused as such."""
    for upgrade in ("websocket", "h2c", "SPDY/3.1"):
        head = f"Connection: Upgrade\r\nUpgrade: {upgrade}\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"
        text = f"GET {WIDGETS}?watch=true HTTP/1.1\r\nHost: x\r\n{head}\r\n"
        assert (await ask(running, text)).startswith(b"HTTP/1.1 401 "), upgrade
    assert (await running.client.get("/readyz")).text == "ok"


async def test_an_endless_head_is_cut_off(running: RunningApiServer):
    """One header of megabytes, before anybody has said who they are: 431 or a reset, not memory."""
    wire = await Wire.open(running)
    sent = 0
    await wire.send("GET /version HTTP/1.1\r\nHost: x\r\nX-Long: ")
    try:
        async with asyncio.timeout(20):
            while sent < 64 * 1024 * 1024:
                await wire.send(b"x" * 65536)
                sent += 65536
    except (ConnectionError, ssl.SSLError):
        pass
    assert sent < 16 * 1024 * 1024
    assert (await running.client.get("/readyz")).text == "ok"


async def test_a_head_that_never_ends_is_given_up(running: RunningApiServer, monkeypatch: pytest.MonkeyPatch):
    """The first as well as one that follows a request; silence counts too."""
    monkeypatch.setattr(meshpass.httpserver, "_HEAD_SECONDS", 0.2)
    for beginning in ("", "GET /version HT"):
        assert await ask(running, beginning) == b""
    wire = await Wire.open(running)
    await wire.send("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\nGET /ver")
    assert (await wire.everything()).count(b"HTTP/1.1 ") == 1


async def test_bytes_between_requests_keep_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An empty line after a response begins no request; the connection ends as any idle one does."""
    monkeypatch.setattr(meshpass.apiserver.server, "_KEEP_ALIVE_SECONDS", 0.3)
    async with run_api_server(tmp_path) as running:
        wire = await Wire.open(running)
        await wire.send("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        await wire.reader.readuntil(b"ok")
        await wire.send("\r\n")
        assert await wire.everything() == b""


async def test_a_stranger_cannot_go_on_sending(running: RunningApiServer):
    """After the 401 the connection is closed though the body that was announced has not come."""
    answer = await ask(
        running, f"POST {WIDGETS} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nbeginning of a body"
    )

    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_files_are_the_owners_alone(running: RunningApiServer, tmp_path: Path):
    """The directory and everything in it, also what SQLite adds beside the database."""
    assert (await running.client.post(WIDGETS, json=widget("a"))).status_code == 201
    directory = tmp_path / "state"
    files = list(directory.iterdir())

    assert {file.name for file in files} >= {"state.db", "state.db-wal"}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.parametrize(
    "name", ["ä", "a%2fb", "..", "%2e%2e", "a%00b", "%ff", "a'%3b--", "a%22", "%F0%9F%98%80", "a" * 300, "A"]
)
async def test_strange_names_name_nothing(running: RunningApiServer, name: str):
    """They are 404, or 400 where the bytes are no request; never 500, and never another object."""
    await running.client.post(WIDGETS, json=widget("a"))
    answer = await ask(running, request(f"{WIDGETS}/{name}"))

    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400")), answer[:200]
    assert (await running.client.get(f"{WIDGETS}/a")).status_code == 200


async def test_a_patch_cannot_build_what_cannot_be_sent(running: RunningApiServer):
    """Level upon level by JSON patch is refused like a deep body is."""
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "opens.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Cluster",
            "names": {"plural": "opens", "kind": "Open"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
    }
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert (await running.client.post(path, json=crd)).status_code == 201
    opens = "/apis/example.com/v1/opens"
    thing = {"apiVersion": "example.com/v1", "kind": "Open", "metadata": {"name": "a"}}
    assert (await running.client.post(opens, json=thing)).status_code == 201
    patch = [{"op": "add", "path": "/a" * level, "value": {}} for level in range(1, 600)]
    headers = {"content-type": "application/json-patch+json"}
    answer = await running.client.patch(f"{opens}/a", json=patch, headers=headers)

    assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")
    assert "nested" in answer.json()["message"]


async def test_watches_that_nobody_reads_hold_up_nobody(running: RunningApiServer):
    """Fifty of them, and writes still take effect for one that is read."""
    wires = [await Wire.open(running) for _ in range(50)]
    for wire in wires:
        await wire.send(f"GET {WIDGETS}?watch=true HTTP/1.1\r\nHost: x\r\n{AUTHORIZATION}\r\n")
    async with running.client.stream("GET", f"{WIDGETS}?watch=true") as good:
        lines = good.aiter_lines()
        async with asyncio.timeout(30):
            for number in range(20):
                large = widget(f"w{number}", annotations={"filling": "x" * 100_000})
                assert (await running.client.post(WIDGETS, json=large)).status_code == 201
                assert f'"w{number}"' in await anext(lines)
    for wire in wires:
        wire.writer.transport.abort()


async def test_a_failure_tells_and_logs_no_secret(
    running: RunningApiServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """A bug in the server is a 500 without its text; the log has the path on one line, no token, no query, no body."""

    def explode(*_: object) -> None:
        raise RuntimeError("internal detail")

    monkeypatch.setattr(meshpass.apiserver.rest, "parse_target", explode)
    answer = await running.client.get(f"{WIDGETS}/%0Aforged?labelSelector=secret", headers={"X-Secret": "secret"})

    assert answer.status_code == 500
    assert "internal detail" not in answer.text
    (record,) = (record for record in caplog.records if record.name.startswith("meshpass"))
    assert "\n" not in record.getMessage()
    assert TOKEN not in caplog.text
    assert "secret" not in caplog.text
