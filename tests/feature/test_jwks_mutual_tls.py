"""Key sets of servers of the mesh: who is asked, who asks, and whose answer counts."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.identities import ALICE, BOB, DOMAIN, IssuingProcess
from tests.support.jwks_server import EC_KEY, JwksServer, key_set, moved, reply, running_server

from meshpass.ir import Endpoint
from meshpass.jwks.download import Answer, Downloader, Validators
from meshpass.jwks.failure import FetchError
from meshpass.jwks.mutualtls import MutualTls
from meshpass.translate.identity import Identities, control_plane_id
from meshpass.translate.keysource import KeyFetch, KeyPeer, KeySource

GOOD = key_set(EC_KEY)
OURS = control_plane_id(DOMAIN)
SNI = "80.keys.httpbin.cluster1.svc.meshpass.internal"


class World:
    """A mesh in which ALICE has keys and BOB has not, and another mesh of the same names."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        now = datetime.now(UTC)
        self.process = IssuingProcess(directory / "mesh", begin=now)
        self.other = IssuingProcess(directory / "other", begin=now)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.process.running(), self.other.running():
            for one in (self.process, self.other):
                one.issuer.follow(frozenset({ALICE, BOB, OURS}))
            yield

    def server_tls(self, process: IssuingProcess, identity: str, asked: list[str | None]) -> ssl.SSLContext:
        """How a sidecar ends mutual TLS."""
        chain, key, _ = process.peer(identity)
        file = self.directory / "shown.pem"
        file.write_text(key + chain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(file)
        context.load_verify_locations(cadata=self.process.issuer.identities.authorities)
        context.sni_callback = lambda _tls, name, _context: asked.append(name)
        return context


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    async with made.running():
        yield made


async def ask(server: JwksServer, identities: Identities, *, mutual: bool = True, seconds: float = 5) -> Answer:
    fetch = KeyFetch(
        timeout_seconds=seconds,
        endpoints=(Endpoint("127.0.0.1", server.port, mutual_tls=mutual),),
        peer=KeyPeer(SNI, (ALICE,)),
    )
    downloader = Downloader(mutual_tls=MutualTls(lambda: identities))
    return await downloader(
        KeySource("http://issuer.example.com/keys", "cluster1/httpbin/keys:80"), fetch, Validators()
    )


@pytest.mark.parametrize("behaviour", [reply(GOOD), moved("/moved", reply(GOOD))], ids=["at once", "moved"])
async def test_the_workload_of_the_destination_is_asked_by_who_we_are(world: World, behaviour) -> None:
    """Its certificate has the right name, ours too, and the URL's host is in the request."""
    asked: list[str | None] = []
    async with running_server(behaviour, tls=world.server_tls(world.process, ALICE, asked)) as server:
        answer = await ask(server, world.process.issuer.identities)

    assert answer.body == GOOD
    assert set(asked) == {SNI}
    assert {one.headers["host"] for one in server.requests} == {"issuer.example.com"}


async def test_another_workload_of_the_mesh_is_not_believed(world: World) -> None:
    """It is of the mesh, but has not the name of any workload behind the destination."""
    tls = world.server_tls(world.process, BOB, [])
    async with running_server(reply(GOOD), tls=tls) as server:
        with pytest.raises(FetchError, match="no workload of the destination"):
            await ask(server, world.process.issuer.identities)


async def test_another_mesh_is_not_believed(world: World) -> None:
    """The name is right, the authority is not."""
    tls = world.server_tls(world.other, ALICE, [])
    async with running_server(reply(GOOD), tls=tls) as server:
        with pytest.raises(FetchError, match="not trusted"):
            await ask(server, world.process.issuer.identities)
        assert server.count == 0


async def test_plain_text_is_not_an_answer(world: World) -> None:
    """Where a sidecar should end TLS and something else answers, nothing of it counts."""
    async with running_server(reply(GOOD)) as server:
        with pytest.raises(FetchError, match="no whole answer"):
            await ask(server, world.process.issuer.identities, seconds=0.3)
        assert server.count == 0


async def test_without_a_certificate_nobody_is_asked(world: World) -> None:
    """There is one soon: it is tried again."""
    async with running_server(reply(GOOD)) as server:
        with pytest.raises(FetchError, match="no certificate of the mesh yet") as failed:
            await ask(server, Identities(trust_domain=DOMAIN))
        assert failed.value.transient
        assert server.count == 0


async def test_a_server_without_a_proxy_is_asked_in_plain_text(world: World) -> None:
    """There is nobody who could end mutual TLS."""
    async with running_server(reply(GOOD)) as server:
        assert (await ask(server, world.process.issuer.identities, mutual=False)).body == GOOD


async def test_what_is_issued_anew_is_shown_from_then_on(world: World) -> None:
    """The context is made once for what is issued, and again for what is issued next."""
    own = MutualTls(lambda: world.process.issuer.identities)
    before = own.context
    assert own.context is before
    world.process.issuer.follow(frozenset({ALICE, OURS, f"spiffe://{DOMAIN}/ns/more/sa/more"}))
    assert own.context is not before
