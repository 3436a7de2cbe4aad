"""Mutual TLS between real Envoys: who is let in, what the application is told, and certificates that change under load."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support.certificates import Authority, Certificate
from tests.support.envoy_mesh import CALLER, CLIENT, GUARDED, INBOUND_PORT, EnvoyMesh, run_envoy_mesh
from tests.support.grpc_echo import GrpcClient, run_grpc_echo
from tests.support.jwt_objects import HOST, LABEL, MISSING, bearer, policy, provider, table
from tests.support.load import Load, Timeline
from tests.support.mesh_issuer import MeshIssuer, account
from tests.support.objects import forward, jwt_policy
from tests.support.protocol_world import GRPC, RAW, accepting, endpoints, pod, service, talk_back
from tests.support.tokens import DEV, sign

from meshpass.translate.sidecar import OUTBOUND_PORT

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

SERVER = "guarded:8000"
XFCC = "x-forwarded-client-cert"
PEER_NAME = "8000.guarded.httpbin.cluster1.svc.meshpass.internal"
REFUSED = (ConnectionError, ssl.SSLError, EOFError)
GET = b"GET /get HTTP/1.1\r\nHost: guarded\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[EnvoyMesh]:
    async with run_envoy_mesh(CLIENT, CALLER, GUARDED, issuer=MeshIssuer()) as running:
        yield running


@asynccontextmanager
async def strict(mesh: EnvoyMesh) -> AsyncIterator[None]:
    """Inside, callers of ``guarded`` have to show who they are."""
    mesh.strict = frozenset({GUARDED})
    try:
        await mesh.publish()
        yield
    finally:
        mesh.strict = frozenset()
        await mesh.publish()


async def say(mesh: EnvoyMesh, certificate: Certificate | None, name: str = PEER_NAME) -> bytes:
    """How the pod of ``guarded`` answers a client that speaks TLS by itself; OSError if it does not."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate is not None:
        with tempfile.TemporaryDirectory(prefix="meshpass-") as directory:
            path = Path(directory) / "both.pem"
            path.touch(mode=0o600)
            path.write_text(certificate.private_key + certificate.chain)
            context.load_cert_chain(path)
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(
            mesh.address(GUARDED), INBOUND_PORT, ssl=context, server_hostname=name
        )
        try:
            writer.write(GET)
            # The server's refusal of a certificate comes after the client's side of the handshake (RFC 8446 §4.4.2.4).
            answer = await reader.read(65536)
            if not answer:
                raise ConnectionResetError("closed without an answer")
            return answer
        finally:
            writer.close()


async def refused(mesh: EnvoyMesh) -> None:
    """Returns once a call straight to the pod of ``guarded`` is cut off: workers follow soon after the acknowledgement."""
    async with asyncio.timeout(5):
        while True:
            mesh.client.close()
            try:
                await mesh.request_inbound()
            except ConnectionError:
                return


async def test_a_sidecar_shows_who_its_workload_is(mesh: EnvoyMesh) -> None:
    """The application is told the SPIFFE ID of the caller, by each caller its own, and nothing that the client says."""
    for node, name in ((CLIENT, "client"), (CALLER, "caller")):
        answer = await mesh.request(SERVER, node=node, headers={XFCC: "URI=spiffe://mesh.example/ns/x/sa/evil"})

        (shown,) = answer.seen(XFCC)
        parts = dict(part.split("=", 1) for part in shown.split(";"))
        assert answer.upstream == "guarded"
        assert parts.keys() == {"By", "Hash", "URI"}
        assert (parts["By"], parts["URI"]) == (account("guarded"), account(name))


async def test_plain_text_is_taken_as_long_as_nobody_says_otherwise(mesh: EnvoyMesh) -> None:
    """And says nothing of a caller, whatever the client says."""
    answer = await mesh.request_inbound(headers={XFCC: f"URI={account('client')}"})

    assert (answer.status, answer.upstream, answer.seen(XFCC)) == (200, "guarded", [])


async def test_a_service_without_sidecars_gets_plain_text(mesh: EnvoyMesh) -> None:
    """From the address of the caller's pod, and without what the client says of certificates."""
    answer = await mesh.request("canary:8000", headers={XFCC: f"URI={account('client')}"})

    assert (answer.upstream, answer.seen(XFCC)) == ("canary", [])
    assert answer.json["origin"] == mesh.address(CLIENT)


async def test_where_callers_have_to_show_who_they_are_plain_text_is_refused(mesh: EnvoyMesh) -> None:
    """A call straight to the pod is cut off, as is TLS to the application itself; one by way of a sidecar is answered."""
    issuer = mesh.issuer
    assert issuer is not None
    async with strict(mesh):
        await refused(mesh)
        with pytest.raises(REFUSED):
            await say(mesh, issuer.sign(account("client")), name="guarded.example")
        assert (await mesh.request(SERVER)).upstream == "guarded"
    assert (await mesh.request_inbound()).upstream == "guarded"


async def test_a_change_of_what_callers_show_ends_no_connection_of_those_who_show_it(mesh: EnvoyMesh) -> None:
    """The listener is updated in place, and the connections between the sidecars are those from before."""
    await mesh.request(SERVER)
    updated = await mesh.counted(GUARDED, "listener_manager.listener_in_place_updated")
    before = await mesh.counted(GUARDED, f"http.inbound-{INBOUND_PORT}.downstream_cx_total")
    async with strict(mesh):
        await mesh.request(SERVER)
    await mesh.request(SERVER)

    assert await mesh.counted(GUARDED, "listener_manager.listener_in_place_updated") == updated + 2
    assert await mesh.counted(GUARDED, f"http.inbound-{INBOUND_PORT}.downstream_cx_total") == before


@pytest.mark.parametrize(
    ("make", "let_in"),
    [
        pytest.param(lambda issuer: issuer.sign(account("client")), True, id="of-the-mesh"),
        pytest.param(lambda _: None, False, id="none"),
        pytest.param(lambda _: Authority().sign(account("client")), False, id="of-another-authority"),
        pytest.param(lambda issuer: issuer.sign("spiffe://other.example/ns/a/sa/b"), False, id="another-trust-domain"),
        pytest.param(lambda issuer: issuer.sign("spiffe://mesh.example.evil/ns/a"), False, id="longer-trust-domain"),
        pytest.param(lambda issuer: issuer.sign("mesh.example"), False, id="host-name"),
    ],
)
async def test_certificates_of_the_mesh_alone_are_taken(
    mesh: EnvoyMesh, make: Callable[[MeshIssuer], Certificate | None], let_in: bool
) -> None:
    """Whoever asks for the name that proxies ask for shows one, also where plain text is taken."""
    issuer = mesh.issuer
    assert issuer is not None
    if let_in:
        assert (await say(mesh, make(issuer))).startswith(b"HTTP/1.1 200")
    else:
        with pytest.raises(REFUSED):
            await say(mesh, make(issuer))


async def test_a_server_that_is_somebody_else_is_not_believed() -> None:
    """Its certificate is of the mesh, but of another account: callers answer 503, and the application sees nothing."""
    issuer = MeshIssuer()
    issuer.give(account("guarded"), issuer.sign(account("client")))
    async with run_envoy_mesh(CLIENT, GUARDED, issuer=issuer) as mesh:
        answer = await mesh.request(SERVER)
        assert (answer.status, answer.upstream) == (503, None)

        issuer.give(account("guarded"), None)
        await mesh.publish()
        assert (await mesh.request(SERVER)).upstream == "guarded"


async def test_a_caller_from_another_authority_is_refused() -> None:
    """Though it says that it is one of the mesh."""
    issuer = MeshIssuer()
    issuer.give(account("caller"), Authority().sign(account("caller")))
    async with run_envoy_mesh(CLIENT, CALLER, GUARDED, issuer=issuer) as mesh:
        assert (await mesh.request(SERVER, node=CALLER)).status == 503
        assert (await mesh.request(SERVER, node=CLIENT)).status == 200


async def test_policies_hold_inside_of_mutual_tls(mesh: EnvoyMesh) -> None:
    """On a route at the caller, and on a destination at the callee."""
    token = bearer(sign(DEV))
    async with mesh.having(table(forward("guarded", **LABEL)), policy()):
        assert (await mesh.request(HOST)).text == MISSING
        assert (await mesh.request(HOST, headers=token)).upstream == "guarded"
    config = {"providers": {"dev": provider()}}
    on_destination = jwt_policy(applyToDestinations=[{"selector": {"name": "guarded"}}], config=config)
    async with mesh.having(on_destination):
        assert (await mesh.request(SERVER)).text == MISSING
        assert (await mesh.request(SERVER, headers=token)).upstream == "guarded"


async def test_everything_that_is_spoken_goes_through_mutual_tls() -> None:
    """gRPC, and what is no HTTP and waits for the server's first word; where plain text is refused."""
    issuer = MeshIssuer()
    ports = {"grpc-echo": GRPC, "tcp-raw": RAW}
    async with run_envoy_mesh(CLIENT, GUARDED, issuer=issuer) as mesh, run_grpc_echo("echo") as echo:
        raw = await asyncio.start_server(talk_back, "127.0.0.1", 0)
        await mesh.apply(
            pod(mesh, {GRPC: echo.port, RAW: raw.sockets[0].getsockname()[1]}),
            service("speaker", ports, app="guarded"),
            endpoints("speaker", mesh.address(GUARDED), ports),
        )
        for port in ports.values():
            await accepting(mesh.address(GUARDED), port)
        for nodes in (frozenset[str](), frozenset({GUARDED})):
            mesh.strict = nodes
            await mesh.publish()
            async with GrpcClient((mesh.address(CLIENT), OUTBOUND_PORT), f"speaker.httpbin:{GRPC}") as client:
                said = await client.describe("/tests.Open/Describe")
                assert f"URI={account('default')}" not in said["metadata"][XFCC]
                assert f"URI={account('client')}" in said["metadata"][XFCC]
                assert await client.count("/tests.Open/Count", 3, 1000) == [1000] * 3
            assert await converse(mesh.address(CLIENT), OUTBOUND_PORT, f"speaker.httpbin:{RAW}") == b"hello\nagain\n"
        with pytest.raises(REFUSED):
            await converse(mesh.address(GUARDED), RAW)
        mesh.strict = frozenset()
        await mesh.publish()
        assert await converse(mesh.address(GUARDED), RAW) == b"hello\nagain\n"
        raw.close()


async def converse(address: str, port: int, through: str = "") -> bytes:
    """What a server says that speaks first; by way of a tunnel of a sidecar with ``through``."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(address, port)
        try:
            if through:
                writer.write(f"CONNECT {through} HTTP/1.1\r\nHost: {through}\r\n\r\n".encode())
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            said = await reader.readline()
            writer.write(b"again\n")
            said += await reader.readline()
            if not said:
                raise ConnectionResetError("closed without a word")
            return said
        finally:
            writer.close()


@pytest.mark.timeout(120)
async def test_certificates_and_roots_change_under_load_without_a_failed_request() -> None:
    """Renewal, then the rotation of the root: both are trusted, the new one signs, the old one is dropped."""
    issuer = MeshIssuer()
    kept = b"GET http://guarded:8000/get HTTP/1.1\r\nHost: guarded:8000\r\n\r\n"
    slow = kept.replace(b"/get", b"/delay/0.05")
    async with run_envoy_mesh(CLIENT, CALLER, GUARDED, issuer=issuer) as mesh:
        first = issuer.authorities
        seen = await hashes(mesh, CLIENT, 8)
        async with (
            Load((mesh.address(CLIENT), OUTBOUND_PORT), Timeline(), [kept, slow], clients=4, seed=1) as one,
            Load((mesh.address(CALLER), OUTBOUND_PORT), Timeline(), [kept, slow], clients=4, seed=2) as other,
        ):
            steps = (issuer.renew, issuer.trust_another, issuer.sign_with_newest, issuer.drop_others, issuer.renew)
            for number, step in enumerate(steps, 2):
                step()
                await mesh.publish()
                await one.settle()
                await other.settle()
                seen |= await hashes(mesh, CLIENT, 8 * number)
        exchanges = one.exchanges + other.exchanges
        assert len(exchanges) > 100
        assert {(found.status, found.upstream) for found in exchanges} == {(200, True)}
        assert one.closed == other.closed == 0
        assert len(seen) == 4
        assert first not in issuer.authorities
        with pytest.raises(REFUSED):
            await say(mesh, None)
        assert (await say(mesh, issuer.sign(account("client")))).startswith(b"HTTP/1.1 200")


async def hashes(mesh: EnvoyMesh, node: str, number: int) -> set[str]:
    """The hashes of the certificates that a caller shows on so many connections at once."""
    answers = await asyncio.gather(*(mesh.request(SERVER, "/delay/0.2", node=node) for _ in range(number)))
    return {answer.seen(XFCC)[0].partition("Hash=")[2].partition(";")[0] for answer in answers}
