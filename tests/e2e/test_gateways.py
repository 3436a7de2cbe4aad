"""Gateways in a real Envoy: hosts, TLS by server name, clients' certificates, redirects, TCP, and policies at the edge."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from tests.support.envoy_mesh import (
    CLIENT,
    GATEWAY,
    GATEWAY_PORTS,
    SETTLE_SECONDS,
    EnvoyMesh,
    build_endpoints,
    build_service,
    run_envoy_mesh,
    secret,
)
from tests.support.gateway_objects import make_pair, virtual_gateway
from tests.support.jwt_objects import HOST, LABEL, MISSING, bearer, policy
from tests.support.objects import forward, route_table
from tests.support.tokens import DEV, sign

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

GOOD = sign(DEV)
CLOSED = r"(?i)reset|eof|closed|alert|certificate|broken pipe"
"""What a client says whose connection is closed during or after the handshake."""
Manifest = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EnvoyMesh]:
    async with run_envoy_mesh(GATEWAY, CLIENT) as running:
        yield running


class Pair(NamedTuple):
    """A certificate and its key, as PEM; it is its own authority."""

    certificate: str
    private_key: str

    def write(self, directory: Path) -> Path:
        """A file with both."""
        path = directory / "pair.pem"
        path.write_text(self.certificate + self.private_key)
        return path


def pair(name: str) -> Pair:
    return Pair(*make_pair(name))


WWW, API, PERSON = map(pair, ("www.example.com", "api.example.com", "client.example.com"))


def certificate_of(name: str, own: Pair, **more: str) -> Manifest:
    return secret(name, {"tls.crt": own.certificate, "tls.key": own.private_key, **more})


PLAIN: Manifest = {"port": {"number": 80}, "http": {}}


def secure(name: str, *hosts: str, mode: str = "SIMPLE", **tls: Any) -> Manifest:
    """An HTTPS listener with the certificate of this Secret."""
    allowed = [{"host": host} for host in hosts]
    block = {"mode": mode, "secretName": name, **tls}
    return {"port": {"number": 443}, "http": {}, "tls": block, "allowedRouteTables": allowed}


def table(*hosts: str, name: str = "table", **spec: Any) -> Manifest:
    """A table for the gateway, with a route labelled LABEL to the Service httpbin unless it says another."""
    spec = spec or {"http": [forward(**LABEL)]}
    return route_table(name, hosts=list(hosts or (HOST,)), virtualGateways=[{"name": "gateway"}], **spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back, and which certificate was shown."""

    status: int
    headers: Mapping[str, str]
    text: str
    shown: str = ""


class Connection:
    """One connection to a port of the gateway; ``server_name`` makes it one of TLS."""

    def __init__(
        self,
        mesh: EnvoyMesh,
        port: int = 80,
        server_name: str = "",
        *,
        person: Path | None = None,
        maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> None:
        self._place = (mesh.address(GATEWAY), GATEWAY_PORTS[port])
        self._server_name = server_name
        self._http = http.client.HTTPConnection(*self._place)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._context.maximum_version = maximum
        if person is not None:
            self._context.load_cert_chain(person)

    async def get(self, host: str = HOST, path: str = "/get", **headers: str) -> Reply:
        """The answer. OSError (ssl.SSLError is one) where the connection is refused or closed."""
        return await asyncio.to_thread(self._get, host, path, headers)

    def _get(self, host: str, path: str, headers: Mapping[str, str]) -> Reply:
        if self._http.sock is None:
            self._connect()
        self._http.request("GET", path, headers={"Host": host, **headers})
        answer = self._http.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(status=answer.status, headers=named, text=answer.read().decode(), shown=self.shown())

    def _connect(self) -> None:
        plain = socket.create_connection(self._place, timeout=10)
        self._http.sock = (
            self._context.wrap_socket(plain, server_hostname=self._server_name) if self._server_name else plain
        )

    def shown(self) -> str:
        """The certificate that the other side showed, as PEM; empty without TLS."""
        own = self._http.sock
        found = own.getpeercert(binary_form=True) if isinstance(own, ssl.SSLSocket) else None
        return ssl.DER_cert_to_PEM_cert(found) if found else ""


async def listening(mesh: EnvoyMesh, port: int = 80) -> None:
    """Returns when the gateway accepts on the port: a listener that is acknowledged may not be bound yet."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection(mesh.address(GATEWAY), GATEWAY_PORTS[port])
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


@asynccontextmanager
async def opened(mesh: EnvoyMesh, *manifests: Manifest, port: int = 80) -> AsyncIterator[None]:
    """Inside, the objects are there and the port accepts."""
    async with mesh.having(*manifests):
        await listening(mesh, port)
        yield


def same(one: str, other: str) -> bool:
    return one.split() == other.split()


async def test_hosts_choose_the_table(mesh: EnvoyMesh) -> None:
    """With or without the port that clients see; any other host is answered 404, and so is a path without a route."""
    only_get = forward(**LABEL) | {"matchers": [{"uri": {"prefix": "/get"}}]}
    wild = table("*.example.org", name="wild", http=[forward("canary")])
    async with opened(mesh, virtual_gateway(PLAIN), table(http=[only_get]), wild):
        connection = Connection(mesh)
        answers = [
            (host, path, (await connection.get(host, path)))
            for host, path in (
                (HOST, "/get"),
                (f"{HOST}:80", "/get"),
                (HOST.upper(), "/get"),
                (HOST, "/status/200"),
                ("any.example.org", "/get"),
                ("example.org", "/get"),
                ("other.example.com", "/get"),
            )
        ]
        found = [(one.status, one.headers.get("x-upstream")) for _, _, one in answers]
        assert found == [
            (200, "httpbin"),
            (200, "httpbin"),
            (200, "httpbin"),
            (404, None),
            (200, "canary"),
            (404, None),
            (404, None),
        ]


async def test_the_host_of_all_is_possible_at_the_edge(mesh: EnvoyMesh) -> None:
    """``*`` takes what no other table has."""
    async with opened(mesh, virtual_gateway(PLAIN), table("*", name="any", http=[forward("canary")]), table()):
        connection = Connection(mesh)
        assert (await connection.get(HOST)).headers["x-upstream"] == "httpbin"
        assert (await connection.get("whatever")).headers["x-upstream"] == "canary"


async def test_server_names_choose_the_certificate(mesh: EnvoyMesh) -> None:
    """Each listener shows its own, and serves its own hosts alone; a name that no listener has is refused."""
    gateway = virtual_gateway(secure("www", HOST), secure("api", "api.example.com"))
    both = table(HOST, "api.example.com")
    async with opened(mesh, certificate_of("www", WWW), certificate_of("api", API), gateway, both, port=443):
        for name, own in ((HOST, WWW), ("api.example.com", API)):
            answer = await Connection(mesh, 443, name).get(name)
            assert answer.status == 200
            assert same(answer.shown, own.certificate)
        assert (await Connection(mesh, 443, HOST).get("api.example.com")).status == 421
        with pytest.raises(OSError, match=CLOSED):
            await Connection(mesh, 443, "other.example.com").get("other.example.com")


async def test_clients_without_a_certificate_are_refused(mesh: EnvoyMesh, tmp_path: Path) -> None:
    """In mode MUTUAL; and no other listener of the port lets them in to its hosts."""
    (tmp_path / "other").mkdir()
    person, other = PERSON.write(tmp_path), API.write(tmp_path / "other")
    closed = secure("www", HOST, mode="MUTUAL", verifySubjectAltName=["client.example.com"])
    gateway = virtual_gateway(closed, secure("api"))
    secrets = (certificate_of("www", WWW, **{"ca.crt": PERSON.certificate}), certificate_of("api", API))
    async with opened(mesh, *secrets, gateway, table("*.example.com", HOST), port=443):
        assert (await Connection(mesh, 443, HOST, person=person).get()).status == 200
        for wrong in (None, other):
            with pytest.raises(OSError, match=CLOSED):
                await Connection(mesh, 443, HOST, person=wrong).get()
        around = Connection(mesh, 443, "api.example.com")
        assert (await around.get("api.example.com")).status == 200
        assert (await around.get(HOST)).status == 421


async def test_old_versions_of_tls_are_refused(mesh: EnvoyMesh) -> None:
    """Below the minimum version."""
    gateway = virtual_gateway(secure("www", parameters={"minimumProtocolVersion": "TLSv1_3"}))
    async with opened(mesh, certificate_of("www", WWW), gateway, table(), port=443):
        assert (await Connection(mesh, 443, HOST).get()).status == 200
        with pytest.raises(ssl.SSLError):
            await Connection(mesh, 443, HOST, maximum=ssl.TLSVersion.TLSv1_2).get()


async def test_plain_text_is_sent_to_https(mesh: EnvoyMesh) -> None:
    """301 to the same URL, also for a host without a table."""
    gateway = virtual_gateway(PLAIN | {"httpsRedirect": True}, secure("www"))
    async with opened(mesh, certificate_of("www", WWW), gateway, table()):
        for host in (HOST, "nobody.example.com"):
            answer = await Connection(mesh).get(host, "/get?a=b")
            assert (answer.status, answer.headers["location"]) == (301, f"https://{host}/get?a=b")


async def test_a_listener_without_its_secret_is_closed(mesh: EnvoyMesh) -> None:
    """It opens as soon as the Secret is there."""
    async with mesh.having(virtual_gateway(secure("www")), table()):
        with pytest.raises(ConnectionRefusedError):
            await Connection(mesh, 443, HOST).get()
        async with opened(mesh, certificate_of("www", WWW), port=443):
            assert (await Connection(mesh, 443, HOST).get()).status == 200


async def test_a_renewed_certificate_is_shown_and_ends_no_connection(mesh: EnvoyMesh) -> None:
    """Connections that are open stay; new ones see the new certificate."""
    async with opened(mesh, certificate_of("www", WWW), virtual_gateway(secure("www")), table(), port=443):
        kept = Connection(mesh, 443, HOST)
        assert same((await kept.get()).shown, WWW.certificate)
        renewed = pair(HOST)
        await mesh.apply(certificate_of("www", renewed))
        async with asyncio.timeout(SETTLE_SECONDS):
            while same((await Connection(mesh, 443, HOST).get()).shown, WWW.certificate):
                pass
        assert same((await Connection(mesh, 443, HOST).get()).shown, renewed.certificate)
        answer = await kept.get()
        assert answer.status == 200
        assert "connection" not in answer.headers
        assert same(answer.shown, WWW.certificate)


def from_files(directory: Path, *hosts: str) -> Manifest:
    """An HTTPS listener with the certificate of files in this directory, where ``write`` puts them."""
    files = {"serverCert": str(directory / "chain.pem"), "privateKey": str(directory / "key.pem")}
    allowed = [{"host": host} for host in hosts]
    return {
        "port": {"number": 443},
        "http": {},
        "tls": {"mode": "SIMPLE", "files": files},
        "allowedRouteTables": allowed,
    }


def write(own: Pair, directory: Path) -> None:
    (directory / "chain.pem").write_text(own.certificate)
    (directory / "key.pem").write_text(own.private_key)


async def test_a_renewed_file_is_shown_and_ends_no_connection(mesh: EnvoyMesh, tmp_path: Path) -> None:
    """As with Secrets: nothing is closed in between."""
    write(WWW, tmp_path)
    async with opened(mesh, virtual_gateway(from_files(tmp_path)), table(), port=443):
        kept = Connection(mesh, 443, HOST)
        assert same((await kept.get()).shown, WWW.certificate)
        renewed = pair(HOST)
        write(renewed, tmp_path)
        async with asyncio.timeout(SETTLE_SECONDS):
            while same((await Connection(mesh, 443, HOST).get()).shown, WWW.certificate):
                pass
        assert same((await Connection(mesh, 443, HOST).get()).shown, renewed.certificate)
        answer = await kept.get()
        assert (answer.status, "connection" in answer.headers) == (200, False)
        assert same(answer.shown, WWW.certificate)


async def test_a_missing_file_closes_nothing_but_its_own_listener(mesh: EnvoyMesh, tmp_path: Path) -> None:
    """The others of the port go on, and change; it opens when the file is there, and closes when that is garbage."""
    both = virtual_gateway(from_files(tmp_path, "api.example.com"), secure("www", HOST))
    async with opened(mesh, certificate_of("www", WWW), both, table(HOST, "api.example.com"), port=443):
        with pytest.raises(OSError, match=CLOSED):
            await Connection(mesh, 443, "api.example.com").get("api.example.com")
        other = table("other.example.com", name="other", http=[{"directResponse": {"status": 201}}])
        async with mesh.having(other, virtual_gateway(from_files(tmp_path, "api.example.com"), secure("www"))):
            assert (await Connection(mesh, 443, HOST).get()).status == 200
            assert (await Connection(mesh, 443, HOST).get("other.example.com")).status == 201
        await mesh.apply(both)
        write(API, tmp_path)
        await shown(mesh, "api.example.com", API.certificate)
        (tmp_path / "key.pem").write_text(WWW.private_key)
        await shown(mesh, "api.example.com", "")
        assert (await Connection(mesh, 443, HOST).get()).status == 200


async def shown(mesh: EnvoyMesh, name: str, certificate: str) -> None:
    """Returns when new connections for a name are shown this certificate; empty: when they are closed."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            try:
                found = (await Connection(mesh, 443, name).get(name)).shown
            except OSError:
                found = ""
            if same(found, certificate):
                return


async def test_tables_that_are_not_allowed_are_not_served(mesh: EnvoyMesh) -> None:
    """By host and by label; the table's status says so."""
    entry = {"host": "*.example.com", "selector": {"labels": {"expose": "true"}}}
    gateway = virtual_gateway(PLAIN | {"allowedRouteTables": [entry]})
    exposed = table(HOST, "www.example.org", name="exposed", labels={"expose": "true"}, http=[forward()])
    hidden = table("api.example.com", name="hidden")
    async with opened(mesh, gateway, exposed, hidden):
        connection = Connection(mesh)
        statuses = [(await connection.get(host)).status for host in (HOST, "www.example.org", "api.example.com")]
        assert statuses == [200, 404, 404]
        assert "api.example.com" in mesh.status(hidden)["common"]["State"]["message"]


async def test_policies_hold_at_the_edge_and_in_sidecars(mesh: EnvoyMesh) -> None:
    """A table for both asks for a token in both places."""
    both = table(workloadSelectors=[{}], http=[forward(**LABEL)])
    async with opened(mesh, certificate_of("www", WWW), virtual_gateway(PLAIN, secure("www")), both, policy()):
        for connection in (Connection(mesh), Connection(mesh, 443, HOST)):
            answer = await connection.get()
            assert (answer.status, answer.text) == (401, MISSING)
            assert (await connection.get(**bearer(GOOD))).status == 200
        beside = await mesh.request(HOST)
        assert (beside.status, beside.text) == (401, MISSING)
        assert (await mesh.request(HOST, headers=bearer(GOOD))).status == 200


async def test_plain_tcp_is_passed_on(mesh: EnvoyMesh) -> None:
    """Whatever is said inside, here to the application that speaks HTTP."""
    tcp = table("*", tcp=[{"forwardTo": {"destinations": [{"ref": {"name": "httpbin"}, "port": {"number": 8000}}]}}])
    async with opened(mesh, virtual_gateway({"port": {"number": 31400}, "tcp": {}}), tcp, port=31400):
        answer = await Connection(mesh, 31400).get("anything")
        assert (answer.status, answer.headers["x-upstream"]) == (200, "httpbin")


@asynccontextmanager
async def tls_application(mesh: EnvoyMesh, name: str, own: Pair, directory: Path) -> AsyncIterator[None]:
    """Inside, Service ``name`` is an application that ends TLS by itself, with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.write(directory))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = name.encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server, mesh.having(build_service(name), build_endpoints(name, *server.sockets[0].getsockname()[:2])):
        yield


async def test_tls_is_passed_on_by_its_server_name(mesh: EnvoyMesh, tmp_path: Path) -> None:
    """The application's own certificate comes through; a name without a route is refused."""

    def route(name: str, host: str) -> Manifest:
        to = {"destinations": [{"ref": {"name": name}, "port": {"number": 8000}}]}
        return {"matchers": [{"sniHosts": [host]}], "forwardTo": to}

    for one in ("one", "two"):
        (tmp_path / one).mkdir()
    passing = table(HOST, "*.example.org", tls=[route("one", HOST), route("two", "*.example.org")])
    gateway = virtual_gateway({"port": {"number": 443}, "tls": {"mode": "PASSTHROUGH"}})
    async with (
        tls_application(mesh, "one", WWW, tmp_path / "one"),
        tls_application(mesh, "two", API, tmp_path / "two"),
        opened(mesh, gateway, passing, port=443),
    ):
        first, second = Connection(mesh, 443, HOST), Connection(mesh, 443, "a.example.org")
        assert (await first.get()).text == "one"
        assert (await second.get()).text == "two"
        with pytest.raises(OSError, match=CLOSED):
            await Connection(mesh, 443, "api.example.com").get()
