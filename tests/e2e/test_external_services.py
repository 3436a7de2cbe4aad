"""Services outside the mesh through a real Envoy: where requests go, and whom the proxy believes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.support.catalog import external_endpoint, external_service, virtual_destination
from tests.support.certificates import Authority
from tests.support.envoy_mesh import CLIENT, SETTLE_SECONDS, EnvoyMesh, run_applications, run_envoy_mesh, secret
from tests.support.objects import route_table
from tests.support.tls_server import TlsServer, run_tls_server

from meshpass.translate.sidecar import OUTBOUND_PORT

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

HOST = "api.outside.example"
SELECTED = {"outside": "outside"}
AUTHORITY, STRANGERS = Authority(), Authority("strangers")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EnvoyMesh]:
    async with run_envoy_mesh() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def server() -> AsyncIterator[TlsServer]:
    async with run_tls_server("outside", AUTHORITY.sign(HOST)) as running:
        yield running


@pytest.fixture
def authorities(tmp_path: Path) -> str:
    """Path of a file with the authority that signed the servers' certificates."""
    file = tmp_path / "authorities.pem"
    file.write_text(AUTHORITY.certificate)
    return str(file)


def endpoint(port: int, address: str = "127.0.0.1") -> dict[str, Any]:
    return external_endpoint("outside", address, http=port)


def outside(**port: Any) -> dict[str, Any]:
    spec = {"number": 443, "name": "http", "protocol": "HTTPS", **port}
    return external_service(hosts=[HOST], selector=SELECTED, ports=[spec])


def table(port: int = 443, kind: str = "EXTERNAL_SERVICE", name: str = "outside", **forward: Any) -> dict[str, Any]:
    reference = {"kind": kind, "ref": {"name": name}, "port": {"number": port}}
    return route_table(
        hosts=["www.example.com"], http=[{"name": "out", "forwardTo": {"destinations": [reference], **forward}}]
    )


async def test_a_static_endpoint_is_sent_to(mesh: EnvoyMesh) -> None:
    """By the host of the service, and by a route; with the host that the route asks for."""
    with run_applications("plain") as ports:
        service = external_service(hosts=[HOST], selector=SELECTED, ports=[{"number": 80, "name": "http"}])
        async with mesh.having(service, endpoint(ports["plain"]), table(80, autoHostRewrite=True)):
            direct = await mesh.request(HOST, "/get")
            routed = await mesh.request("www.example.com", "/get")

    assert (direct.status, direct.header("x-upstream")) == (200, "plain")
    assert (routed.status, routed.header("x-upstream")) == (200, "plain")
    assert routed.json["headers"]["Host"] == [HOST]


async def test_a_host_is_looked_up(mesh: EnvoyMesh) -> None:
    """Each host leads to itself, on the target port."""
    with run_applications("plain") as ports:
        port = {"number": 80, "name": "http", "targetPort": {"number": ports["plain"]}}
        async with mesh.having(external_service(hosts=["localhost", "nobody.invalid"], ports=[port]), table(80)):
            routed = await mesh.request("www.example.com", "/get")
            direct = await mesh.request("localhost", "/get")
            nowhere = await mesh.request("nobody.invalid", "/get")

    assert [one.header("x-upstream") for one in (routed, direct)] == ["plain", "plain"]
    assert nowhere.status == 503


async def test_an_endpoint_with_a_host_name_is_looked_up(mesh: EnvoyMesh) -> None:
    """Whatever the service's own name is."""
    with run_applications("plain") as ports:
        service = external_service(hosts=[HOST], selector=SELECTED, ports=[{"number": 80, "name": "http"}])
        async with mesh.having(service, endpoint(ports["plain"], "localhost")):
            answer = await mesh.request(HOST, "/get")

    assert (answer.status, answer.header("x-upstream")) == (200, "plain")


async def test_tls_is_started_and_the_server_verified(mesh: EnvoyMesh, server: TlsServer, authorities: str) -> None:
    """The server sees the service's only host as server name, and no client certificate."""
    service = outside(clientsideTls={"caCertificates": authorities})
    async with mesh.having(service, endpoint(server.port), table()):
        answer = await mesh.request("www.example.com", "/get?a=b")

    assert answer.status == 200
    assert answer.json == {
        "server": "outside",
        "server_name": HOST,
        "client": None,
        "host": "www.example.com",
        "path": "/get?a=b",
    }


async def test_a_server_of_strangers_gets_nothing(mesh: EnvoyMesh, authorities: str) -> None:
    """Its certificate is of another authority."""
    async with run_tls_server("outside", STRANGERS.sign(HOST)) as server:
        service = outside(clientsideTls={"caCertificates": authorities})
        async with mesh.having(service, endpoint(server.port), table()):
            answer = await mesh.request("www.example.com")

    assert (answer.status, answer.header("x-upstream"), server.requests) == (503, None, 0)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param({"sni": "other.example"}, 503, id="another-server-name"),
        pytest.param({"subjectAltNames": ["other.example"]}, 503, id="another-name"),
        pytest.param({"sni": "other.example", "subjectAltNames": ["other.example", HOST]}, 200, id="any-of-them"),
    ],
)
async def test_a_server_proves_its_name(
    mesh: EnvoyMesh, server: TlsServer, authorities: str, names: dict[str, Any], expected: int
) -> None:
    """That which is asked for, or one of those that are listed."""
    tls = {"caCertificates": authorities, **({"sni": names["sni"]} if "sni" in names else {})}
    service = outside(clientsideTls=tls)
    service["spec"]["subjectAltNames"] = names.get("subjectAltNames", [])
    async with mesh.having(service, endpoint(server.port), table()):
        answer = await mesh.request("www.example.com")

    assert answer.status == expected
    assert server.requests == (expected == 200)


async def test_a_server_proves_its_address_where_it_has_no_name(mesh: EnvoyMesh, authorities: str) -> None:
    """A certificate can be for an address; none is asked for as server name."""
    async with run_tls_server("outside", AUTHORITY.sign("127.0.0.1")) as server:
        port = {"number": server.port, "protocol": "HTTPS", "clientsideTls": {"caCertificates": authorities}}
        service = external_service(addresses=["127.0.0.1"], ports=[port])
        async with mesh.having(service, table(server.port)):
            answer = await mesh.request("www.example.com")

    assert (answer.status, answer.json["server_name"]) == (200, None)


async def test_the_certificates_of_a_secret_are_shown_and_believed(mesh: EnvoyMesh) -> None:
    """MUTUAL with credentialName; another certificate in the Secret is followed, and without it nothing is sent."""
    service = outside(clientsideTls={"mode": "MUTUAL", "credentialName": "client"})

    def credentials(name: str) -> dict[str, Any]:
        own = AUTHORITY.sign(name)
        return secret("client", {"tls.crt": own.chain, "tls.key": own.private_key, "ca.crt": AUTHORITY.certificate})

    async with (
        run_tls_server("outside", AUTHORITY.sign(HOST), clients=AUTHORITY.certificate) as server,
        mesh.having(service, endpoint(server.port), table(), credentials("first")),
    ):
        first = await mesh.request("www.example.com")
        seen = server.requests
        await mesh.delete(credentials("first"))
        without = await mesh.request("www.example.com")
        after = server.requests
        await mesh.apply(credentials("second"))
        second = await mesh.request("www.example.com")

    assert (first.status, first.json["client"]) == (200, "first")
    assert (without.status, after) == (500, seen)
    assert (second.status, second.json["client"]) == (200, "second")


async def test_a_file_that_is_missing_closes_nothing_but_its_own_route(
    mesh: EnvoyMesh, server: TlsServer, tmp_path: Path
) -> None:
    """It answers 500 and others go on changing; it works as soon as the file is there, and no longer than that."""
    file = tmp_path / "authorities.pem"
    other = route_table("other", hosts=["other.example.com"], http=[{"directResponse": {"status": 201}}])
    service = outside(clientsideTls={"caCertificates": str(file)})
    async with mesh.having(service, endpoint(server.port), table()):
        closed = await mesh.request("www.example.com")
        told = mesh.status(service)["common"]["State"]["message"]
        async with mesh.having(other):
            beside = await mesh.request("other.example.com")
        file.write_text(AUTHORITY.certificate)
        await answered(mesh, 200)
        file.write_text("-----BEGIN CERTIFICATE-----")
        await answered(mesh, 500)
        async with mesh.having(other):
            again = await mesh.request("other.example.com")

    assert (closed.status, beside.status, again.status) == (500, 201, 201)
    assert told.endswith("; spec.ports[0].clientsideTls.caCertificates: the file cannot be read")


async def answered(mesh: EnvoyMesh, status: int) -> None:
    """Returns when the route is answered so."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while (await mesh.request("www.example.com")).status != status:
            pass


async def test_a_certificate_that_is_renewed_in_files_is_shown(mesh: EnvoyMesh, tmp_path: Path) -> None:
    """By new connections, while every request is answered."""
    paths = {name: tmp_path / f"{name}.pem" for name in ("clientCertificate", "privateKey", "caCertificates")}
    tls = {"mode": "MUTUAL"} | {name: str(path) for name, path in paths.items()}

    def write(name: str) -> None:
        own = AUTHORITY.sign(name)
        paths["privateKey"].write_text(own.private_key)
        paths["clientCertificate"].write_text(own.chain)

    write("first")
    paths["caCertificates"].write_text(AUTHORITY.certificate)
    async with (
        run_tls_server("outside", AUTHORITY.sign(HOST), clients=AUTHORITY.certificate, kept=False) as server,
        mesh.having(outside(clientsideTls=tls), endpoint(server.port), table()),
    ):
        first = await mesh.request("www.example.com")
        write("second")
        seen: set[tuple[int, str]] = set()
        async with asyncio.timeout(SETTLE_SECONDS):
            while (200, "second") not in seen:
                one = await mesh.request("www.example.com")
                seen.add((one.status, one.json["client"] if one.status == 200 else ""))

    assert (first.status, first.json["client"]) == (200, "first")
    assert {status for status, _ in seen} == {200}


async def test_without_a_certificate_a_server_that_wants_one_does_not_answer(mesh: EnvoyMesh, authorities: str) -> None:
    """SIMPLE shows none."""
    async with run_tls_server("outside", AUTHORITY.sign(HOST), clients=AUTHORITY.certificate) as server:
        service = outside(clientsideTls={"caCertificates": authorities})
        async with mesh.having(service, endpoint(server.port), table()):
            answer = await mesh.request("www.example.com")

    assert (answer.status, server.requests) == (503, 0)


async def test_a_server_that_nobody_could_verify_gets_nothing(mesh: EnvoyMesh, server: TlsServer) -> None:
    """There are no authorities here; insecureSkipVerify is what opens it."""
    async with mesh.having(outside(), endpoint(server.port), table()):
        closed = await mesh.request("www.example.com")
        count = server.requests
        await mesh.apply(outside(clientsideTls={"insecureSkipVerify": True}))
        opened = await mesh.request("www.example.com")

    assert (closed.status, count) == (500, 0)
    assert opened.status == 200


async def test_a_connection_is_passed_on_with_the_clients_own_tls(
    mesh: EnvoyMesh, server: TlsServer, authorities: str
) -> None:
    """CONNECT to a port that speaks TLS, where the service says no more; other ports of the host are not there."""
    async with mesh.having(outside(), endpoint(server.port)):
        tunnel, reader, writer = await connect(mesh, f"{HOST}:443")
        await writer.start_tls(ssl.create_default_context(cafile=authorities), server_hostname=HOST)
        writer.write(f"GET /own HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.readuntil(b"}"), 10)
        writer.close()
        elsewhere, _, other = await connect(mesh, f"{HOST}:444")
        other.close()

    assert b" 200 " in tunnel
    assert b'"path": "/own"' in answer
    assert b'"server_name": "api.outside.example"' in answer
    assert b" 502 " in elsewhere


async def connect(mesh: EnvoyMesh, place: str) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    """The answer to CONNECT, and the connection."""
    reader, writer = await asyncio.open_connection(mesh.address(CLIENT), OUTBOUND_PORT)
    writer.write(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10), reader, writer


async def test_a_virtual_destination_leads_outside_with_tls(
    mesh: EnvoyMesh, server: TlsServer, authorities: str
) -> None:
    """By its host, and by a route to it."""
    virtual = virtual_destination(
        hosts=["virtual.example"],
        externalServices=[{"name": "outside"}],
        ports=[{"number": 80, "protocol": "HTTP", "targetPort": {"number": 443}}],
    )
    service = outside(clientsideTls={"caCertificates": authorities})
    routes = table(80, "VIRTUAL_DESTINATION", "virtual")
    async with mesh.having(service, endpoint(server.port), virtual, routes):
        answers = [await mesh.request(host) for host in ("virtual.example", "www.example.com")]

    assert [(one.status, one.json["server_name"]) for one in answers] == [(200, HOST), (200, HOST)]


async def test_a_virtual_destination_leads_to_services(mesh: EnvoyMesh) -> None:
    """By its host; with nothing behind it the answer is 503."""
    port = {"number": 80, "protocol": "HTTP", "targetPort": {"number": 8000}}
    virtual = virtual_destination(hosts=["virtual.example"], services=[{"labels": {"app": "canary"}}], ports=[port])
    empty = virtual_destination("empty", hosts=["empty.example"], services=[{"labels": {"app": "no"}}], ports=[port])
    async with mesh.having(virtual, empty):
        found, nothing = await mesh.request("virtual.example"), await mesh.request("empty.example")

    assert (found.status, found.header("x-upstream")) == (200, "canary")
    assert (nothing.status, nothing.header("x-upstream")) == (503, None)


@pytest.mark.parametrize("text", ["a\nb", "ü" * 400, "\x00", "a b", "{}", "x" * 5000, "", "%", "192.0.2.1", "\x7f\x1b"])
async def test_odd_text_is_taken_or_told_but_never_refused_by_envoy(
    mesh: EnvoyMesh, authorities: str, text: str
) -> None:
    """One refused backend would hold up whatever else a proxy is told."""
    reference = {"ref": {"name": "httpbin"}, "port": {"number": 8000}, "subset": {text: "v", "k": text}}
    table = route_table(hosts=["www.example.com"], http=[{"name": "odd", "forwardTo": {"destinations": [reference]}}])
    tls = {"caCertificates": authorities, "sni": text}
    ports = [{"number": 443, "name": text, "protocol": "HTTPS", "clientsideTls": tls}]
    named = external_service("named", hosts=[text, HOST], subjectAltNames=[text], ports=ports)
    placed = external_service("placed", hosts=["b.example"], selector=SELECTED, ports=ports)
    virtual = virtual_destination(hosts=[text], services=[{}], ports=[{"number": 80, "protocol": "HTTP"}])
    async with mesh.having(table, named, placed, endpoint(1, text), virtual):
        answer = await mesh.request("httpbin.httpbin:8000", "/get")

    assert answer.status == 200
