"""What the IR says of TLS and of TCP at gateways and towards backends, in a real Envoy."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.support.certificates import Authority, Certificate
from tests.support.ir_envoy import (
    GREETING,
    GUARDED,
    URL,
    IrEnvoy,
    forward,
    gateway,
    guarded,
    host,
    outbound,
    route,
    routes,
    run_ir_envoy,
)
from tests.support.tokens import DEV, public_jwks, sign

from meshpass.ir import (
    Backend,
    DownstreamTls,
    Endpoint,
    HttpChain,
    Proxy,
    Secret,
    TcpChain,
    TlsCertificate,
    TlsVersion,
    TrustedAuthorities,
    UpstreamTls,
    WeightedBackend,
)

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

PORT = 8443
POLICIES = guarded(public_jwks("main"))
AUTHORITY = Authority()
STRANGER = Authority("strange authority")
CLIENTS = TrustedAuthorities(name="clients", certificates=AUTHORITY.certificate)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def envoy() -> AsyncIterator[IrEnvoy]:
    async with run_ir_envoy() as running:
        yield running


def secret(name: str, certificate: Certificate) -> TlsCertificate:
    return TlsCertificate(name=name, chain=certificate.chain, private_key=certificate.private_key)


ONE, WILD = secret("one", AUTHORITY.sign("one.example.com")), secret("wild", AUTHORITY.sign("*.wild.example.com"))
SECRETS = (CLIENTS, ONE, WILD)


def chain(name: str, *server_names: str, **tls: Any) -> HttpChain:
    """HTTP inside of TLS; the route configuration is named as the chain."""
    ends = DownstreamTls(**{"certificate": name, **tls})
    return HttpChain(name=name, route_configuration=name, server_names=server_names, tls=ends)


PLAIN = HttpChain(name="plain", route_configuration="plain")
PASSED_ON = TcpChain(name="passed", backends=(WeightedBackend(backend="echo", weight=100),))


def serving(*chains: HttpChain | TcpChain, secrets: tuple[Secret, ...] = SECRETS) -> Proxy:
    """A gateway with these chains, where every HTTP chain leads to ``web`` for everyone, and the secrets that they name."""
    tables = [routes(one.name, host("*", route())) for one in chains if isinstance(one, HttpChain)]
    named = {name for one in chains if one.tls for name in (one.tls.certificate, one.tls.authorities)}
    used = tuple(one for one in secrets if one.name in named)
    return gateway(PORT, *chains, tables=tuple(tables), policies=POLICIES, secrets=used)


@contextmanager
def files(certificate: Certificate) -> Iterator[tuple[str, str]]:
    """Inside, the certificate and its key are in these files."""
    with tempfile.TemporaryDirectory() as directory:
        chain_file, key_file = Path(directory, "chain.pem"), Path(directory, "key.pem")
        chain_file.write_text(certificate.chain)
        key_file.write_text(certificate.private_key)
        yield str(chain_file), str(key_file)


def trusting(authority: Authority = AUTHORITY, *, shows: Certificate | None = None, alpn: tuple[str, ...] = ()) -> Any:
    """A client's side of TLS."""
    context = ssl.create_default_context(cadata=authority.certificate)
    if alpn:
        context.set_alpn_protocols(alpn)
    if shows is not None:
        with files(shows) as paths:
            context.load_cert_chain(*paths)
    return context


@asynccontextmanager
async def connected(envoy: IrEnvoy, name: str, context: Any = None) -> AsyncIterator[tuple[Any, Any]]:
    """A connection with TLS to the gateway that asks for this server name."""
    reader, writer = await asyncio.open_connection(envoy.address, PORT, ssl=context or trusting(), server_hostname=name)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ask(reader: Any, writer: Any, name: str) -> bytes:
    """The first line of the answer of an HTTP server."""
    writer.write(f"GET /get HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(length)
    return bytes(head.partition(b"\r\n")[0])


OK = b"HTTP/1.1 200 OK"


async def test_the_server_name_chooses_the_chain(envoy: IrEnvoy) -> None:
    """Each shows its own certificate; a wildcard is for one label or more; who asks for another name is let go."""
    await envoy.serve(serving(chain("one", "one.example.com"), chain("wild", "*.wild.example.com")))
    for name in ("one.example.com", "a.wild.example.com"):
        async with connected(envoy, name) as (reader, writer):
            assert await ask(reader, writer, name) == OK
    for name in ("two.example.com", "wild.example.com"):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with connected(envoy, name):
                pass


async def test_plain_and_tls_on_one_port(envoy: IrEnvoy) -> None:
    """Chains for TLS with and without names, for plain HTTP, and for TLS that only passes."""
    passed = replace(PASSED_ON, server_names=("passed.example.com",))
    await envoy.serve(serving(chain("one", "one.example.com"), chain("wild"), passed, PLAIN))
    async with connected(envoy, "one.example.com") as (reader, writer):
        assert await ask(reader, writer, "one.example.com") == OK
    async with connected(envoy, "any.wild.example.com") as (reader, writer):
        assert await ask(reader, writer, "any.wild.example.com") == OK
    assert (await envoy.request("http://www.example.com/get", port=PORT)).status == 200
    reader, writer = await asyncio.open_connection(envoy.address, PORT)
    writer.write(client_hello("passed.example.com"))
    assert await asyncio.wait_for(reader.readline(), 5) == GREETING
    writer.close()


def client_hello(name: str) -> bytes:
    """The first bytes of a TLS client."""
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    pipe = ssl.create_default_context().wrap_bio(inward, outward, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        pipe.do_handshake()
    return outward.read()


async def test_both_versions_of_http_are_offered(envoy: IrEnvoy) -> None:
    """HTTP/2 first."""
    await envoy.serve(serving(chain("one")))
    for offered, chosen in ((("h2", "http/1.1"), "h2"), (("http/1.1",), "http/1.1"), ((), None)):
        async with connected(envoy, "one.example.com", trusting(alpn=offered)) as (_, writer):
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == chosen


async def test_versions_and_ciphers(envoy: IrEnvoy) -> None:
    """Below the minimum there is no connection; up to TLS 1.2 the cipher is one of those named."""
    suite = "ECDHE-ECDSA-AES256-GCM-SHA384"
    exact = chain("one", maximum_version=TlsVersion.TLS_1_2, cipher_suites=(suite,))
    await envoy.serve(serving(exact))
    async with connected(envoy, "one.example.com") as (_, writer):
        assert writer.get_extra_info("cipher")[:2] == (suite, "TLSv1.2")
    await envoy.serve(serving(chain("one", minimum_version=TlsVersion.TLS_1_3)))
    old = trusting()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        async with connected(envoy, "one.example.com", old):
            pass


async def answers(envoy: IrEnvoy, context: Any) -> bool:
    """False where the server ends the connection instead (with TLS 1.3 that shows when the client reads)."""
    try:
        async with connected(envoy, "one.example.com", context) as (reader, writer):
            return await ask(reader, writer, "one.example.com") == OK
    except (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
        return False


async def test_clients_show_who_they_are(envoy: IrEnvoy) -> None:
    """A certificate of the authorities, with one of the names, or no connection."""
    mine, other = AUTHORITY.sign("client.example.com"), AUTHORITY.sign("other.example.com")
    await envoy.serve(serving(chain("one", authorities="clients")))
    assert await answers(envoy, trusting(shows=mine))
    assert not await answers(envoy, trusting())
    assert not await answers(envoy, trusting(shows=STRANGER.sign("client.example.com")))
    await envoy.serve(
        serving(chain("one", authorities="clients", subject_alt_names=("client.example.com", "10.0.0.1")))
    )
    assert await answers(envoy, trusting(shows=mine))
    assert await answers(envoy, trusting(shows=AUTHORITY.sign("x.example.com", "10.0.0.1")))
    assert not await answers(envoy, trusting(shows=other))


async def test_a_new_certificate_is_shown_and_ends_no_connection(envoy: IrEnvoy) -> None:
    """The same connection goes on; the next one sees the new certificate."""
    await envoy.serve(serving(chain("one")))
    async with connected(envoy, "one.example.com") as (reader, writer):
        old = writer.get_extra_info("peercert")["serialNumber"]
        renewed = secret("one", AUTHORITY.sign("one.example.com"))
        await envoy.serve(serving(chain("one"), secrets=(CLIENTS, renewed, WILD)))
        assert await ask(reader, writer, "one.example.com") == OK
    async with asyncio.timeout(5):
        while True:
            async with connected(envoy, "one.example.com") as (_, writer):
                if writer.get_extra_info("peercert")["serialNumber"] != old:
                    break


async def test_a_chain_that_comes_or_goes_leaves_the_others_alone(envoy: IrEnvoy) -> None:
    """Connections of a chain that stays stay, whatever is added, changed or removed beside it."""
    one, wild = chain("one", "one.example.com"), chain("wild", "*.wild.example.com")
    await envoy.serve(serving(one))
    async with connected(envoy, "one.example.com") as (reader, writer):
        for chains in ((one, wild), (one, replace(wild, server_names=("a.wild.example.com",))), (one, PLAIN), (one,)):
            await envoy.serve(serving(*chains))
            for _ in range(3):
                assert await ask(reader, writer, "one.example.com") == OK


async def test_tokens_are_asked_for_inside_of_tls(envoy: IrEnvoy) -> None:
    """A route of an HTTPS chain carries its class as any other."""
    tables = (routes("one", host("*", route(selection_class=GUARDED))),)
    await envoy.serve(gateway(PORT, chain("one"), tables=tables, policies=POLICIES, secrets=(ONE,)))
    async with connected(envoy, "one.example.com") as (reader, writer):
        assert await ask(reader, writer, "one.example.com") == b"HTTP/1.1 401 Unauthorized"
        assert await ask(reader, writer, f"one.example.com\r\nAuthorization: Bearer {sign(DEV)}") == OK


async def test_plain_tcp_by_weight(envoy: IrEnvoy) -> None:
    """The server may speak first; a backend of weight 0 gets nothing; TLS may end at the gateway."""
    shares = (WeightedBackend(backend="echo", weight=100), WeightedBackend(backend="web", weight=0))
    await envoy.serve(serving(replace(PASSED_ON, backends=shares)))
    for _ in range(8):
        reader, writer = await asyncio.open_connection(envoy.address, PORT)
        assert await asyncio.wait_for(reader.readline(), 5) == GREETING
        writer.close()
    halves = (WeightedBackend(backend="echo", weight=50), WeightedBackend(backend="web", weight=50))
    await envoy.serve(serving(TcpChain(name="ended", backends=halves, tls=DownstreamTls(certificate="one"))))
    seen = set()
    for _ in range(30):
        async with connected(envoy, "one.example.com") as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            seen.add(await asyncio.wait_for(reader.readline(), 5))
    assert seen == {GREETING, b"HTTP/1.1 200 X\r\n"}


# Towards backends


@asynccontextmanager
async def tls_server(shows: Certificate, *, asks_for: Authority | None = None) -> AsyncIterator[tuple[int, list[Any]]]:
    """Inside, a server with TLS; its port, and the server names that it was asked for."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with files(shows) as paths:
        context.load_cert_chain(*paths)
    if asks_for is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=asks_for.certificate)
    names: list[Any] = []
    context.sni_callback = lambda _, name, __: names.append(name)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-upstream: tls\r\nconnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], names


async def status_over(envoy: IrEnvoy, port: int, tls: UpstreamTls, *secrets: Secret) -> int:
    """The status of a request to a server that is spoken to like this."""
    used = tuple(one for one in secrets if one.name in {tls.authorities, tls.certificate})
    backend = Backend(name="tls", endpoints=(Endpoint("127.0.0.1", port),), tls=tls)
    cleared = outbound(host("www.example.com", route()), policies=POLICIES)
    await envoy.serve(cleared)
    told = outbound(
        host("www.example.com", route(forward("tls"))), policies=POLICIES, backends=(backend,), secrets=used
    )
    await envoy.serve(told)
    return (await envoy.request(URL)).status


TRUSTED = TrustedAuthorities(name="trusted", certificates=AUTHORITY.certificate)


@pytest.mark.parametrize(
    ("tls", "status"),
    [
        (UpstreamTls(sni="one.example.com", authorities="trusted"), 200),
        (UpstreamTls(sni="two.example.com", authorities="trusted"), 503),
        (UpstreamTls(sni="two.example.com", authorities="trusted", subject_alt_names=("x", "one.example.com")), 200),
        (UpstreamTls(sni="one.example.com", authorities="trusted", subject_alt_names=("x",)), 503),
        (UpstreamTls(sni="one.example.com", authorities="strange"), 503),
        (UpstreamTls(sni="one.example.com"), 503),
        (UpstreamTls(sni="one.example.com", verify=False), 200),
        (UpstreamTls(authorities="trusted"), 200),
    ],
)
async def test_a_server_is_verified_as_told(envoy: IrEnvoy, tls: UpstreamTls, status: int) -> None:
    """By authority and by name; without authorities never; or not at all."""
    strange = TrustedAuthorities(name="strange", certificates=STRANGER.certificate)
    async with tls_server(AUTHORITY.sign("one.example.com")) as (port, names):
        assert await status_over(envoy, port, tls, strange, TRUSTED) == status
    assert set(names) == {tls.sni or None}


async def test_a_server_is_shown_a_certificate(envoy: IrEnvoy) -> None:
    """Without one a server that asks for it lets nobody in."""
    mine = AUTHORITY.sign("client.example.com")
    async with tls_server(AUTHORITY.sign("one.example.com"), asks_for=AUTHORITY) as (port, _):
        plain = UpstreamTls(sni="one.example.com", authorities="trusted")
        assert await status_over(envoy, port, replace(plain, certificate="mine"), secret("mine", mine), TRUSTED) == 200
        assert await status_over(envoy, port, plain, TRUSTED) == 503


# What Envoy refuses


@pytest.mark.parametrize("spoilt", ["another chain", "no chain", "no PEM"])
async def test_a_certificate_that_is_refused_tells_no_key(
    envoy: IrEnvoy, spoilt: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in Envoy's words nor in a log; what was shown before is shown still."""
    await envoy.serve(serving(chain("one")))
    chains = {"another chain": WILD.chain, "no chain": "", "no PEM": "chain"}
    wrong = replace(ONE, chain=chains[spoilt])
    with pytest.raises(AssertionError, match="Failed to load") as refused:
        await envoy.serve(serving(chain("one"), secrets=(wrong,)))
    lines = [line for line in wrong.private_key.splitlines() if len(line) > 20 and "PRIVATE" not in line]
    assert lines
    assert not [line for line in lines if line in f"{refused.value} {caplog.text}"]
    assert await answers(envoy, trusting())


async def test_after_a_refused_certificate_the_good_one_is_back(envoy: IrEnvoy) -> None:
    """Also for a listener that changes in the same step: it is made from the last secret that came."""
    await envoy.serve(serving(chain("one")))
    with pytest.raises(AssertionError, match="Failed to load"):
        await envoy.serve(serving(chain("one"), secrets=(replace(ONE, chain=WILD.chain),)))
    await envoy.serve(serving(chain("one", "one.example.com")))
    assert await answers(envoy, trusting())
