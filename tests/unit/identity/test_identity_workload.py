"""Certificates of workloads: what is in them, that TLS takes them, and when there are others. Verified by OpenSSL."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store
from tests.support.identities import (
    ALICE,
    BOB,
    DOMAIN,
    START,
    IssuingProcess,
    certificates,
    make_ca,
    openssl_verifies,
    settle,
    shake_hands,
)

from meshpass.translate.identity import NO_IDENTITIES


@pytest.fixture
def world(tmp_path: Path) -> IssuingProcess:
    return IssuingProcess(tmp_path)


async def test_there_are_no_identities_before_there_is_an_authority(world: IssuingProcess) -> None:
    """Nothing is issued then, and whoever waits is told as soon as there is one."""
    async with world.running(trust=False), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(world.issuer.wait_ready())
        assert world.issuer.follow(frozenset({ALICE})) is False
        await settle()
        assert world.issuer.identities is NO_IDENTITIES
        assert not waiting.done()

        world.store.trust(world.roots.bundle)
        await settle()

        assert waiting.done()
        assert set(world.issuer.identities.certificates) == {ALICE}
        assert world.issuer.identities.trust_domain == DOMAIN
        assert world.issuer.identities.authorities == world.roots.bundle.roots


async def test_a_certificate_is_an_x509_svid(world: IssuingProcess, tmp_path: Path) -> None:
    """X509-SVID §3.1 and §4, RFC 5280 §4.1.2.6: the name is one URI, and critical since there is no subject."""
    async with world.running():
        assert world.issuer.follow(frozenset({ALICE})) is True
    chain = world.shown(ALICE).chain
    leaf, intermediate = certificates(chain)
    extensions = leaf.extensions

    assert len(leaf.subject) == 0
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert [name.value for name in names.value] == [ALICE]
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value == x509.KeyUsage(True, *[False] * 8)
    assert set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert isinstance(leaf.public_key().curve, ec.SECP256R1)
    assert leaf.not_valid_after_utc - START == timedelta(hours=24)
    assert START - leaf.not_valid_before_utc == timedelta(minutes=5)
    assert intermediate == world.store.authority.certificate
    for purpose in ("sslserver", "sslclient"):
        assert openssl_verifies(tmp_path, chain, world.roots.bundle.roots, purpose=purpose)
    assert not openssl_verifies(tmp_path, chain, make_ca().pem)
    assert not openssl_verifies(tmp_path, chain, world.roots.bundle.roots, at=START + timedelta(hours=25))


async def test_another_verifier_agrees(world: IssuingProcess) -> None:
    """The library's own, by the rules of the web."""
    async with world.running():
        world.issuer.follow(frozenset({ALICE}))
    leaf, *rest = certificates(world.shown(ALICE).chain)
    roots = Store(certificates(world.issuer.identities.authorities))

    verified = PolicyBuilder().store(roots).time(START).build_client_verifier().verify(leaf, rest)

    assert [name.value for name in verified.subjects] == [ALICE]


async def test_two_workloads_know_each_other_by_tls(tmp_path: Path) -> None:
    """Each sees the name of the other; with a certificate of another mesh, nobody is let in on either side."""
    # TLS libraries look at the clock of the machine.
    now = {"begin": _today()}
    ours, others = IssuingProcess(tmp_path / "ours", **now), IssuingProcess(tmp_path / "others", **now)
    async with ours.running(), others.running():
        ours.issuer.follow(frozenset({ALICE, BOB}))
        others.issuer.follow(frozenset({ALICE}))

    seen = shake_hands(tmp_path, ours.peer(ALICE), ours.peer(BOB))
    assert seen is not None
    assert [one["subjectAltName"] for one in seen] == [(("URI", BOB),), (("URI", ALICE),)]

    stranger = (*others.peer(ALICE)[:2], ours.issuer.identities.authorities)
    assert shake_hands(tmp_path, ours.peer(BOB), stranger) is None
    assert shake_hands(tmp_path, stranger, ours.peer(BOB)) is None


def _today():
    from datetime import UTC, datetime

    return datetime.now(UTC).replace(microsecond=0)


async def test_workloads_of_two_clusters_know_each_other(tmp_path: Path) -> None:
    """One root, two intermediates; also with a user's authority that is an intermediate of RSA itself."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    now = _today()
    one, other = IssuingProcess(tmp_path, "cluster1", begin=now), IssuingProcess(tmp_path, "cluster2", begin=now)
    root = make_ca("root", end=now + timedelta(days=90))
    issuing = make_ca(
        "issuing", signed_by=root, key=rsa.generate_private_key(65537, 2048), end=now + timedelta(days=60)
    )
    one.roots.use(issuing.pem + root.pem, issuing.key_pem)
    other.roots = one.roots
    async with one.running(), other.running():
        one.issuer.follow(frozenset({ALICE}))
        other.issuer.follow(frozenset({BOB}))

    assert len(certificates(one.shown(ALICE).chain)) == 3
    assert shake_hands(tmp_path, one.peer(ALICE), other.peer(BOB)) is not None


async def test_the_same_question_changes_nothing(world: IssuingProcess) -> None:
    """The identities stay the same object, which is what translation goes by."""
    async with world.running():
        assert world.issuer.follow(frozenset({ALICE})) is True
        before, revision = world.issuer.identities, world.issuer.revision
        assert world.issuer.follow(frozenset({ALICE})) is False
        assert world.issuer.identities is before
        assert world.issuer.revision == revision

        assert world.issuer.follow(frozenset({ALICE, BOB})) is True
        assert world.issuer.identities is not before
        assert world.shown(ALICE) is before.certificates[ALICE]
        assert world.issuer.revision == revision + 1


async def test_what_is_no_spiffe_id_gets_nothing(world: IssuingProcess, caplog: pytest.LogCaptureFixture) -> None:
    """And is told once; the others get theirs."""
    bad = {
        f"spiffe://{DOMAIN}/ns/a/sa/ä",
        f"spiffe://{DOMAIN}/ns/a/sa/",
        f"spiffe://{DOMAIN}/ns/../sa/b",
        f"spiffe://{DOMAIN}",
        f"spiffe://{DOMAIN}/a?b",
        f"spiffe://{DOMAIN}/a#b",
        f"spiffe://{DOMAIN}:80/a",
        f"https://{DOMAIN}/a",
        f"spiffe://{DOMAIN}/{'x' * 2048}",
    }
    with caplog.at_level(logging.WARNING):
        async with world.running():
            assert world.issuer.follow(frozenset(bad | {ALICE})) is True
            assert world.issuer.follow(frozenset(bad | {ALICE})) is False

    assert set(world.issuer.identities.certificates) == {ALICE}
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("jitter", "hours"), [(0.0, 10.8), (0.5, 12), (1.0, 13.2)])
async def test_certificates_are_renewed_at_half_their_life(world: IssuingProcess, jitter: float, hours: float) -> None:
    """Give or take a tenth, so that not all are due at once."""
    world.jitter = jitter
    async with world.running():
        world.issuer.follow(frozenset({ALICE}))
        before = world.shown(ALICE)
        await world.time.jump(hours=hours - 0.1)
        assert world.shown(ALICE) is before

        await world.time.jump(hours=0.1)
        assert world.shown(ALICE).private_key != before.private_key
        assert certificates(world.shown(ALICE).chain)[0].not_valid_after_utc > START + timedelta(hours=hours + 23)


async def test_certificates_are_always_valid_for_a_while(world: IssuingProcess) -> None:
    """A week goes by, and at no moment has one less than ten hours left; one that nobody wants any more is not renewed."""
    async with world.running():
        world.issuer.follow(frozenset({ALICE, BOB}))
        for _ in range(7 * 24):
            await world.time.jump(hours=1)
            assert world.issuer.soonest_not_after - world.time.now > timedelta(hours=10)

        world.issuer.follow(frozenset({ALICE}))
        await world.time.jump(hours=13)
        assert set(world.issuer.identities.certificates) == {ALICE}
        assert world.issuer.count == 1


async def test_many_that_are_due_are_sent_at_once(world: IssuingProcess) -> None:
    """A change of identities is a translation of the whole mesh."""
    names = frozenset(f"spiffe://{DOMAIN}/ns/a/sa/s{number}" for number in range(120))
    async with world.running():
        world.issuer.follow(names)
        before = world.issuer.revision
        await world.time.jump(hours=13)

        assert world.issuer.revision == before + 1
        assert world.issuer.soonest_not_after > world.time.now + timedelta(hours=23)


async def test_another_intermediate_means_other_certificates(world: IssuingProcess, tmp_path: Path) -> None:
    """All at once; those before are as good as they were, and both chains are believed by all."""
    names = frozenset(f"spiffe://{DOMAIN}/ns/a/sa/s{number}" for number in range(120))
    async with world.running():
        world.issuer.follow(names)
        before, revision = world.issuer.identities, world.issuer.revision
        first = world.store.authority
        world.store.rotate()
        await settle()

        assert world.store.authority is not first
        assert world.issuer.revision == revision + 1
        after = world.issuer.identities
        assert after.authorities == before.authorities
        assert {certificates(one.chain)[1] for one in after.certificates.values()} == {
            world.store.authority.certificate
        }
        for one in (before, after):
            assert openssl_verifies(tmp_path, one.certificates[min(names)].chain, after.authorities)
        assert world.issuer.trust.issuer == world.roots.bundle.signing


async def test_other_roots_alone_mean_no_other_certificate(world: IssuingProcess) -> None:
    """While another root is only to be believed."""
    async with world.running():
        world.issuer.follow(frozenset({ALICE}))
        before = world.shown(ALICE)
        world.roots.rotate()
        world.store.trust(world.roots.bundle)
        await settle()

        assert world.shown(ALICE) is before
        assert world.issuer.identities.authorities == world.roots.bundle.roots
        assert world.issuer.trust.trusts == world.roots.bundle.trusts


async def test_an_authority_that_has_expired_issues_nothing(world: IssuingProcess) -> None:
    """What it issued would be refused; what there is stays, for those whose clock is late."""
    async with world.running():
        world.issuer.follow(frozenset({ALICE}))
    world.time.now = START + timedelta(days=366)

    assert world.issuer.follow(frozenset({ALICE, BOB})) is False
    assert set(world.issuer.identities.certificates) == {ALICE}


async def test_a_thousand_take_well_under_a_second(world: IssuingProcess) -> None:
    """So that a mesh starts quickly; measured are 0.2 s."""
    async with world.running():
        started = time.perf_counter()
        world.issuer.follow(frozenset(f"spiffe://{DOMAIN}/ns/a/sa/s{number}" for number in range(1000)))
        assert time.perf_counter() - started < 2


async def test_keys_are_in_no_representation_and_no_log(
    world: IssuingProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor on disk."""
    with caplog.at_level(logging.DEBUG):
        async with world.running():
            world.issuer.follow(frozenset({ALICE}))
    secret = world.shown(ALICE).private_key.splitlines()[1]
    shown = repr(world.issuer.identities) + repr(world.shown(ALICE)) + repr(world.issuer._issued)

    assert secret not in shown + "".join(str(record.__dict__) for record in caplog.records)
    assert "PRIVATE" not in shown
