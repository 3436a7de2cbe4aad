"""Intermediates: made where they are used, renewed in time, and what of an answer is believed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from tests.support.identities import START, ManualTime, certificates, make_ca, modes, settle

from meshpass.identity.authority import make_request
from meshpass.identity.intermediate import IntermediateStore
from meshpass.identity.profile import generate_key
from meshpass.identity.roots import RootStore
from meshpass.identity.trust import Phase


class World:
    """A management server and the intermediate of one cluster; it can be cut off, and answer with something else."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.time = ManualTime()
        self.roots = RootStore(directory / "server", "cluster.local", clock=self.time.clock, settle_seconds=0)
        self.store = self.open()
        self.requests: list[str] = []
        self.answer: Callable[[str], Awaitable[str]] = self.roots.signer("cluster1")

    def open(self) -> IntermediateStore:
        return IntermediateStore(
            self.directory / "agent",
            "cluster1",
            clock=self.time.clock,
            sleep=self.time.sleep,
            random=lambda: 0.5,
        )

    async def sign(self, csr_pem: str) -> str:
        self.requests.append(csr_pem)
        return await self.answer(csr_pem)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.store.run(self.sign))
            await settle()
            yield
            task.cancel()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def cut(_csr: str) -> str:
    raise ConnectionError("nobody is there")


async def test_it_is_signed_when_there_is_whom_to_believe(world: World) -> None:
    """Not before; then its chain and key are on disk, in private files, and the key is nowhere else."""
    async with world.running():
        assert world.requests == []
        seen = world.store.revision
        world.store.trust(world.roots.bundle)
        await settle()

        authority = world.store.authority
        assert authority is not None
        assert world.store.revision > seen
        assert authority.issuer == world.roots.bundle.signing
        assert authority.certificate.public_key() == authority.private_key.public_key()
        assert len(world.requests) == 1
        assert "PRIVATE" not in world.requests[0]
    assert list(modes(world.directory / "agent")) == [("intermediate.pem", 0o600), ("trust-bundle.json", 0o600)]
    assert (world.directory / "agent").stat().st_mode & 0o777 == 0o700
    assert "PRIVATE" not in (world.directory / "server" / "roots.json").read_text().replace("PRIVATE KEY", "", 2)


async def test_a_restart_goes_on_without_who_signs(world: World) -> None:
    """With the same intermediate and the same roots, and nothing is asked for."""
    world.store.trust(world.roots.bundle)
    async with world.running():
        before = world.store.authority
    world.answer = cut
    world.requests.clear()
    world.store = world.open()

    async with world.running():
        assert before is not None
        assert world.store.authority is not None
        assert world.store.authority.certificates == before.certificates
        assert world.store.bundle == world.roots.bundle
        assert world.requests == []


async def test_a_restart_goes_on_with_the_latest_bundle(world: World) -> None:
    """Not with the one before: others act on what this process has said that it believes."""
    world.store.trust(world.roots.bundle)
    world.roots.sign(make_request(generate_key()), "cluster1")
    world.roots.rotate()
    world.store.trust(world.roots.bundle)

    assert len(world.roots.bundle.trusts) == 2
    assert world.open().bundle == world.roots.bundle


async def test_it_is_renewed_at_half_its_life(world: World) -> None:
    """With a new key; not a day before."""
    world.store.trust(world.roots.bundle)
    async with world.running():
        first = world.store.authority
        await world.time.jump(days=182)
        assert world.store.authority is first
        await world.time.jump(days=1)

        second = world.store.authority
        assert first is not None
        assert second is not None
        assert second.certificate.public_key() != first.certificate.public_key()
        assert len(world.requests) == 2


async def test_a_failure_is_told_once_and_tried_again_ever_more_slowly(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """As long as it fails, what there is stays; then all is well."""
    world.store.trust(world.roots.bundle)
    world.answer = cut
    with caplog.at_level(logging.WARNING):
        async with world.running():
            assert world.store.problem == "nobody is there"
            assert world.store.authority is None
            tries = [len(world.requests)]
            for _ in range(4):
                await world.time.advance(minutes=15)
                tries.append(len(world.requests))
            assert [after - before for before, after in pairwise(tries)][-1] == 3
            assert [record.getMessage() for record in caplog.records] == ["intermediate not renewed"]

            world.answer = world.roots.signer("cluster1")
            await world.time.advance(minutes=5)
            assert world.store.problem == ""
            assert world.store.authority is not None


async def test_who_failed_does_not_wait_when_the_roots_change(world: World) -> None:
    """That may be what it failed for."""
    world.store.trust(world.roots.bundle)
    world.answer = cut
    async with world.running():
        await world.time.advance(minutes=30)
        world.answer = world.roots.signer("cluster1")
        world.roots.rotate()
        world.store.trust(world.roots.bundle)
        await settle()

        assert world.store.authority is not None


async def test_it_is_renewed_when_another_root_signs(world: World) -> None:
    """And not while another one is but believed."""
    world.store.trust(world.roots.bundle)
    world.roots.sign(make_request(generate_key()), "cluster1")
    async with world.running():
        first = world.store.authority
        world.roots.rotate()
        world.store.trust(world.roots.bundle)
        await settle()
        assert world.store.authority is first

        world.roots.observe({}, frozenset())
        await world.roots._step()
        assert world.roots.bundle.phase is Phase.SIGN_NEW
        world.store.trust(world.roots.bundle)
        await settle()

        assert world.store.authority is not None
        assert world.store.authority.issuer == world.roots.bundle.signing


async def test_people_can_have_it_renewed(world: World) -> None:
    """Once for each time that they ask; the wish outlives a failure."""
    world.store.trust(world.roots.bundle)
    async with world.running():
        first = world.store.authority
        world.answer = cut
        world.store.rotate()
        await settle()
        assert world.store.authority is first

        world.answer = world.roots.signer("cluster1")
        await world.time.advance(minutes=10)
        second = world.store.authority
        assert second is not first
        await world.time.jump(days=1)
        assert world.store.authority is second


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("nothing", "holds no certificate"),
        ("another key", "another key"),
        ("another root", "no root that is believed"),
        ("a leaf", "not one of a CA"),
        ("no chain", "no chain"),
        ("expired", "expired"),
    ],
)
async def test_an_answer_that_is_no_intermediate_is_not_taken(world: World, answer: str, words: str) -> None:
    """Whoever answers."""
    ca = make_ca("mesh root")
    world.roots.use(ca.pem, ca.key_pem)
    world.store.trust(world.roots.bundle)

    async def respond(csr_pem: str) -> str:
        key = _key_of(csr_pem)
        match answer:
            case "nothing":
                return ""
            case "another key":
                return make_ca("x", signed_by=ca).pem
            case "another root":
                return _signed(key, make_ca("stranger"))
            case "a leaf":
                return _signed(key, ca, ca=False)
            case "no chain":
                return _signed(key, make_ca("stranger")) + ca.pem
            case _:
                return _signed(key, ca, end=START - timedelta(minutes=1))

    world.answer = respond
    async with world.running():
        assert words in world.store.problem
        assert world.store.authority is None


def _key_of(csr_pem: str):
    from cryptography import x509

    return x509.load_pem_x509_csr(csr_pem.encode()).public_key()


def _signed(public_key, issuer, *, ca: bool = True, end=START + timedelta(days=1)) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "made")]))
        .issuer_name(issuer.certificate.subject)
        .public_key(public_key)
        .serial_number(1)
        .not_valid_before(START - timedelta(days=1))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(issuer.key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


async def test_what_the_root_before_signed_comes_too_late(world: World) -> None:
    """A slow answer from before the new root signs is not taken: the old one is about to be forgotten."""
    world.store.trust(world.roots.bundle)
    world.roots.sign(make_request(generate_key()), "cluster1")
    async with world.running():
        held: list[asyncio.Future[None]] = []

        async def slow(csr_pem: str) -> str:
            chain = world.roots.sign(csr_pem, "cluster1")
            held.append(asyncio.get_running_loop().create_future())
            await held[-1]
            return chain

        world.answer = slow
        before = world.store.authority
        world.store.rotate()
        world.roots.rotate()
        await settle()
        world.roots.observe({}, frozenset())
        await world.roots._step()
        world.store.trust(world.roots.bundle)
        held[0].set_result(None)
        await settle()
        assert world.store.authority is before

        held[1].set_result(None)
        await settle()
        assert world.store.authority is not None
        assert world.store.authority.issuer == world.roots.bundle.signing


@pytest.mark.parametrize("damage", ["mode", "text", "other key", "other root"])
async def test_what_is_on_disk_and_of_no_use_is_replaced(world: World, damage: str) -> None:
    """It is told, and another one is asked for."""
    world.store.trust(world.roots.bundle)
    async with world.running():
        pass
    path = world.directory / "agent" / "intermediate.pem"
    match damage:
        case "mode":
            path.chmod(0o644)
        case "text":
            path.write_text(path.read_text()[:-100])
        case "other key":
            text = path.read_text()
            path.write_text(make_ca().key_pem + text[text.index("-----BEGIN CERT") :])
        case "other root":
            ca = make_ca()
            path.write_text(ca.key_pem + ca.pem)

    world.store = world.open()
    assert world.store.authority is None
    async with world.running():
        assert world.store.authority is not None


async def test_a_bundle_that_cannot_be_written_is_not_believed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or else a restart would go back behind what others have been told."""
    world.store.trust(world.roots.bundle)
    before = world.store.bundle
    world.roots.sign(make_request(generate_key()), "cluster1")
    world.roots.rotate()

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("meshpass.identity.intermediate.write_secret_file", full)
    with pytest.raises(OSError, match="No space"):
        world.store.trust(world.roots.bundle)
    assert world.store.bundle is before


async def test_an_intermediate_that_cannot_be_written_is_not_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for again: after a restart there would be another one."""
    world.store.trust(world.roots.bundle)
    written = "meshpass.identity.intermediate.write_secret_file"

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(written, full)
        async with world.running():
            assert world.store.authority is None
            assert "No space" in world.store.problem


async def test_keys_are_in_no_representation_and_no_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is printed."""
    world.store.trust(world.roots.bundle)
    with caplog.at_level(logging.DEBUG):
        async with world.running():
            pass
    text = (world.directory / "agent" / "intermediate.pem").read_text()
    shown = repr(world.store.authority) + "".join(f"{record.__dict__}" for record in caplog.records)

    assert "PRIVATE" not in shown
    assert text.splitlines()[1] not in shown
    assert len(certificates(text)) == 1
