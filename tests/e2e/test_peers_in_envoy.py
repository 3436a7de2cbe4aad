"""Who is believed by mutual TLS, and which endpoints have the requests, in a real Envoy with tasks in words of the IR."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from tests.support.certificates import Authority
from tests.support.ir_envoy import URL, IrEnvoy, forward, guarded, host, outbound, route, run_ir_envoy
from tests.support.tls_server import run_tls_server
from tests.support.tokens import public_jwks

from meshpass.ir import (
    WORKLOAD_IDENTITY,
    Backend,
    Endpoint,
    OutlierDetection,
    PeerTls,
    Proxy,
    Secret,
    TlsCertificate,
    TrustedAuthorities,
)

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

ROOT, STRANGER = Authority(), Authority("strange authority")
SERVER, CLIENT = "spiffe://mesh.example/ns/a/sa/server", "spiffe://mesh.example/ns/a/sa/client"
POLICIES = guarded(public_jwks("main"))
PEER = PeerTls(sni="80.server.a.c.svc.meshpass.internal", peers="peers/server")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def envoy() -> AsyncIterator[IrEnvoy]:
    async with run_ir_envoy() as running:
        yield running


@asynccontextmanager
async def server(authority: Authority = ROOT) -> AsyncIterator[Endpoint]:
    """Inside, the place of a workload that takes mutual TLS alone."""
    async with run_tls_server("server", authority.sign(SERVER), clients=ROOT.certificate) as running:
        yield Endpoint("127.0.0.1", running.port, mutual_tls=True)


def own(authority: Authority = ROOT) -> TlsCertificate:
    signed = authority.sign(CLIENT)
    return TlsCertificate(name=WORKLOAD_IDENTITY, chain=signed.chain, private_key=signed.private_key)


def accepting(*identities: str, roots: str = ROOT.certificate) -> TrustedAuthorities:
    return TrustedAuthorities(name=PEER.peers, certificates=roots, identities=identities)


def task(name: str, *endpoints: Endpoint, secrets: tuple[Secret, ...]) -> Proxy:
    """A task whose requests go to a backend with these endpoints. Another name is another cluster, without connections."""
    backend = Backend(name=name, endpoints=endpoints, peer=PEER)
    return to(backend, *secrets)


def to(backend: Backend, *secrets: Secret) -> Proxy:
    """A task whose requests all go to this backend."""
    hosts = host("www.example.com", route(forward(backend.name)))
    return outbound(hosts, backends=(backend,), secrets=secrets, policies=POLICIES)


@pytest.mark.parametrize(
    ("trusted", "status"),
    [
        pytest.param(accepting(SERVER), 200, id="it"),
        pytest.param(accepting("spiffe://mesh.example/ns/b/sa/c", SERVER), 200, id="it-among-others"),
        pytest.param(accepting("spiffe://mesh.example/"), 200, id="its-trust-domain"),
        pytest.param(accepting(SERVER + "2"), 503, id="a-longer-name"),
        pytest.param(accepting(SERVER[:-1]), 503, id="a-shorter-name"),
        pytest.param(accepting("spiffe://mesh.example/ns/a/"), 200, id="its-namespace"),
        pytest.param(accepting("spiffe://mesh.example/ns/b/"), 503, id="another-namespace"),
        pytest.param(accepting(), 503, id="nobody"),
        pytest.param(accepting(SERVER, roots=STRANGER.certificate), 503, id="from-a-stranger"),
        pytest.param(accepting(SERVER, roots=""), 503, id="from-nobody"),
    ],
)
async def test_who_may_answer(envoy: IrEnvoy, trusted: TrustedAuthorities, status: int) -> None:
    """As the secret says, which says all of it: the roots, and the names."""
    async with server() as place:
        await envoy.serve(task(f"server-{place.port}", place, secrets=(trusted, own())))
        answer = await envoy.request(f"{URL}/get")

    assert (answer.status, answer.upstream) == (status, "server" if status == 200 else None)


async def test_secrets_change_for_new_connections_and_end_none(envoy: IrEnvoy) -> None:
    """Who is no longer accepted keeps the connection that it has; a new one is refused, and accepted again later."""
    async with server() as place:
        name = f"server-{place.port}"
        await envoy.serve(task(name, place, secrets=(accepting(SERVER), own())))
        assert (await envoy.request(f"{URL}/1")).status == 200
        await envoy.serve(task(name, place, secrets=(accepting(), own())))
        assert (await envoy.request(f"{URL}/2")).status == 200
        await envoy.serve(task(f"{name}-new", place, secrets=(accepting(), own())))
        assert (await envoy.request(f"{URL}/3")).status == 503
        await envoy.serve(task(f"{name}-new", place, secrets=(accepting(SERVER), own())))
        assert (await envoy.request(f"{URL}/4")).status == 200


@pytest.mark.parametrize("with_own", [True, False])
async def test_a_backend_waits_for_its_secrets(with_own: bool) -> None:
    """Without all of them nothing is sent, not in plain text either, and the proxy does not say that it is done."""
    connections = []

    async def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        writer.close()

    async with run_ir_envoy() as alone, await asyncio.start_server(count, "127.0.0.1", 0) as listening:
        await alone.serve(outbound(host("www.example.com", route(forward("waiting"))), policies=POLICIES))
        endpoint = Endpoint("127.0.0.1", listening.sockets[0].getsockname()[1], mutual_tls=True)
        backend = Backend(name="waiting", endpoints=(endpoint,), peer=PEER)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await alone.serve(to(backend, own() if with_own else accepting(SERVER)))
        assert (await alone.request(f"{URL}/get")).status == 503
        assert connections == []


async def test_endpoints_that_do_not_speak_it_get_plain_text(envoy: IrEnvoy) -> None:
    """In one backend with those that do; the proxy shows its certificate to these alone."""
    plain = next(one for one in envoy.backends if one.name == "web").endpoints[0]
    async with server() as place:
        await envoy.serve(task(f"mixed-{place.port}", place, plain, secrets=(accepting(SERVER), own())))
        answers = [await envoy.request(f"{URL}/get") for _ in range(4)]

    assert {answer.upstream for answer in answers} == {"server", "web"}
    assert {answer.json["client"] for answer in answers if answer.upstream == "server"} == {CLIENT}
    assert {answer.json["server_name"] for answer in answers if answer.upstream == "server"} == {PEER.sni}


async def test_the_next_priority_has_the_requests_when_the_first_one_fails(envoy: IrEnvoy) -> None:
    """After as many failures as are said, and for as long; then the first one is tried again."""
    web, other = (one.endpoints[0] for one in envoy.backends if one.name in {"other", "web"})
    outlier = OutlierDetection(consecutive_failures=2, interval_milliseconds=100, ejection_milliseconds=2000)
    near, far = web, other._replace(priority=1)
    backend = Backend(name="failover", endpoints=(near, far), outlier=outlier)
    await envoy.serve(to(backend))

    first = (await envoy.request(f"{URL}/get")).upstream
    failing = [await envoy.request(f"{URL}/flaky/2/failover-{id(envoy)}") for _ in range(2)]
    assert [answer.status for answer in failing] == [503, 503]
    answers = [await envoy.request(f"{URL}/get") for _ in range(3)]
    assert {answer.upstream for answer in answers} == {"web", "other"} - {first}
    async with asyncio.timeout(10):
        while (await envoy.request(f"{URL}/get")).upstream != first:
            continue


async def test_an_endpoint_that_nobody_listens_at_counts_as_failed(envoy: IrEnvoy) -> None:
    """And where there is no other, requests fail until it is tried again: nothing else has them."""
    other = next(one for one in envoy.backends if one.name == "other").endpoints[0]
    outlier = OutlierDetection(consecutive_failures=1, interval_milliseconds=100, ejection_milliseconds=60_000)
    gone = Endpoint(envoy.address, 9)
    backend = Backend(name="gone", endpoints=(gone, other._replace(priority=1)), outlier=outlier)
    await envoy.serve(to(backend))

    statuses = [(await envoy.request(f"{URL}/get")).status for _ in range(5)]
    assert statuses == [503, 200, 200, 200, 200]
